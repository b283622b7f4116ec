"""A log that cannot be written costs lines, not the run: `/dev/full` answers every write with "no space left"."""

from __future__ import annotations

import logging
from contextlib import suppress
from pathlib import Path

import pytest
from rich.console import Console

from unic.runs.metrics import MetricsLog, log_to, read_metrics

FULL = Path("/dev/full")
pytestmark = pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")


def test_metrics_on_a_full_disk(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    with MetricsLog(tmp_path, 0, 10, Console(quiet=True)) as metrics:
        metrics.write(1, {"loss": 1.0})
        healthy, metrics._file = metrics._file, FULL.open("w")
        metrics.write(2, {"loss": 1.0})
        metrics.write(3, {"loss": 1.0})
        full, metrics._file = metrics._file, healthy
        metrics.write(4, {"loss": 1.0})
        metrics._file = full
    healthy.close()
    assert [row["step"] for row in read_metrics(tmp_path)] == [1, 4]
    assert caplog.text.count("metrics.jsonl cannot be written (No space left on device)") == 2
    assert capsys.readouterr().err.count("metrics.jsonl cannot be written") == 2  # once for each outage


def test_screen_that_is_gone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    screen = FULL.open("w")
    with MetricsLog(tmp_path, 0, 10, Console(file=screen)) as metrics:
        metrics.write(1, {"loss": 1.0})
        metrics.write(2, {"loss": 1.0})
    with suppress(OSError):
        screen.close()
    assert "screen cannot be written" in caplog.text
    assert [row["step"] for row in read_metrics(tmp_path)] == [1, 2]


def test_train_log_on_a_full_disk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "train.log").symlink_to(FULL)
    handler = log_to(tmp_path)
    logging.getLogger("unic").warning("a line")
    logging.getLogger("unic").removeHandler(handler)
    handler.close()
    assert "Traceback" not in capsys.readouterr().err
