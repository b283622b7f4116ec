"""Child processes: they ignore signals to the group, end with their parent, and do not import the main module.

These three rules hold from the first moment of a process, so all child processes start here: data workers (`forking`),
the pool of an evaluation and the builders of a teacher cache (`Spawning`).

- A terminal or a scheduler signals the whole process group. Children ignore it: their parent decides when they end. It
  may tell them by a signal that they handle (`hears`). One that arrives while they import is kept until then.
- A thread of each child waits for a pipe from its parent. The pipe closes when the parent ends, however it ends.
- `multiprocessing` would import the main module in the child. That runs a script without a main guard again, and fails
  for `python -`. So what is sent to a child must be importable without the main module.
"""

from __future__ import annotations

import atexit
import multiprocessing
import multiprocessing.util  # its exit handler waits for children; registered before ours, it runs after ours
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.context import SpawnContext, SpawnProcess
from multiprocessing.process import BaseProcess
from threading import RLock, Thread
from types import ModuleType
from typing import Any

from unic import arguments, signals
from unic.errors import LostPeerError

_ADDRESS = 75  # longest path of the temporary folder: the fork server's socket in it may have 108 characters
_PATIENCE = 5.0  # seconds to wait for the end of a killed process
_starting = RLock()


class _Child(BaseProcess):
    """A process that follows the rules above.

    Attributes:
        hears: signals that it handles itself, which stay blocked until it does.
    """

    hears: Collection[int] = ()

    def start(self) -> None:
        self._are_flags = arguments.are_flags()
        with _starting, signals.undivided(), _without_main(), _unheard():
            super().start()

    def run(self) -> None:
        signals.ignore(self.hears)
        arguments.inherit(self._are_flags)
        Thread(target=_follow, name="end with the parent", daemon=True).start()
        super().run()

    def terminate(self) -> None:
        self.kill()  # children ignore SIGTERM, and a stopped one (SIGSTOP) would not receive it


class _Spawned(_Child, SpawnProcess):
    """A fresh interpreter."""


class Spawning(SpawnContext):
    """A context that starts fresh interpreters and lists them in `children`. `ProcessPoolExecutor` takes it, too.

    Args:
        hears: signals that the processes handle, once they have unblocked them.
    """

    def __init__(self, hears: Collection[int] = ()) -> None:
        super().__init__()
        self._hears = hears
        self.children: list[BaseProcess] = []

    def Process(self, *args: Any, **options: Any) -> BaseProcess:  # type: ignore[override]
        self.children.append(child := _Spawned(*args, **options))
        child.hears = self._hears
        return child


if "forkserver" in multiprocessing.get_all_start_methods():
    from multiprocessing.context import ForkServerProcess

    class _Forked(_Child, ForkServerProcess):
        """Forked from the clean server process."""


def forking(preload: str) -> Callable[..., BaseProcess]:
    """The class of processes that start quickly: forked from a clean server process that has imported a module once.

    Forking this process itself can deadlock, since torch, trackers and CUDA run threads in it (Python 3.12 warns).
    Where there is no fork server, each child is a fresh interpreter, which imports torch again.

    Args:
        preload: name of the module that the server process imports.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods() or len(tempfile.gettempdir()) > _ADDRESS:
        return _Spawned
    multiprocessing.get_context("forkserver").set_forkserver_preload([preload])
    return _Forked


def end(children: Iterable[BaseProcess]) -> None:
    """Kills processes that were started here."""
    begun = [child for child in children if child.pid is not None]
    for child in begun:
        child.kill()
    for child in begun:
        child.join(_PATIENCE)


@contextmanager
def lifeline() -> Iterator[int]:
    """A pipe for the standard input of a process without unic. It closes when this process ends."""
    end_of_child, own = os.pipe()
    try:
        yield end_of_child
    finally:
        os.close(end_of_child)
        os.close(own)


@contextmanager
def threads_each(count: int) -> Iterator[None]:
    """Sets the threads of processes that start inside the block: numpy and torch read `OMP_NUM_THREADS` at import."""
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
    """Ends this process when its parent ends."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(LostPeerError.exit_code)


@contextmanager
def _without_main() -> Iterator[None]:
    """Hides the main module, so that `multiprocessing` does not tell a child to import it."""
    main, sys.modules["__main__"] = sys.modules["__main__"], ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


@contextmanager
def _unheard() -> Iterator[None]:
    """Blocks signals, which a child inherits: a signal must not end it while it imports, before it ignores them."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals.STOP)
    try:
        resource_tracker.ensure_running()  # its start unblocks some signals in this process
        signal.pthread_sigmask(signal.SIG_BLOCK, signals.STOP)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
