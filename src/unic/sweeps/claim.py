"""One command at a time checks, tries and writes down what a folder's sweep is, until its first training has begun.

Several commands may share the work of one sweep. Without the claim, two commands that begin a new folder
at once would both find it empty, and their trainings would be mixed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from unic.errors import InputError
from unic.training import lock

_PAUSE = 0.2  # seconds between two looks
_PATIENCE = 600.0  # seconds; another command tries all of its variants meanwhile


@contextmanager
def claimed(folder: Path, tell: Callable[[str], None]) -> Iterator[None]:
    """Holds the folder of a sweep inside the block; waits for another command that does.

    The lock is of the kind that runs use. A folder that did not exist and is empty at the end is removed.

    Args:
        folder: the folder, which is made.
        tell: gets a line if there is a wait.

    Raises:
        InputError: another command holds it for ten minutes.
    """
    is_new = not folder.exists()
    try:
        with ExitStack() as stack:
            _hold(folder, stack, tell)
            yield
    finally:
        if is_new:
            with suppress(OSError):
                folder.rmdir()


def _hold(folder: Path, stack: ExitStack, tell: Callable[[str], None]) -> None:
    began, is_told = time.monotonic(), False
    while True:
        try:
            stack.enter_context(lock.held(folder))
        except InputError:
            if time.monotonic() - began > _PATIENCE:
                raise
        else:
            return
        if not is_told:
            tell(f"waiting for another command that begins in {folder}")
        is_told = True
        time.sleep(_PAUSE)
