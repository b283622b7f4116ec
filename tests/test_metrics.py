"""metrics.jsonl and the line on the console, also of a resumed run."""

import io
import json
import logging
import re
from pathlib import Path

import pytest
from rich.console import Console

from unic.runs.metrics import MetricsLog, log_to, read_metrics

ROW = {"loss": 0.5, "loss/a": 0.4, "cos/a/cls": 0.25, "cos/a/patch": 0.5, "kept/a": 0.75}
ROW |= {"images_per_s": 120.0, "data_wait": 0.1}


def write(run: Path, steps: range, after: int = 0, console: Console | None = None) -> None:
    with MetricsLog(run, after, 10, console or Console(quiet=True)) as metrics:
        for step in steps:
            metrics.write(step, {"loss": float(step)})


def test_lines_after_the_checkpoint_are_cut(tmp_path: Path) -> None:
    write(tmp_path, range(1, 6))
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 6, "lo')  # killed while writing
    assert [row["step"] for row in read_metrics(tmp_path)] == [1, 2, 3, 4, 5]
    write(tmp_path, range(4, 7), after=3)
    assert [row["step"] for row in read_metrics(tmp_path)] == [1, 2, 3, 4, 5, 6]


def test_what_is_not_finite_is_null(tmp_path: Path) -> None:
    with MetricsLog(tmp_path, 0, 10, Console(quiet=True)) as metrics:
        metrics.write(1, {"loss": float("nan"), "lr": 0.1})
    line = (tmp_path / "metrics.jsonl").read_text()
    assert json.loads(line, parse_constant=lambda name: 1 / 0) == {"step": 1, "loss": None, "lr": 0.1}


def test_live_line_and_log_file_say_the_same(tmp_path: Path) -> None:
    screen = io.StringIO()
    handler = log_to(tmp_path)
    with MetricsLog(tmp_path, 0, 10, Console(file=screen, width=100)) as metrics:
        metrics.write(5, ROW)
    logging.getLogger("unic").removeHandler(handler)
    handler.close()
    expected = "step 5/10 · loss 0.5000 · cos a 0.25/0.50 · kept 75% · 120 img/s · wait 10% · ETA 0:00"
    assert screen.getvalue() == expected + "\n"
    assert expected in (tmp_path / "train.log").read_text()


def test_weights_above_one_are_no_percentages(tmp_path: Path) -> None:
    screen = io.StringIO()
    with MetricsLog(tmp_path, 0, 10, Console(file=screen, width=100)) as metrics:
        metrics.write(5, {"loss": 0.5, "loss/a": 0.4, "loss/b": 0.6, "kept/a": 1.456, "kept/b": 0.5})
    assert "kept 1.46 0.50" in screen.getvalue()


def test_a_teacher_that_is_matched_by_patches_alone_has_no_cosine_of_the_cls(tmp_path: Path) -> None:
    screen = io.StringIO()
    with MetricsLog(tmp_path, 0, 10, Console(file=screen, width=100)) as metrics:
        metrics.write(5, {"loss": 0.5, "loss/a": 0.4, "cos/a/patch": 0.25, "kept/a": 0.5})
    assert "cos a –/0.25 " in screen.getvalue()


class Failing:
    name = "failing"

    def __init__(self) -> None:
        self.calls = 0

    def log(self, values: dict[str, float], step: int) -> None:
        self.calls += 1
        raise ConnectionError("no\nserver")

    def finish(self) -> None:
        raise AssertionError("it was dropped")


def test_a_tracker_that_fails_is_dropped_and_the_run_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tracker = Failing()
    with MetricsLog(tmp_path, 0, 10, Console(quiet=True), [tracker]) as metrics:
        metrics.write(1, {"loss": 1.0})
        metrics.write(2, {"loss": 1.0})
    assert tracker.calls == 1
    assert re.search("tracker failing .*: no server", caplog.text)
    assert len(read_metrics(tmp_path)) == 2
