"""Batches with a clock: images per second, and the share of the time that was spent waiting for data."""

from __future__ import annotations

import time
from collections.abc import Iterator

from unic.data.loader import Batch


class Timed:
    """An iterator that knows which share of the time since the last reading was spent waiting for it."""

    def __init__(self, batches: Iterator[Batch]) -> None:
        self._batches = batches
        self.restart()

    def restart(self) -> None:
        self._since, self._waited, self._images = time.perf_counter(), 0.0, 0

    def __next__(self) -> Batch:
        start = time.perf_counter()
        batch = next(self._batches)
        self._waited += time.perf_counter() - start
        self._images += len(batch.index)
        return batch

    def rates(self) -> dict[str, float]:
        """Images per second of this process and the share of time spent waiting, since the last call."""
        elapsed = time.perf_counter() - self._since
        rates = {"images_per_s": self._images / elapsed, "data_wait": self._waited / elapsed}
        self.restart()
        return rates
