"""What will be measured: the rows of the table, checked before the first model is loaded."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

from unic import lookup, trust
from unic.arguments import argument
from unic.errors import InputError, nearest
from unic.eval.asked import AskedTask, entries_of, parse_tasks
from unic.eval.datasets import DataPair, check_name, data_root, resolve
from unic.eval.outcome import TOP1, Measure
from unic.eval.results import bootstrap
from unic.eval.results.schema import Bootstrap, Counts, Protocol
from unic.eval.suite import Entry, Suite
from unic.eval.task_code import is_shipped

_RESERVED = ("seed", "seeds", "size")


@dataclass(frozen=True)
class Row:
    """One task on one set: a row of the table."""

    pair: DataPair
    name: str
    entry: Entry
    is_unseen: bool = False

    @property
    def title(self) -> str:
        return f"{self.pair.name}/{self.name}"

    @property
    def task(self) -> str:
        return self.entry.task or self.name

    @property  # not kept: modules cannot be sent to another process
    def module(self) -> ModuleType:
        return lookup.module("unic.eval.tasks", self.task)

    @property
    def measure(self) -> Measure:
        return getattr(self.module, "MEASURE", TOP1)

    @property
    def is_random(self) -> bool:
        return getattr(self.module, "IS_RANDOM", True)

    @property
    def reads_teachers(self) -> bool:
        """Whether it may see the teachers: a task of one's own that is given the whole subject, unless it says no."""
        default = not is_shipped(self.task) and self.input == "subject"
        return bool(getattr(self.module, "READS_TEACHERS", default))

    @property
    def input(self) -> str:
        return getattr(self.module, "INPUT", "vectors")


@dataclass(frozen=True)
class Plan:
    """The resolved suite and its rows, set by set."""

    suite: Suite
    pairs: list[DataPair]
    rows: list[Row]
    missing: dict[str, str]  # sets that are not here, by name, and why; only where that was allowed

    @property
    def unseen(self) -> list[DataPair]:
        """The sets whose images are no source of training."""
        return [pair for pair in self.pairs if any(row.is_unseen for row in self.rows if row.pair is pair)]

    def protocol(self, *, has_trainings: bool = False) -> Protocol:
        """What results.json says of how it was measured.

        Args:
            has_trainings: a model is the mean of several trainings, which are drawn as well.
        """
        packages = ("torch", "timm", "numpy", "optuna", "scikit-learn")
        return Protocol(
            **self.suite.model_dump(mode="json", exclude_none=True, exclude={"size"}),
            size=self.suite.size,
            counts={
                pair.name: Counts(train=len(pair.train), test=len(pair.test), classes=len(pair.classes))
                for pair in self.pairs
            },
            classes={pair.name: pair.classes for pair in self.pairs if len(pair.classes) <= 1000},
            missing=self.missing,
            bootstrap=Bootstrap(
                resamples=bootstrap.RESAMPLES,
                level=bootstrap.LEVEL,
                unit=f"test image{', probe seed and training' if has_trainings else ' and probe seed'}",
                over_teachers="simultaneous",
            ),
            versions={"python": platform.python_version()} | {package: version(package) for package in packages},
        )


def make_plan(
    suite: Suite | None,
    tasks: str | Sequence[str] | None = None,
    data: Mapping[str, str] | None = None,
    seeds: Sequence[int] | None = None,
    *,
    root: Path | None = None,
    download: bool = False,
    skip_missing: bool = False,
    opens_images: bool = True,
) -> Plan:
    """Resolves everything that needs no model.

    Args:
        suite: not needed with `data`.
        tasks: names, with options where they are to be others, see `unic.eval.asked`; default: the suite's.
        data: paths by name, in place of the suite's sets.
        seeds: in place of the suite's.
        root, download, opens_images: see `unic.eval.datasets.resolve`.
        skip_missing: leave out sets that cannot be opened instead of refusing; they are named in the results.

    Raises:
        InputError: unknown task, option or set; a task that no set suits, or a set that no task suits.
    """
    sets = [f"{name}={path}" for name, path in data.items()] if data else None
    if suite is None and sets is None:
        raise InputError("eval: expected a suite or data to measure on")
    suite = suite or Suite(data=sets or [])
    explicit = parse_tasks(tasks) if tasks else []
    suite = _chosen(suite, explicit, sets).model_copy(update={"seeds": list(seeds or suite.seeds)})
    by_set = {
        **dict.fromkeys(suite.data, suite.tasks),
        **dict.fromkeys(suite.unseen, suite.tasks if suite.unseen_tasks is None else suite.unseen_tasks),
    }
    for spec in by_set:
        check_name(spec)
    pairs, missing = {}, {}
    for spec in by_set:
        try:
            pairs[spec] = resolve(
                spec, max_train=suite.max_train, max_test=suite.max_test, root=root or data_root(), download=download,
                opens_images=opens_images,
            )  # fmt: skip
        except InputError as error:
            missing[spec] = str(error)
    if missing and (not skip_missing or not pairs):
        more = (
            f" (and {len(missing) - 1} more sets: {argument('skip_missing', True)} leaves them out)"
            if len(missing) > 1
            else ""
        )
        raise InputError(next(iter(missing.values())) + more)
    rows = _rows(pairs, by_set, suite.unseen)
    _check_rows(rows, pairs, by_set, missing, explicit=bool(explicit))
    return Plan(suite, list(pairs.values()), rows, missing)


