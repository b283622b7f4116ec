"""Signals take effect where that does no harm, and one signal that arrives twice counts once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from unic import signals
from unic.errors import PreemptedError
from unic.signals import STOP, StoppedBySignal, orderly_end, stop_signals


@pytest.fixture(autouse=True)
def _survivable(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each test begins without earlier signals. An unhandled signal would end all tests."""
    monkeypatch.setattr(signals, "_last", -10.0)
    before = {number: signal.signal(number, lambda *_: None) for number in STOP}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", STOP)
def test_a_block_is_left_at_once_and_one_that_only_notes_is_not(number: int) -> None:
    def work() -> None:
        with stops.at_once("before"):
            with stops.noted():
                os.kill(os.getpid(), number)
                steps.append("noted")
            with stops.at_once("while it slept"):
                steps.append("never")

    steps: list[str] = []
    with stop_signals() as stops:
        with pytest.raises(PreemptedError, match="^stopped by a signal while it slept; .*resume=True$"):
            work()
        assert stops()
    assert steps == ["noted"]


def test_an_except_for_failures_does_not_swallow_it() -> None:
    def work() -> None:
        with stops.at_once():
            try:
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(10)
            except Exception:
                pytest.fail("taken for a failure")

    with (
        stop_signals() as stops,
        pytest.raises(PreemptedError, match="^stopped by a signal; .*resume=True$"),
    ):
        work()


def test_what_starts_a_process_is_not_divided() -> None:
    def work() -> None:
        with stops.at_once():
            with signals.undivided():
                os.kill(os.getpid(), signal.SIGTERM)
                steps.append("whole")
            steps.append("never")

    steps: list[str] = []
    with stop_signals() as stops, pytest.raises(PreemptedError):
        work()
    assert steps == ["whole"]


def test_a_signal_to_process_and_group_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """`timeout -s INT` sends two signals."""
    with stop_signals() as stops:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        assert stops()
        monkeypatch.setattr(signals, "_last", -10.0)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_blocks_within_share_what_came() -> None:
    with stop_signals() as outer:
        with stop_signals():
            os.kill(os.getpid(), signal.SIGUSR1)
        assert outer()
    with stop_signals() as fresh:
        assert not fresh()


def test_nohup_stays() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with stop_signals() as stops:
        os.kill(os.getpid(), signal.SIGHUP)
        assert not stops()
    with orderly_end():
        os.kill(os.getpid(), signal.SIGHUP)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_other_commands_end_with_the_code_of_the_signal_and_clean_up(number: int, code: int) -> None:
    def work() -> None:
        with orderly_end():
            try:
                os.kill(os.getpid(), number)
            finally:
                os.kill(os.getpid(), number)  # the same once more
                cleaned.append(True)

    cleaned: list[bool] = []
    with pytest.raises(StoppedBySignal) as caught:
        work()
    assert caught.value.code == code
    assert cleaned


SCRIPT = """
import signal, sys, time
from unic import cli
cli.app = lambda **_: (print("ready", flush=True), time.sleep(60))
cli.main()
"""


def test_the_command_line_ends_in_one_line() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.terminate()
    _, said = process.communicate(timeout=20)
    assert (process.returncode, said) == (143, "unic: stopped\n")
