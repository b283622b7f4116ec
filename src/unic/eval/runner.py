"""`evaluate_models`: makes the plan, reads finished cells, measures the others, and returns results.json."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from unic._scratch import say_not_kept
from unic.digest import sha256_of_value
from unic.encoders.base import Encoder
from unic.errors import UntrustedError
from unic.eval.cells import CellStore, cell_key
from unic.eval.datasets import DataPair
from unic.eval.entrants import Entrant, KeptHeads, Model, check_heads, enter
from unic.eval.outcome import Outcome
from unic.eval.plan import Plan, PlanRow, make_plan
from unic.eval.progress import CellProgress
from unic.eval.results.formats import check_targets, wants_predictions, write_results
from unic.eval.results.schema import Influence, Results
from unic.eval.results.scored import Measured
from unic.eval.results.shareable import shareable
from unic.eval.results.summary import summarise
from unic.eval.results.trainings import Trainings, with_joint
from unic.eval.suite import Suite
from unic.eval.task_code import content_of_uri, unknown_of
from unic.eval.work import Failure, Todo, Unit, run_units
from unic.recipe.references import WithReferences
from unic.terminal import tell

Place = tuple[str, str]  # name of a set, name of a model


def evaluate_models(
    models: Mapping[str, Model],
    roles: Mapping[str, str],
    *,
    suite: Suite | None = None,
    tasks: str | Sequence[str] | None = None,
    data: Mapping[str, str] | None = None,
    seeds: Sequence[int] | None = None,
    heads: Mapping[str, KeptHeads] | None = None,
    brought: Mapping[str, str] | None = None,
    trainings: Trainings | None = None,
    out: Sequence[Path] = (),
    cache: Path | None = None,
    jobs: int | None = None,
    workers: int = 0,
    root: Path | None = None,
    download: bool = False,
    skip_missing: bool = False,
    influence: Influence | None = None,
    hidden: WithReferences | None = None,
    console: Console | None = None,
) -> Results:
    """Measures every model on every task of every set and returns the contents of results.json.

    Two or more teachers are also measured side by side, as a concatenation. A cell that fails holds the reason, and the
    other cells are measured. Finished cells are cached by content: an evaluation that was killed resumes, and one that
    is repeated or extended measures only new cells.

    Args:
        models: models by name, see `Model`; the name is a column of the table.
        roles: one of `ROLES` by name, default "other". Gains are those of the first student.
        suite, tasks, data, seeds, root, download, skip_missing: see `make_plan`.
        heads: functions that load kept heads, by student, then by teacher.
        brought: models that were added for runs, with the name of the run; each model gets one column, see `enter`.
        trainings: students that are the mean of others of `models`, see `unic.eval.results.trainings`.
        out: files to write the results to, see `unic.eval.results.formats`.
        cache: folder of features and cells; None: nothing is kept.
        jobs: number of processes that measure at a time; default: one for each GPU, 1 without a GPU.
        workers: number of processes that decode images for each of them.
        influence: shares of the teachers in the student's training.
        hidden: values that results.json must not contain, see `unic.recipe.references`.
        console: console for progress and failures; None: silent.

    Raises:
        InputError: unknown model, role, task, option or set; raised before anything is measured where possible.
    """
    started = time.monotonic()
    check_targets(out)
    plan = make_plan(suite, tasks, data, seeds, root=root, download=download, skip_missing=skip_missing)
    console = console or Console(quiet=True)
    with tempfile.TemporaryDirectory(prefix="unic-eval-") as scratch, CellProgress(console) as progress:
        entrants = enter(models, roles, plan.suite, heads, progress.describe, brought)
        check_heads({row.name: head for row in plan.rows if (head := row.entry.head)}, entrants)
        work = _Work(plan, entrants, cache or Path(scratch), Path(scratch), workers)
        missing = work.missing()
        progress.expect(sum(len(todo) for todo in missing.values()))
        for units in work.units(missing):
            processes = jobs if jobs is not None else max(1, torch.cuda.device_count())
            for failure in run_units(units, processes, progress.describe, progress.advance):
                work.note(failure)
                if not failure.skipped:
                    tell(console, f"{failure.title}, {failure.model}: {failure.reason}", "red")
        outcomes = work.outcomes()
        for note in work.unmeasured() if tasks else ():  # only for tasks that the user has named
            tell(console, note)
    measures = {row.title: row.task.measure for row in plan.rows}
    unseen = [row.title for row in plan.rows if row.is_unseen]
    known = with_joint({name: entrant.facts for name, entrant in entrants.items()}, trainings or {})
    results = summarise(outcomes, known, measures, plan.suite.axes, unseen, trainings).model_copy(
        update={
            **({"influence": influence} if influence else {}),
            "protocol": plan.protocol(has_trainings=bool(trainings)),
            "duration_s": round(time.monotonic() - started, 1),
        }
    )
    if hidden is not None:
        results = shareable(results, hidden.shared)
    for target in sorted(out, key=wants_predictions):  # predictions last, as they may read the images again
        write_results(results, target, work.predictions() if wants_predictions(target) else {})
    return results


class _Work:
    """The cells of an evaluation: which are missing, and the outcomes of all."""

    def __init__(self, plan: Plan, entrants: Mapping[str, Entrant], cache: Path, scratch: Path, workers: int) -> None:
        self._plan, self._entrants, self._cache, self._scratch, self._workers = plan, entrants, cache, scratch, workers
        self._store = CellStore(cache / "cells", scratch)
        self._finished: dict[str, Outcome] = {}
        self._keys: dict[tuple[str, str, int], str] = {}
        self._contents: dict[str, str] = {}
        self._head_prints: dict[tuple[str, str], str] = {}
        self._failures: dict[str, Failure] = {}

    def missing(self) -> dict[Place, list[Todo]]:
        """The missing cells of each (set, model)."""
        missing: dict[Place, list[Todo]] = {}
        seen: set[str] = set()
        for row, name in self._places():
            for seed in self._plan.suite.seeds:
                key = self._key(row, name, seed)
                if key in seen:  # one outcome for all seeds, as the task draws nothing
                    continue
                seen.add(key)
                is_kept = self._is_kept(row, name)
                outcome = self._store.load(key, row.task.measure, is_kept=is_kept)
                if outcome is None:
                    missing.setdefault((row.pair.name, name), []).append(Todo(row, seed, key, is_kept))
                else:
                    self._finished[key] = outcome
        return missing

    def units(self, missing: Mapping[Place, Sequence[Todo]]) -> Iterator[list[Unit]]:
        """Two rounds of units, model by model: cells that need one encoder, then cells that read features of others."""
        for of_others in (False, True):
            units = []
            for name in self._entrants:
                for pair in self._plan.pairs:
                    todo = [
                        entry
                        for entry in missing.get((pair.name, name), [])
                        if of_others == (entry.row.input == "subject" or bool(self._entrants[name].members))
                    ]
                    if todo:
                        units.append(self._unit(pair.name, name, todo))
            yield units

    def note(self, failure: Failure) -> None:
        """Keeps a failure by the key of its cell, which models with the same weights share."""
        row = next(row for row in self._plan.rows if row.title == failure.title)
        for seed in self._plan.suite.seeds:
            self._failures[self._key(row, failure.model, seed)] = failure

    def _failure(self, row: PlanRow, name: str) -> Failure | None:
        keys = (self._key(row, name, seed) for seed in self._plan.suite.seeds)
        return next((self._failures[key] for key in keys if key in self._failures), None)

    def outcomes(self) -> dict[str, dict[str, Measured]]:
        """Outcomes or failures by title of the row, then by model; without rows that have neither."""
        outcomes: dict[str, dict[str, Measured]] = {row.title: {} for row in self._plan.rows}
        for row, name in self._places():
            failure = self._failure(row, name)
            if failure is None:
                seeds = self._plan.suite.seeds if row.task.is_random else self._plan.suite.seeds[:1]
                outcomes[row.title][name] = [self._outcome(row, name, seed) for seed in seeds]
            elif not failure.skipped:
                outcomes[row.title][name] = failure.reason
        return {title: row for title, row in outcomes.items() if row}

    def unmeasured(self) -> list[str]:
        """A line with the reason for each row that is not applicable to any model."""
        reasons: dict[str, list[Failure | None]] = {}
        for row, name in self._places():
            reasons.setdefault(row.title, []).append(self._failure(row, name))
        return [
            f"{title}: no model can be measured ({failures[0].reason})"
            for title, failures in reasons.items()
            if failures[0] and all(failure and failure.skipped for failure in failures)
        ]

    def predictions(self) -> dict[str, np.ndarray]:
        """Predicted classes of the first seed by `SET/TASK/MODEL`, with `SET/index` and `SET/labels` of the images."""
        arrays: dict[str, np.ndarray] = {}
        for row, name in self._places():
            failed = self._failure(row, name)
            predicted = None if failed else self._outcome(row, name, self._plan.suite.seeds[0]).predicted
            if predicted is not None:
                if f"{row.pair.name}/index" not in arrays:
                    arrays |= self._images(row, name)
                arrays[f"{row.title}/{name}"] = predicted.astype(np.int32)
        return arrays

    def _images(self, row: PlanRow, name: str) -> dict[str, np.ndarray]:
        """Labels and indices of the images whose classes a model predicted, without damaged images."""
        single = next(iter(self._entrants[name].members), name)
        subject = self._unit(row.pair.name, single, []).subject(single, lambda _: None)
        labels, index = subject.labelled("test").y, subject.features("test").index
        return {f"{row.pair.name}/index": index.astype(np.int32), f"{row.pair.name}/labels": labels.astype(np.int32)}

    def _places(self) -> Iterator[tuple[PlanRow, str]]:
        for row in self._plan.rows:
            roles = row.task.roles
            for name, entrant in self._entrants.items():
                if roles is None or entrant.role in roles:
                    yield row, name

    def _unit(self, pair_name: str, name: str, todo: Sequence[Todo]) -> Unit:
        pair = next(pair for pair in self._plan.pairs if pair.name == pair_name)
        suite, cache = self._plan.suite, self._cache
        return Unit(name, self._entrants, pair, suite.size, cache, self._scratch, todo, self._workers, suite.view)

    def _outcome(self, row: PlanRow, name: str, seed: int) -> Outcome:
        key = self._key(row, name, seed)
        outcome = self._finished.get(key) or self._store.load(key, row.task.measure, is_kept=self._is_kept(row, name))
        assert outcome is not None, f"{row.title}, {name}: stored and gone from {self._cache}"
        self._finished[key] = outcome
        return outcome

    def _key(self, row: PlanRow, name: str, seed: int) -> str:
        seed = seed if row.task.is_random else 0
        if (row.title, name, seed) not in self._keys:
            entrant = self._entrants[name]
            view = "square" if row.input in ("dense", "live") else row.entry.view or self._plan.suite.view
            self._keys[row.title, name, seed] = cell_key(
                row.task.name, options=row.entry.options, vector=row.entry.tokens or entrant.vector,
                blocks=row.entry.blocks, seed=seed, size=self._plan.suite.size, data=self._content(row.pair),
                model=entrant.fingerprint, company=self._company(entrant) if row.task.reads_teachers else None,
                **({} if view == "square" else {"view": view}),  # keys are older than this setting
                **({"head": self._print_of_head(entrant, head)} if (head := row.entry.head) else {}),
            )  # fmt: skip
        return self._keys[row.title, name, seed]

    def _is_kept(self, row: PlanRow, name: str) -> bool:
        """Whether the key covers everything that decides the outcome, so that it may be kept.

        A warning is logged here for a task; features log it for a model.
        """
        unknown = unknown_of(row.task.name, row.entry.options)
        if unknown:
            say_not_kept(f"task '{row.name}'", unknown)
        shown = [self._entrants[name], *(self._teachers() if row.task.reads_teachers else ())]
        return not unknown and not any(entrant.unknown for entrant in shown)

    def _teachers(self) -> list[Entrant]:
        return [entrant for entrant in self._entrants.values() if entrant.role == "teacher"]

    def _company(self, entrant: Entrant) -> list[Any]:
        """The part of a key for a task that compares a model with the teachers: all of them, and the kept heads."""
        prints = {teacher: self._print_of_head(entrant, teacher) for teacher in entrant.heads}
        return [
            *(
                (one.name, one.role, content_of_uri(one.facts.uri), one.fingerprint)
                for one in [entrant, *self._teachers()]
            ),
            prints,
        ]

    def _print_of_head(self, entrant: Entrant, teacher: str) -> str | None:
        """Fingerprint of the head that an entrant has for a teacher; None without one."""
        if teacher not in entrant.heads:
            return None
        if (entrant.name, teacher) not in self._head_prints:
            self._head_prints[entrant.name, teacher] = _print(entrant.heads[teacher])
        return self._head_prints[entrant.name, teacher]

    def _content(self, pair: DataPair) -> str:
        """Hash of the images and labels of a set; computed once, as it lists all files of a folder."""
        if pair.name not in self._contents:
            pairs = [pair, *pair.parts.values()]
            described = [(s.fingerprint(), s.label_fingerprint()) for one in pairs for s in (one.train, one.test)]
            self._contents[pair.name] = sha256_of_value(described)
        return self._contents[pair.name]


def _print(load: Callable[[], Encoder]) -> str:
    """Fingerprint of a kept head. The student's own does not cover the head's projector, which is in a checkpoint."""
    try:
        return load().fingerprint()
    except UntrustedError:
        raise
    except Exception as error:  # the cell that needs the head will fail with it
        return str(error)
