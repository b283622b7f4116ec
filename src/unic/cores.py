"""The cores that a process may use, and the threads of a step beside the processes that decode its images.

Threads of a step wait for each other at every product, so one more than there are cores makes all of them slower.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

_SET = "OMP_NUM_THREADS"  # by a user, or by torchrun where it starts several processes
_GROUP = Path("/sys/fs/cgroup")  # what a container sees there is its own control group


def usable_cores() -> int:
    """Cores for this process: of its affinity and its container, divided by the processes of a launcher here."""
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(here, _quota() or here) // int(os.environ.get("LOCAL_WORLD_SIZE") or 1))


def _quota() -> int | None:
    """Cores whose time a container gets, rounded up; None without a limit. Control groups of version 2, then 1."""
    for names in (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):
        try:
            time, period = " ".join((_GROUP / name).read_text() for name in names).split()
            if int(time) > 0:
                return math.ceil(int(time) / int(period))
        except (OSError, ValueError):  # no such version, or "max"
            continue
    return None


def threads_beside(workers: int, processes: int = 1) -> int:
    """Threads for a step: as many as torch has, and no more than data workers leave of the cores.

    What `OMP_NUM_THREADS` asks for stays, but for processes that share it.

    Args:
        workers: data workers of each process.
        processes: that work like this one, on the same cores.
    """
    if os.environ.get(_SET):
        return max(1, torch.get_num_threads() // processes)
    return max(1, min(torch.get_num_threads(), usable_cores() // processes - workers))


@contextmanager
def beside(workers: int) -> Iterator[None]:
    """A block that has `threads_beside` data workers. The threads are those of the thread that runs it."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads_beside(workers))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def described(workers: int) -> str:
    """The threads of a step, and why so many, in one line."""
    why = f"{_SET}" if os.environ.get(_SET) else f"of {usable_cores()} cores"
    return f"threads of a step: {threads_beside(workers)} ({why}), beside {workers} data workers"