def _chosen(suite: Suite, asked: Sequence[AskedTask], sets: list[str] | None) -> Suite:
    """The suite with what was asked for in place of its own tasks and sets, and without sets that no task is for.

    An unseen set gets the asked tasks that its own are, or that the suite does not have.
    """
    tasks, of_unseen = dict(suite.tasks), None if sets else suite.unseen_tasks
    if asked:
        tasks = entries_of(asked, suite.tasks)
        if of_unseen is not None:
            theirs = [one for one in asked if one.task in of_unseen or one.task not in suite.tasks]
            of_unseen = entries_of(theirs, of_unseen)
    if sets:  # a suite's own sets are gone, and with them what it says of them
        tasks = {name: entry.model_copy(update={"data": None}) for name, entry in tasks.items()}
    for name, entry in [*tasks.items(), *(of_unseen or {}).items()]:
        _check_entry(name, entry)
    if sets:
        changed: dict[str, Any] = {"data": sets, "unseen": [], "unseen_tasks": None}
    elif of_unseen is None:
        used = _used([*suite.data, *suite.unseen], tasks)
        changed = {"data": [spec for spec in suite.data if spec in used]}
        changed["unseen"] = [spec for spec in suite.unseen if spec in used]
    else:
        unseen = _used(suite.unseen, of_unseen)
        changed = {"data": _used(suite.data, tasks), "unseen": unseen, "unseen_tasks": of_unseen if unseen else None}
    return suite.model_copy(update={"tasks": tasks, **changed})


def _check_entry(name: str, entry: Entry) -> None:
    module = lookup.module("unic.eval.tasks", entry.task or name)
    where = f"task '{name}'"
    for key in _RESERVED:
        if key in entry.options:
            raise InputError(f"{where}: '{key}' is the suite's, not an option")
    run = lookup.entry("unic.eval.tasks", entry.task or name, "run")
    lookup.check_options(run, entry.options, where)
    lookup.check_values(run, entry.options, where)
    for key in getattr(module, "CODE", ()):
        if lookup.is_dotted(named := str(entry.options.get(key, ""))):
            trust.require(f"{where}: {key} '{named}'", named)
    takes = getattr(module, "INPUT", "vectors")
    for key, value, kind in (("tokens", entry.tokens, "vectors"), ("blocks", entry.blocks, "dense")):
        if value is not None and takes != kind:
            raise InputError(f"{where}: '{key}' is for tasks on {kind}, this one is on {takes}")


def _accept(pair: DataPair, options: Mapping[str, Any]) -> None:
    """What a task without a `check` says of any set."""


def _used(specs: Sequence[str], tasks: Mapping[str, Entry]) -> list[str]:
    """The sets that some entry runs on: choosing tasks must not ask for the data of others."""
    for name, entry in tasks.items():
        for wanted in entry.data or []:
            if wanted not in specs:
                raise InputError(f"task '{name}': no set '{wanted}' in the suite{nearest(wanted, specs)}")
    if any(entry.data is None for entry in tasks.values()):
        return list(specs)
    named = {wanted for entry in tasks.values() for wanted in entry.data or []}
    return [spec for spec in specs if spec in named]


def _rows(pairs: Mapping[str, DataPair], by_set: Mapping[str, Mapping[str, Entry]], unseen: Sequence[str]) -> list[Row]:
    rows = []
    for spec, pair in pairs.items():
        for name, entry in by_set[spec].items():
            row = Row(pair, name, entry, spec in unseen)
            named = entry.data is None or spec in entry.data
            if named and getattr(row.module, "DATA", "labels") in (pair.kind, "any"):
                getattr(row.module, "check", _accept)(pair, entry.options)
                rows.append(row)
    return rows


def _check_rows(
    rows: Sequence[Row],
    pairs: Mapping[str, DataPair],
    by_set: Mapping[str, Mapping[str, Entry]],
    missing: Mapping[str, str],
    *,
    explicit: bool,
) -> None:
    """Refuses tasks and sets without a row, and rows of one title."""
    for name, entry in (named for tasks in by_set.values() for named in tasks.items()):
        lacks = explicit and not any(row.name == name for row in rows)
        if not missing and (lacks or (entry.data and not any(row.entry is entry for row in rows))):
            kind = getattr(lookup.module("unic.eval.tasks", entry.task or name), "DATA", "labels")
            raise InputError(
                f"task '{name}' needs a set with {kind}; {', '.join(p.name for p in pairs.values())}: none"
            )
    for pair in pairs.values():
        if not any(row.pair is pair for row in rows):
            raise InputError(f"data '{pair.name}' has {pair.kind}, and no task of this evaluation is for them")
    titles = [row.title for row in rows]
    for title in titles:
        if titles.count(title) > 1:
            raise InputError(f"'{title}' is measured twice; give one of the sets or tasks another name")
