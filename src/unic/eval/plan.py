"""The plan of an evaluation: the rows of the table, checked before the first model is loaded."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from unic import lookup, trust
from unic.arguments import argument
from unic.errors import InputError, nearest
from unic.eval.asked import AskedTask, entries_of, parse_tasks
from unic.eval.datasets import DataPair, check_name, data_root, resolve
from unic.eval.results import bootstrap
from unic.eval.results.schema import Bootstrap, Counts, Protocol
from unic.eval.suite import Entry, Suite
from unic.eval.task import Input, Task

_RESERVED = ("seed", "seeds", "size")


@dataclass(frozen=True)
class PlanRow:
    """One task on one set: a row of the table."""

    pair: DataPair
    name: str
    entry: Entry
    is_unseen: bool = False

    @property
    def title(self) -> str:
        return f"{self.pair.name}/{self.name}"

    @property
    def task(self) -> Task:
        return Task.of(self.entry.task or self.name)

    @property
    def input(self) -> Input | Literal["live"]:
        """What `run` gets: "live" under a protocol of the task that caches no features, else its `INPUT`."""
        task = self.task
        return "live" if task.protocol(self.entry.options) else task.input


@dataclass(frozen=True)
class Plan:
    """The resolved suite and its rows, set by set."""

    suite: Suite
    pairs: list[DataPair]
    rows: list[PlanRow]
    missing: dict[str, str]  # reason by name of each set that could not be opened; empty unless `skip_missing` was set

    @property
    def unseen(self) -> list[DataPair]:
        """The sets that are unseen: their images are not used in training."""
        return [pair for pair in self.pairs if any(row.is_unseen for row in self.rows if row.pair is pair)]

    def protocol(self, *, has_trainings: bool = False) -> Protocol:
        """The protocol in results.json.

        Args:
            has_trainings: True if a model is the mean of several trainings; the bootstrap then draws trainings as well.
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
    """Resolves the suite and everything else that needs no model.

    Args:
        suite: the suite; may be None if `data` is given.
        tasks: names of tasks, with options that replace the suite's, see `unic.eval.asked`; default: the suite's tasks.
        data: paths by name, in place of the suite's sets.
        seeds: seeds in place of the suite's.
        root, download, opens_images: see `unic.eval.datasets.resolve`.
        skip_missing: leave out the sets that cannot be opened and list them in the results, instead of an error.

    Raises:
        InputError: unknown task, option or set; a task without a set of its kind, or a set without a task of its kind.
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
        hint = f" (and {len(missing) - 1} more sets; {argument('skip_missing', True)} leaves them out)"
        raise InputError(next(iter(missing.values())) + (hint if len(missing) > 1 else ""))
    rows = _rows(pairs, by_set, suite.unseen)
    _check_rows(rows, pairs, by_set, missing, explicit=bool(explicit))
    return Plan(suite, list(pairs.values()), rows, missing)


def _chosen(suite: Suite, asked: Sequence[AskedTask], sets: list[str] | None) -> Suite:
    """The suite with the typed tasks and given sets in place of its own, and without sets that no task runs on.

    On an unseen set the typed tasks are measured that are among its own, or that the suite does not have.
    """
    tasks, of_unseen = dict(suite.tasks), None if sets else suite.unseen_tasks
    if asked:
        tasks = entries_of(asked, suite.tasks)
        if of_unseen is not None:
            theirs = [one for one in asked if one.task in of_unseen or one.task not in suite.tasks]
            of_unseen = entries_of(theirs, of_unseen)
    if sets:  # entries of the suite may name sets of the suite, which are not measured
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
    task = Task.of(entry.task or name)
    where = f"task '{name}'"
    for key in _RESERVED:
        if key in entry.options:
            raise InputError(f"{where}: '{key}' is a key of the suite, not an option of a task")
    run = task.run
    lookup.check_options(run, entry.options, where, passed=["seed"])
    lookup.check_values(run, entry.options, where)
    for key in task.code:
        if lookup.is_dotted(named := str(entry.options.get(key, ""))):
            trust.require(f"{where}: {key} '{named}'", named)
    tokens = None if entry.head else entry.tokens
    for key, value, kind in (("tokens", tokens, "vectors"), ("blocks", entry.blocks, "dense")):
        if value is not None and task.input != kind:
            raise InputError(f"{where}: option '{key}' is for tasks on {kind}, but this task is on {task.input}")
    if entry.view is not None and task.input == "dense":
        raise InputError(f"{where}: option 'view' does not apply, because this task sees the whole image")
    if entry.head and entry.blocks is not None:
        raise InputError(f"{where}: '{entry.tokens}' is read from its output; leave out 'blocks'")
    if entry.head and task.reads_teachers:
        raise InputError(f"{where}: this task chooses the heads that it reads; leave out 'tokens={entry.tokens}'")


def _used(specs: Sequence[str], tasks: Mapping[str, Entry]) -> list[str]:
    """The sets that some entry runs on; the other ones need not be there."""
    for name, entry in tasks.items():
        for wanted in entry.data or []:
            if wanted not in specs:
                raise InputError(f"task '{name}': the suite has no set '{wanted}'{nearest(wanted, specs)}")
    if any(entry.data is None for entry in tasks.values()):
        return list(specs)
    named = {wanted for entry in tasks.values() for wanted in entry.data or []}
    return [spec for spec in specs if spec in named]


def _rows(
    pairs: Mapping[str, DataPair], by_set: Mapping[str, Mapping[str, Entry]], unseen: Sequence[str]
) -> list[PlanRow]:
    rows = []
    for spec, pair in pairs.items():
        for name, entry in by_set[spec].items():
            row = PlanRow(pair, name, entry, spec in unseen)
            named = entry.data is None or spec in entry.data
            if named and row.task.data in (pair.kind, "any"):
                row.task.check(pair, entry.options)
                rows.append(row)
    return rows


def _check_rows(
    rows: Sequence[PlanRow],
    pairs: Mapping[str, DataPair],
    by_set: Mapping[str, Mapping[str, Entry]],
    missing: Mapping[str, str],
    *,
    explicit: bool,
) -> None:
    """Refuses tasks and sets without a row, and rows with the same title."""
    for name, entry in (named for tasks in by_set.values() for named in tasks.items()):
        lacks = explicit and not any(row.name == name for row in rows)
        if not missing and (lacks or (entry.data and not any(row.entry is entry for row in rows))):
            kind = Task.of(entry.task or name).data
            names = ", ".join(pair.name for pair in pairs.values())
            raise InputError(f"task '{name}' needs a set with {kind}, but none of the sets has them: {names}")
    for pair in pairs.values():
        if not any(row.pair is pair for row in rows):
            raise InputError(f"data '{pair.name}' has {pair.kind}, but no task of this evaluation uses them")
    titles = [row.title for row in rows]
    for title in titles:
        if titles.count(title) > 1:
            raise InputError(f"row '{title}' is there twice; give one of the sets or tasks another name")
