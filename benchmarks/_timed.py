"""Seconds of the processor: other programs disturb them less than they disturb those of a clock."""

from __future__ import annotations

import time
from collections.abc import Callable


def cpu_seconds(run: Callable[[], object]) -> float:
    """Runs a function; gives the seconds of the processor that this process used."""
    started = time.process_time()
    run()
    return time.process_time() - started
