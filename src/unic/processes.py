"""Processes that this one starts: no signal to the group ends them, they end with this one, and import no script.

The three belong to how a process is started, so every one is started here: those that decode images (`forking`), the
pool of an evaluation and those that build a teacher cache (`Spawning`).

- A terminal or a scheduler signals the whole group. Who started a process decides when it ends: it does not listen.
- However this process ends, its end of a pipe to each child closes; a thread of the child waits for that.
- `multiprocessing` would import the main module in the child, which runs a script without a main guard again and fails
  for `python -`. What is sent to a child here must be importable without it.
"""

from __future__ import annotations

import atexit
import multiprocessing
import multiprocessing.util  # its exit waits for children: registered before ours, it runs after it
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.context import SpawnContext, SpawnProcess
from multiprocessing.process import BaseProcess
from threading import RLock, Thread
from types import ModuleType
from typing import Any

from unic import arguments, signals
from unic.errors import LostPeerError

_ADDRESS = 75  # characters of a temporary folder that leave room for the fork server's socket in it (108 in all)
_PATIENCE = 5.0  # seconds for a killed process to be gone
_starting = RLock()


class _Child(BaseProcess):
    """What both kinds of processes have in common."""

    def start(self) -> None:
        self._are_flags = arguments.are_flags()
        with _starting, signals.undivided(), _without_main(), _unheard():
            super().start()

    def run(self) -> None:
        signals.ignore()
        arguments.inherit(self._are_flags)
        Thread(target=_follow, name="end with the parent", daemon=True).start()
        super().run()

    def terminate(self) -> None:
        self.kill()  # it does not listen to SIGTERM, and one that is stopped (SIGSTOP) could not


class _Spawned(_Child, SpawnProcess):
    """A fresh interpreter."""


class Spawning(SpawnContext):
    """Starts fresh interpreters; `children` are those that it has started. For `ProcessPoolExecutor`, too."""

    def __init__(self) -> None:
        super().__init__()
        self.children: list[BaseProcess] = []

    def Process(self, *args: Any, **options: Any) -> BaseProcess:  # type: ignore[override]
        self.children.append(child := _Spawned(*args, **options))
        return child


if "forkserver" in multiprocessing.get_all_start_methods():
    from multiprocessing.context import ForkServerProcess

    class _Forked(_Child, ForkServerProcess):
        """Forked from the clean server process."""


def forking(preload: str) -> Callable[..., BaseProcess]:
    """What starts processes quickly, forked from a clean server process that has imported a module once.

    Forking this process instead can deadlock: torch, trackers and CUDA run threads in it (Python 3.12 warns). Starting
    fresh interpreters imports torch again for every one; that is what is left where there is no fork server.

    Args:
        preload: name of the module.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods() or len(tempfile.gettempdir()) > _ADDRESS:
        return _Spawned
    multiprocessing.get_context("forkserver").set_forkserver_preload([preload])
    return _Forked


def end(children: Iterable[BaseProcess]) -> None:
    """Ends processes that were started here, whatever they are doing."""
    begun = [child for child in children if child.pid is not None]
    for child in begun:
        child.kill()
    for child in begun:
        child.join(_PATIENCE)


@contextmanager
def lifeline() -> Iterator[int]:
    """The standard input of a process that knows nothing of this package: it closes when this process ends."""
    end_of_child, own = os.pipe()
    try:
        yield end_of_child
    finally:
        os.close(end_of_child)
        os.close(own)


@contextmanager
def threads_each(count: int) -> Iterator[None]:
    """Processes that are started in this block have so many threads: numpy's and torch's libraries read it then."""
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = str(count)
    try:
        yield
    finally:
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before


@atexit.register
def _end_all() -> None:
    end(child for child in multiprocessing.active_children() if isinstance(child, _Child))


def _follow() -> None:
    """Ends this process with the one that started it."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(LostPeerError.exit_code)


@contextmanager
def _without_main() -> Iterator[None]:
    """Hides the main module from what tells a child to import it."""
    main, sys.modules["__main__"] = sys.modules["__main__"], ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


@contextmanager
def _unheard() -> Iterator[None]:
    """A child inherits blocked signals, so that one in its first moments, when it imports, does not end it."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals.STOP)
    try:
        resource_tracker.ensure_running()  # when it starts, it unblocks some of them here
        signal.pthread_sigmask(signal.SIG_BLOCK, signals.STOP)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
