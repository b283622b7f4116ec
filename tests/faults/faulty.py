"""`unic` with one fault, named by the environment: python faulty.py distill recipe.yaml --out RUN.

FAULT=die_in_save:7   kills this process at the seventh system call that makes a save safe (fsync, rename, replace)
FAULT=hang:4          sleeps for minutes in step 4, once it has made the file HANGS
FAULT=die:4           kills this process in step 4
FAULT=nan:4           from step 4 on the teachers of this process give NaN for their first image
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from unic import cli
from unic.training.teachers import LiveTeachers


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def hang() -> None:
    Path(os.environ["HANGS"]).touch()
    time.sleep(600)


def before(call: Callable[..., Any], act: Callable[[], None], count: list[int]) -> Callable[..., Any]:
    """`call` that acts first once `count` has come down to 0."""

    def wrapped(*arguments: Any, **options: Any) -> Any:
        count[0] -= 1
        if count[0] == 0:
            act()
        return call(*arguments, **options)

    return wrapped


def poisoned(call: Callable[..., Any], first: int) -> Callable[..., Any]:
    calls = [0]

    def wrapped(*arguments: Any) -> Any:
        calls[0] += 1
        targets = call(*arguments)
        if calls[0] >= first:
            for tokens in targets.values():
                tokens.cls[0] = float("nan")
        return targets

    return wrapped


def install(kind: str, number: int) -> None:
    if kind == "die_in_save":
        left = [number]  # shared: the calls are counted together
        for name in ("fsync", "rename", "replace"):
            setattr(os, name, before(getattr(os, name), kill, left))
        return
    trial = 1  # before step 1 one batch is tried
    if kind == "nan":
        LiveTeachers.__call__ = poisoned(LiveTeachers.__call__, number + trial)  # type: ignore[method-assign]
        return
    act = kill if kind == "die" else hang
    LiveTeachers.__call__ = before(LiveTeachers.__call__, act, [number + trial])  # type: ignore[method-assign]


if __name__ == "__main__":
    fault, _, value = os.environ["FAULT"].partition(":")
    install(fault, int(value))
    cli.main()
