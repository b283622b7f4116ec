"""Inputs of a linear classifier: features of unit length, with a last column of ones for the intercept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from unic.device import default_device

_KEPT_ON_CPU = 1 << 30  # bytes; on a GPU half of the free memory
_CHUNK = 16384  # rows to copy at a time


class UnitVectors:
    """Unit vectors `(n, D + 1)`, on the GPU if there is one. They are kept if they fit into memory, else computed from
    the array in each pass.

    The array may be on a memory map. In the second case it is never copied as a whole.
    """

    def __init__(self, x: Float[np.ndarray, "n d"]) -> None:
        self.device = default_device()
        self.width = x.shape[1] + 1
        self._x = x
        room = torch.cuda.mem_get_info()[0] // 2 if self.device.type == "cuda" else _KEPT_ON_CPU
        self._kept = self._read(np.arange(len(x))) if 4 * len(x) * self.width <= room else None

    def __len__(self) -> int:
        return len(self._x)

    def batches(self, pool: Sequence[Int[Tensor, " _"]]) -> Iterator[Float[Tensor, "_ d"]]:
        """The vectors of these rows, batch by batch. The rows of all batches are read together, in ascending order."""
        sizes = [len(batch) for batch in pool]
        rows = torch.cat(list(pool))
        source = self._kept
        if source is None:
            ascending, place = rows.sort()
            source = self._read(ascending.numpy())
            rows = place.argsort()
        for batch in rows.to(self.device).split(sizes):
            yield source[batch]

    def _read(self, rows: Int[np.ndarray, " r"]) -> Float[Tensor, "r d"]:
        result = torch.ones(len(rows), self.width, device=self.device)
        for start in range(0, len(rows), _CHUNK):
            part = torch.from_numpy(self._x[rows[start : start + _CHUNK]].astype(np.float32, copy=False))
            result[start : start + len(part), :-1] = F.normalize(part.to(self.device), dim=1)
        return result
