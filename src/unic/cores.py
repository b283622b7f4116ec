"""The number of cores that a process may use, and of threads of a step beside the data workers.

The threads of a step wait for each other at every matrix product, so one thread more than cores slows all of them.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

_SET = "OMP_NUM_THREADS"  # set by a user, or by torchrun when it starts several processes
_GROUP = Path("/sys/fs/cgroup")  # a container sees its own control group here


def usable_cores() -> int:
    """Cores of this process: those of its affinity and container, shared among the launcher's processes here."""
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(here, _quota() or here) // int(os.environ.get("LOCAL_WORLD_SIZE") or 1))


def _quota() -> int | None:
    """Cores that the container may use, rounded up; None: no limit. Control groups v2 are read first, then v1."""
    for names in (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):
        try:
            time, period = " ".join((_GROUP / name).read_text() for name in names).split()
            if int(time) > 0:
                return math.ceil(int(time) / int(period))
        except (OSError, ValueError):  # no such version, or "max"
            continue
    return None


def threads_beside(workers: int, processes: int = 1) -> int:
    """Number of threads of a step: at most torch's own, and at most the cores that data workers leave.

    Where `OMP_NUM_THREADS` is set, torch's threads are divided among the processes and data workers do not count.

    Args:
        workers: number of data workers of each process.
        processes: number of processes that run steps on these cores.
    """
    if os.environ.get(_SET):
        return max(1, torch.get_num_threads() // processes)
    return max(1, min(torch.get_num_threads(), usable_cores() // processes - workers))


@contextmanager
def beside(workers: int) -> Iterator[None]:
    """Sets the number of torch threads to `threads_beside(workers)` inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads_beside(workers))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def described(workers: int) -> str:
    """One line: the number of threads of a step, and where it comes from."""
    why = _SET if os.environ.get(_SET) else f"of {usable_cores()} cores"
    return f"threads of a step: {threads_beside(workers)} ({why}), beside {workers} data workers"
