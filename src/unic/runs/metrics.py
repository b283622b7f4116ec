"""The outputs of a run at a log step: a line of metrics.jsonl, of the console and of train.log, and the trackers.

Nothing here reads from a device: the loop passes plain numbers, and only at log steps. Nothing here ends a run: an
output that fails (a full disk, a closed terminal, a server that does not answer) is reported once and left out.
"""

from __future__ import annotations

import json
import logging
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from unic._regular_files import read_bytes
from unic.errors import reason_of
from unic.files import write_bytes
from unic.quantities import clock
from unic.runs.folder import RunFolder
from unic.runs.metric_names import DATA_WAIT, IMAGES_PER_S, KNN, KNN_UNSEEN, LOSS, cosine_of, kept_of, loss_of
from unic.runs.training_bar import TrainingBar
from unic.terminal import tell

log = logging.getLogger("unic")


class MetricsLog:
    """Writes the metrics of a run folder; a context manager.

    Args:
        run: the run folder.
        after: the step that a resumed run continues from; later lines, of an interrupted attempt, are cut.
        total_steps: number of steps of the run, for the remaining time.
        console: the console for the newest line.
        trackers: started trackers (`unic.training.trackers.open_trackers`); one that fails is dropped.
    """

    def __init__(self, run: Path, after: int, total_steps: int, console: Console, trackers: Sequence[Any] = ()) -> None:
        self.path = RunFolder(run).metrics
        _cut_after(self.path, after)
        self._file = self.path.open("a", encoding="utf-8")
        self._trackers = list(trackers)
        self._console, self._total = console, total_steps
        self._started, self._first = time.monotonic(), after
        self._silent: set[str] = set()
        self._bar = TrainingBar(console, after, total_steps) if console.is_terminal else None

    def __enter__(self) -> MetricsLog:
        if self._bar:
            self._try("the screen", self._bar.start)
        return self

    def __exit__(self, *error: object) -> None:
        self._try(self.path.name, self._file.close)
        for tracker in self._trackers:
            self._track(tracker, tracker.finish)
        if self._bar:
            self._try("the screen", self._bar.stop)

    def advance(self, step: int) -> None:
        """Reports a finished step without numbers."""
        if self._bar:
            self._try("the screen", partial(self._bar.advance_to, step))

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Writes `{"step": step, **values}` to all outputs; null where a value is not finite, since JSON has no NaN."""
        row = {key: value if math.isfinite(value) else None for key, value in values.items()}
        self._try(self.path.name, partial(self._append, json.dumps({"step": step, **row}) + "\n"))
        for tracker in list(self._trackers):
            self._track(tracker, partial(tracker.log, dict(values), step=step))
        line = self._line(step, values)
        left = f" · ETA {clock(self._seconds_left(step))}" if IMAGES_PER_S in values else ""
        log.info(line + left)
        self._try("the screen", partial(self._show, line, left))

    def _append(self, line: str) -> None:
        self._file.write(line)
        self._file.flush()

    def _show(self, line: str, left: str) -> None:
        if self._bar:  # the bar shows the remaining time itself
            self._bar.say(line)
        else:
            tell(self._console, line + left)

    def _seconds_left(self, step: int) -> float:
        return (time.monotonic() - self._started) / max(step - self._first, 1) * (self._total - step)

    def _try(self, what: str, write: Callable[[], Any]) -> None:
        """Writes to an output, and reports an `OSError` once for each outage: it must not end the run."""
        try:
            write()
            self._silent.discard(what)
        except OSError as error:
            if what not in self._silent:
                self._silent.add(what)
                log.warning("%s cannot be written (%s); the run goes on", what, error.strerror or error)
                with suppress(OSError):
                    print(f"unic: {what} cannot be written ({error.strerror or error})", file=sys.stderr)

    def _track(self, tracker: Any, call: Callable[[], Any]) -> None:
        """Calls a tracker, and drops it if it fails: a server that does not answer must not end the run."""
        try:
            call()
        except Exception as error:
            log.warning("tracker %s failed and is left out from here on: %s", tracker.name, reason_of(error))
            self._trackers = [other for other in self._trackers if other is not tracker]

    def _line(self, step: int, values: Mapping[str, float]) -> str:
        parts = [f"step {step}/{self._total}", f"loss {values[LOSS]:.4f}"] if LOSS in values else [f"step {step}"]
        teachers = [key.removeprefix(loss_of("")) for key in values if key.startswith(loss_of(""))]
        if teachers:
            cosines = " ".join(f"{name} {_cosines(name, values)}" for name in teachers)
            counts = [values[kept_of(name)] for name in teachers]
            kept = " ".join(f"{one:.2f}" if max(counts) > 1 else f"{one:.0%}" for one in counts)  # weights, or shares
            parts += [f"cos {cosines}", f"kept {kept}"]
        if IMAGES_PER_S in values:
            parts += [f"{values[IMAGES_PER_S]:.0f} img/s", f"wait {values[DATA_WAIT]:.0%}"]
        parts += [
            f"{key} {value:.1f}" for key, value in values.items() if key.startswith((f"{KNN}/", f"{KNN_UNSEEN}/"))
        ]
        return " · ".join(parts)


def _cosines(teacher: str, values: Mapping[str, float]) -> str:
    """The cosine of the CLS and of the patches; "–" where a teacher is not compared by these."""
    keys = cosine_of(teacher, "cls"), cosine_of(teacher, "patch")
    return "/".join(f"{values[key]:.2f}" if key in values else "–" for key in keys)


class _RunLog(logging.FileHandler):
    """A log file whose failed writes neither end the run nor print a traceback for each line."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Does nothing: the metrics, on the same disk, report that it is full."""

    def close(self) -> None:
        with suppress(OSError):
            super().close()


@contextmanager
def logged_to(run: Path) -> Iterator[None]:
    """Writes messages of the logger `unic` to `run/train.log` inside the block."""
    handler = log_to(run)
    try:
        yield
    finally:
        log.removeHandler(handler)
        handler.close()


def log_to(run: Path) -> logging.Handler:
    """Writes messages of the logger `unic` to `run/train.log`, until the caller removes the returned handler."""
    handler = _RunLog(RunFolder(run).log, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    return handler


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """All lines of `metrics.jsonl`, except a torn last one, which a killed process has left."""
    path = RunFolder(run).metrics
    return (
        [row for line in read_bytes(path, None).decode("utf-8").splitlines() if (row := _parse(line))]
        if path.exists()
        else []
    )


def _cut_after(path: Path, step: int) -> None:
    """Removes torn lines and those of later steps. A new file replaces the old one, so a kill loses no line."""
    if not path.exists():
        return
    lines = read_bytes(path, None).splitlines()
    kept = [line for line in lines if (row := _parse(line)) and row["step"] <= step]
    write_bytes(path, b"".join(line + b"\n" for line in kept), alone=True, synced=True)


def _parse(line: str | bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except ValueError:  # or bytes that are not UTF-8
        return None
    return row if isinstance(row, dict) and "step" in row else None
