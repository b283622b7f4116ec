"""Answers come in order; a worker that dies, stops or fails is one error in bounded time, and none is left over."""

from __future__ import annotations

import importlib
import multiprocessing
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from unic.data.workers import answers
from unic.errors import InputError, WorkerError


@pytest.fixture
def act(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """What the workers do; afterwards none of them is left."""
    monkeypatch.syspath_prepend(Path(__file__).parent)
    yield importlib.import_module("worked").act
    assert multiprocessing.active_children() == []


def test_answers_come_in_the_order_of_the_requests(act: Any) -> None:
    found = list(answers(act, [(0.3, "aaa"), (0, "b"), (0, "cc"), (0.1, "dddd"), (0, "")], 2))
    assert [name for name, _ in found] == ["aaa", "b", "cc", "dddd", ""]
    assert [int(pixels[1, 2]) for _, pixels in found if pixels is not None] == [3, 1, 2, 4, 0]


def test_leaving_early_ends_the_workers(act: Any) -> None:
    found = answers(act, [(0, "a"), (60, "b"), (60, "c")], 2)
    next(found)
    begun = time.monotonic()
    found.close()  # type: ignore[attr-defined]
    assert time.monotonic() - begun < 10


def test_a_worker_that_is_killed_is_noticed_at_once_also_out_of_turn(act: Any) -> None:
    found = answers(act, [(60, "slow"), (0, int(signal.SIGKILL))], 2)
    begun = time.monotonic()
    with pytest.raises(WorkerError, match="^data: .*process.*signal 9"):
        next(found)
    assert time.monotonic() - begun < 30


def test_a_fork_server_that_is_killed_takes_its_workers_along(act: Any) -> None:
    found = answers(act, [(0, "a"), (0, "b"), (60, "c")], 2)
    next(found)
    psutil.Process(multiprocessing.active_children()[0].pid).parent().kill()
    with pytest.raises(WorkerError, match="died.*unknown reason"):
        list(found)


def test_a_worker_that_is_stopped_is_waited_for_as_long_as_was_said(act: Any) -> None:
    found = answers(act, [(0, int(signal.SIGSTOP))], 1, timeout=3)
    begun = time.monotonic()
    with pytest.raises(WorkerError, match=r" 3 s \(data\.timeout\)"):
        next(found)
    assert 3 <= time.monotonic() - begun < 30


def test_signals_to_a_worker_are_not_heard(act: Any) -> None:
    stops = [int(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)]
    found = answers(act, [(0, number) for number in stops], 1)
    assert [name for name, _ in found] == ["alive"] * 4


def test_wrong_input_stays_a_line_and_a_bug_shows_its_place(act: Any) -> None:
    with pytest.raises(InputError, match="^images: gone$"):
        list(answers(act, [(0, "input")], 1))
    with pytest.raises(RuntimeError, match="in a process that decodes images: (.|\n)*one by none"):
        list(answers(act, [(0, "bug")], 1))


def test_a_temporary_folder_with_a_long_name(act: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The fork server's socket would not fit into it; the workers are started without one."""
    folder = tmp_path / ("a" * 126)
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    assert [name for name, _ in answers(act, [(0, "a"), (0, "b")], 1)] == ["a", "b"]


def test_too_little_memory_in_a_worker_is_not_the_training_s(act: Any) -> None:
    with pytest.raises(WorkerError, match="memory.*data.workers"):
        list(answers(act, [(0, None)], 1))
