"""Features as a linear classifier sees them: of unit length, with a last column of ones for the intercept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from unic.device import default_device

_KEPT_ON_CPU = 1 << 30  # bytes; on a GPU half of what is free
_CHUNK = 16384  # rows copied a time


class UnitVectors:
    """`(n, D + 1)` on the GPU if there is one: kept there if they fit, else read from their array when asked for.

    The array, which may lie on a memory map, is never copied as a whole in the second case.
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
        """The vectors with these row numbers, batch by batch; a pool of batches is read at once, in ascending order."""
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
