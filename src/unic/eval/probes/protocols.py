"""Names of the published protocols that `linear` and `logistic` can follow."""

from __future__ import annotations

from typing import Literal, get_args

from unic.errors import InputError, nearest

Protocol = Literal["unic"]
"""`unic`: that of the UNIC paper's published code (arXiv 2408.05088)."""


def check_protocol(task: str, name: str | None) -> None:
    """Refuses a name that is not a `Protocol`; None stands for the task's own way."""
    if name is not None and name not in get_args(Protocol):
        raise InputError(f"{task}: unknown protocol '{name}'{nearest(name, get_args(Protocol))}")
