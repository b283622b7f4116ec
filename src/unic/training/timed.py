"""Measures images per second, and the share of time spent waiting for data."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext

from unic.data.batch import Batch
from unic.runs.metric_names import DATA_WAIT, IMAGES_PER_S


class Timed:
    """An iterator over batches that measures how long it was waited for.

    Args:
        batches: to iterate over.
        waiting: makes the context in which each batch is waited for.
    """

    def __init__(
        self, batches: Iterator[Batch], waiting: Callable[[], AbstractContextManager[None]] = nullcontext
    ) -> None:
        self._batches, self._waiting = batches, waiting
        self.restart()

    def restart(self) -> None:
        self._since, self._waited, self._images = time.perf_counter(), 0.0, 0

    def __iter__(self) -> Timed:
        return self

    def __next__(self) -> Batch:
        start = time.perf_counter()
        with self._waiting():
            batch = next(self._batches)
        self._waited += time.perf_counter() - start
        self._images += len(batch.index)
        return batch

    def rates(self) -> dict[str, float]:
        """Images per second of this process and the share of time spent waiting, since the last call."""
        elapsed = time.perf_counter() - self._since
        rates = {IMAGES_PER_S: self._images / elapsed, DATA_WAIT: self._waited / elapsed}
        self.restart()
        return rates
