"""Vectors of unit length, chunk by chunk, so that no normalised copy of a large set is stored."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from unic.device import default_device


def units(x: Float[np.ndarray, "n d"], size: int) -> Iterator[tuple[int, Float[Tensor, "_ d"]]]:
    """For each chunk of `size` rows its first row and its unit vectors in float32, on the GPU if there is one.

    Args:
        x: vectors, possibly on a memory map, which are read once, in order.
        size: number of rows in a chunk.
    """
    device = default_device()
    for start in range(0, len(x), size):
        chunk = torch.from_numpy(np.array(x[start : start + size], dtype=np.float32)).to(device)
        yield start, F.normalize(chunk, dim=1, out=chunk)
