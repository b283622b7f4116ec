"""Saves checkpoints by the recipe's policy: at once or in a thread, keeping the best, and what a full disk means."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any

from torch import Tensor

from unic.arguments import argument
from unic.errors import FullDiskError, Remedy, StoppedError
from unic.recipe.sections import CheckpointSection
from unic.runs import checkpoint
from unic.runs.checkpoint import Checkpoint
from unic.runs.metric_names import KNN, LOSS
from unic.runs.state import SAVER
from unic.training.patience import QUERIES, is_by_training_images

log = logging.getLogger("unic")

Best = tuple[int, float]  # step and score


class Saver:
    """Saves the checkpoints of a run by the policy of its recipe. Its context ends when the last one is written.

    Args:
        run: the run folder.
        setting: `checkpoint` of the recipe.
        tell: shows a line on the screen.
    """

    def __init__(self, run: Path, setting: CheckpointSection, tell: Callable[[str], object]) -> None:
        self._run, self._setting, self._tell = run, setting, tell
        self._best: Best | None = None
        self._score: float | None = None
        self._seen: set[str] = set()
        self._writing: _Writing | None = None
        self._opened: int | None = None  # descriptor of the folder; while it is open no other one can get its inode

    def __enter__(self) -> Saver:
        if hasattr(os, "O_DIRECTORY"):  # not on Windows, where nobody can remove a folder that is in use
            with suppress(FileNotFoundError):  # in a process on another machine, which saves nothing
                self._opened = os.open(self._run, os.O_RDONLY | os.O_DIRECTORY)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._opened is not None:
            os.close(self._opened)
            self._opened = None
        if kind is None:
            self.wait()
        elif kind is not KeyboardInterrupt and self._writing:  # a second Ctrl-C must not wait
            self._writing.join()

    def state_dict(self) -> dict[str, Any]:
        """Returns nothing: `save` adds the best step, which is known only then."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores the best step and score from the checkpoint that the run resumes from."""
        is_by_knn = (self._setting.best or "").startswith(f"{KNN}/")
        if state.get("best") and (not is_by_knn or is_by_training_images(state, "checkpoint.best")):
            self._best = tuple(state["best"])

    def note(self, values: Mapping[str, float]) -> None:
        """Takes logged metrics. The newest value of `checkpoint.best` before a save is the score of that save."""
        self._seen |= values.keys()
        score = values.get(self._setting.best or "", math.nan)
        if math.isfinite(score):
            self._score = score

    def save(self, step: int, tensors: Mapping[str, Tensor], state: Mapping[str, Any], *, must: bool = False) -> None:
        """Saves a checkpoint, or warns that it could not.

        Args:
            step: the last finished one.
            tensors: may be the ones in training; with `asynchronous` they are copied before this returns.
            state: plain values of each part of the run; the saver adds its own.
            must: the run ends after this save. So the save is waited for, and a failure ends the run.

        Raises:
            StoppedError: the disk is full or gone, and the policy or `must` says that this ends the run; or the run
                folder was removed or replaced, so that it may belong to another run.
        """
        self.wait()
        self._check_folder()
        best = self._ranked(step)
        beside = self._setting.asynchronous and not must
        # The tensors are copied here, so that the optimiser may go on; only the writing happens in the thread.
        held = {name: tensor.detach().to("cpu", copy=True) for name, tensor in tensors.items()} if beside else tensors
        found = Checkpoint(step, dict(held), {**state, SAVER: {"best": best, "queries": QUERIES}})
        self._writing = _Writing(self._run, found, self._setting.keep, best)
        if beside:
            self._writing.start()
        else:
            self._writing.run()
            self.wait(must=must)

    def wait(self, *, must: bool = False) -> None:
        """Waits for the save in progress, and handles its failure."""
        if self._writing is None:
            return
        done, self._writing = self._writing, None
        if done.ident is not None:
            done.join()
        if done.error is None:
            self._best = done.best
        elif isinstance(done.error, OSError):
            self._failed(done.found.step, done.error, must)
        else:
            raise done.error

    def _check_folder(self) -> None:
        if self._opened is None:
            return
        try:
            is_same = os.path.samestat(os.fstat(self._opened), self._run.stat())
        except FileNotFoundError:
            is_same = False
        if not is_same:
            raise StoppedError(
                f"run {self._run}: the folder was moved, removed or replaced while it ran; the run ends unsaved"
            )

    def _failed(self, step: int, error: OSError, must: bool) -> None:
        newest = checkpoint.newest_step(self._run)
        line = f"checkpoint at step {step} not saved: {error.strerror or error}; "
        line += "there is no earlier one" if newest is None else f"the newest whole one is step-{newest}"
        if must or self._setting.on_full == "stop":
            raise FullDiskError(line, remedy=Remedy("free some space and continue", argument("resume", True)))
        line += "; the training goes on (checkpoint.on_full: continue)"
        log.warning(line)
        self._tell(line)

    def _ranked(self, step: int) -> Best | None:
        """The best step and score after this save. The lowest loss is best; of any other metric, the highest value."""
        key, score, self._score = self._setting.best, self._score, None
        if key is not None and score is None:
            known = ", ".join(sorted(self._seen)) or "nothing yet"
            log.warning("checkpoint.best: '%s' was not logged before step %d; logged so far: %s", key, step, known)
        if key is None or score is None:
            return self._best
        sign = -1 if key.partition("/")[0] == LOSS else 1
        return (step, score) if self._best is None or sign * score > sign * self._best[1] else self._best


class _Writing(Thread):
    """One save, in a thread of its own or by `run()` in the caller's; keeps its error.

    A daemon thread: a process that must end at once does not wait for a disk.
    """

    def __init__(self, run: Path, found: Checkpoint, keep: int, best: Best | None) -> None:
        super().__init__(name=f"checkpoint {found.step}", daemon=True)
        self.folder, self.found, self.keep, self.best = run, found, keep, best
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            checkpoint.save(self.folder, self.found, self.keep, self.best[0] if self.best else None)
        except Exception as error:
            self.error = error
