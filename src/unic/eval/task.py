"""A task as the rest of the evaluation sees it: what its module says, and the default of what the module leaves out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal

from unic import lookup
from unic.eval.datasets import DataPair
from unic.eval.outcome import TOP1, Measure, Outcome

PACKAGE = "unic.eval.tasks"
Input = Literal["vectors", "dense", "subject"]


@dataclass(frozen=True)
class Task:
    """The contract of a task; `unic.eval.tasks` explains each attribute of the module.

    A task is looked up where it is needed and not stored, because modules cannot be sent to another process.

    Attributes:
        roles: None: all.
        files: None: any option may name a file.
    """

    name: str
    input: Input
    data: Literal["labels", "masks", "depth", "any"]
    measure: Measure
    roles: Collection[str] | None
    is_random: bool
    reads_teachers: bool
    live: Mapping[str, ModuleType]
    files: tuple[str, ...] | None
    code: Collection[str]
    check: Callable[[DataPair, Mapping[str, Any]], None]

    @classmethod
    def of(cls, name: str) -> Task:
        """The task of a name in a suite: a file of `unic.eval.tasks`, or the dotted path of a user's own.

        Raises:
            InputError, UntrustedError: see `lookup.module`.
        """
        module = lookup.module(PACKAGE, name)
        takes: Input = getattr(module, "INPUT", "vectors")
        files = getattr(module, "FILES", () if is_shipped(name) else None)
        return cls(
            name=name,
            input=takes,
            data=getattr(module, "DATA", "labels"),
            measure=getattr(module, "MEASURE", TOP1),
            roles=getattr(module, "ROLES", None),
            is_random=getattr(module, "IS_RANDOM", True),
            reads_teachers=bool(getattr(module, "READS_TEACHERS", takes == "subject" and not is_shipped(name))),
            live=getattr(module, "LIVE", {}),
            files=None if files is None else tuple(files),
            code=getattr(module, "CODE", ()),
            check=getattr(module, "check", _accept),
        )

    @property
    def run(self) -> Callable[..., Outcome]:
        """The entry point.

        Raises:
            InputError: the module has none.
        """
        run: Callable[..., Outcome] = lookup.entry(PACKAGE, self.name, "run")
        return run

    @property
    def version(self) -> int:
        """Version of a shipped task; a user's own task needs none."""
        return int(lookup.entry(PACKAGE, self.name, "VERSION"))

    def protocol(self, options: Mapping[str, Any]) -> ModuleType | None:
        """The module of the protocol that the options name, if the task says that it caches no features (`LIVE`)."""
        return self.live.get(str(options.get("protocol")))


def is_shipped(name: str) -> bool:
    return "." not in name


def _accept(pair: DataPair, options: Mapping[str, Any]) -> None:
    """The `check` of a task that has none."""
