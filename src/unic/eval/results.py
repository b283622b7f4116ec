"""From marks per test image to results.json: scores, spreads, intervals, gains over the best teacher, axes, ranks."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
from jaxtyping import Float

from unic import rng
from unic.eval.bootstrap import LEVEL, Sample, interval, mean_difference, resampled_means, seed_effect
from unic.eval.rivals import Rivals, interval_over_best
from unic.eval.tasks.base import TOP1, Measure, Outcome
from unic.eval.trainings import TRAINING, Trainings, joined

# One model on one task: an outcome for each seed (one where nothing is drawn), or the line that says why there is none.
Cell = list[Outcome] | str
Cells = Mapping[str, Mapping[str, Cell]]  # task ("clipart/knn") → model → cell


def summarise(
    cells: Cells,
    roles: Mapping[str, str],
    measures: Mapping[str, Measure] | None = None,
    axes: Mapping[str, Sequence[str]] | None = None,
    unseen: Collection[str] = (),
    trainings: Trainings | None = None,
) -> dict[str, Any]:
    """The measured part of results.json.

    The gain of a model on a task is `100 · (s − b) / b` with `b` the best single teacher of that task on all test
    images, and its sign is turned for errors, so that more is always better. Intervals are of the gain over whichever
    teacher is the best in truth, see `unic.eval.rivals`: the one that looks best is the luckiest of several.

    Args:
        measures: by task; default: top-1.
        axes: patterns of tasks by the name of the axis.
        unseen: tasks on images that are no source of training.
        trainings: models that are the mean of others, which have the role `TRAINING`, see `unic.eval.trainings`.

    Returns:
        `tasks`, `descriptions` (of measures that are no scores), `measures`, `unseen` (those of all these that are),
        `best_teacher`; `gains`, `mean_gains`, `mean_gains_unseen` for every model that is not a teacher; `axes`,
        `ranks`; and for the first student `gain_over_best_teacher`, `gain_ci`, `mean_gain`, `mean_gain_unseen`,
        `difference_ci`, `mean_gain_ci`, `mean_gain_unseen_ci`, `single_teacher` (the teacher with the highest mean
        score, easier to beat). A mean is null where a task is missing. `differences`: to the first model where there
        is no teacher, else of further students to the first, see `_Table.differences`; empty without any. Means and
        ranks are over the tasks that are not unseen, but for those with `unseen` in their name; axes see `_counted`.
    """
    measures = {task: (measures or {}).get(task, TOP1) for task in cells}
    trainings = trainings or {}
    entries, samples = _entries(cells, measures, trainings)
    compared = [task for task in cells if measures[task].is_score]
    table = _Table({key: entry for key, entry in entries.items() if key[0] in compared}, samples, roles, measures)
    student = next((name for name, role in roles.items() if role == "student"), "")
    gains = {name: table.gains(name) for name, role in roles.items() if role != "teacher" and table.best}
    seen = [task for task in compared if task not in unseen]
    rest = [task for task in compared if task in unseen]
    mean_gains, mean_gains_unseen = ({name: table.mean_gain(name, part) for name in gains} for part in (seen, rest))
    own = gains.get(student, {})
    mean, mean_unseen = (means.get(student, {"gain": None, "ci": None}) for means in (mean_gains, mean_gains_unseen))
    by_task = {
        task: {name: entries[task, name] for name in (*trainings, *row) if (task, name) in entries}
        for task, row in cells.items()
    }
    return {
        "tasks": {task: by_task[task] for task in compared},
        "descriptions": {task: row for task, row in by_task.items() if task not in compared},
        "measures": {
            task: {"name": measure.name, "lower_is_better": measure.lower_is_better}
            for task, measure in measures.items()
        },
        "unseen": [task for task in cells if task in unseen],
        "best_teacher": table.best,
        "gain_over_best_teacher": own,
        "gain_ci": {task: table.gain_interval(task, student) for task in own},
        "mean_gain": mean["gain"],
        "difference_ci": {task: table.difference_interval(task, student) for task in own},
        "mean_gain_ci": mean["ci"],
        "mean_gain_unseen": mean_unseen["gain"],
        "mean_gain_unseen_ci": mean_unseen["ci"],
        "single_teacher": table.against_single_teacher(seen, student),
        "gains": gains,
        "mean_gains": mean_gains,
        "mean_gains_unseen": mean_gains_unseen,
        "axes": table.axes(axes or {}, student, unseen),
        "ranks": table.ranks(seen),
        "differences": table.differences(compared, seen),
    }


def _entries(
    cells: Cells, measures: Mapping[str, Measure], trainings: Trainings
) -> tuple[dict[tuple[str, str], dict[str, Any]], dict[tuple[str, str], Sample]]:
    """What results.json says of each cell, and its scores under the resamples that all cells of a set share."""
    entries: dict[tuple[str, str], dict[str, Any]] = {}
    by_images: dict[tuple[str, int], list[tuple[str, str]]] = {}
    for task, row in cells.items():
        for name, cell in row.items():
            if isinstance(cell, str):
                entries[task, name] = {"error": cell}
            else:
                by_images.setdefault((task.partition("/")[0], len(cell[0].marks)), []).append((task, name))
    samples: dict[tuple[str, str], Sample] = {}
    for (data, _), keys in by_images.items():
        marks = [outcome.marks for task, name in keys for outcome in cells[task][name]]  # type: ignore[union-attr]
        drawn = iter(resampled_means(marks, seed=rng.stream(f"bootstrap/{data}")))
        for task, name in keys:
            cell = cells[task][name]
            assert not isinstance(cell, str)
            own = np.mean([measures[task].reduce(next(drawn)) for _ in cell], axis=0)
            samples[task, name] = own + seed_effect(_by_seed(cell))
            details = [outcome.details for outcome in cell]
            entries[task, name] = _entry(_by_seed(cell), samples[task, name], measures[task]) | {
                "details": details[:1] if all(other == details[0] for other in details) else details
            }
    for name, members in trainings.items():
        for task, row in cells.items():
            if not any(member in row for member in members):
                continue  # the task is not for such a model
            failed = {member: row.get(member, "not measured") for member in members if (task, member) not in samples}
            if failed:
                entries[task, name] = {"error": f"{next(iter(failed))}: {next(iter(failed.values()))}"}
            else:
                of_each = [_by_seed(row[member]) for member in members]  # type: ignore[arg-type]
                found = joined(of_each, [samples[task, member] for member in members])
                samples[task, name] = found.sample
                is_drawn = len(members) > 1
                entries[task, name] = (
                    _entry(found.by_seed, found.sample, measures[task], is_drawn=is_drawn) | found.facts
                )
    return entries, samples


def _by_seed(cell: Sequence[Outcome]) -> Float[np.ndarray, " k"]:
    """The score of each seed; a single one where no seed changes a mark, since nothing was drawn there."""
    drawn = any(not np.array_equal(outcome.marks, cell[0].marks) for outcome in cell)
    return np.array([outcome.score for outcome in (cell if drawn else cell[:1])])


def _entry(
    scores: Float[np.ndarray, " k"], sample: Sample, measure: Measure, *, is_drawn: bool = False
) -> dict[str, Any]:
    """`scores`: of each seed; `is_drawn`: the sample has the effect of other trainings, beside that of other seeds."""
    score, spread = float(scores.mean()), float(scores.std(ddof=1)) if len(scores) > 1 else None
    return {
        "score": round(score, 3),
        "spread": None if spread is None else round(spread, 3),
        "ci": interval(_in_range(sample, measure) if is_drawn or spread is not None else sample),
        "seed_ci": None if spread is None else _seed_interval(score, spread, len(scores)),
        "by_seed": None if spread is None else [round(float(value), 3) for value in scores],
    }


def _in_range(sample: Sample, measure: Measure) -> Sample:
    """Percentages between 0 and 100, which images never leave and the effect of other seeds may."""
    return np.clip(sample, 0, 100) if measure.name.endswith("%") else sample


def _seed_interval(score: float, spread: float, count: int) -> list[float]:
    """Student's t interval of the mean over seeds."""
    from scipy.stats import t

    half = float(t.ppf((100 + LEVEL) / 200, count - 1)) * spread / count**0.5
    return [round(score - half, 3), round(score + half, 3)]


class _Table:
    """The compared cells, and everything that follows from who is the best teacher where."""

    def __init__(
        self,
        entries: Mapping[tuple[str, str], Mapping[str, Any]],
        samples: Mapping[tuple[str, str], Sample],
        roles: Mapping[str, str],
        measures: Mapping[str, Measure],
    ) -> None:
        self._scores = {key: float(entry["score"]) for key, entry in entries.items() if "score" in entry}
        self._samples, self._roles, self._measures = samples, roles, measures
        self._teachers = [name for name, role in roles.items() if role == "teacher"]
        tasks = dict.fromkeys(task for task, _ in entries)
        self.best = {task: best for task in tasks if (best := self._best(task, self._teachers))}

    def _best(self, task: str, names: Sequence[str]) -> str | None:
        known = [name for name in names if self._scores.get((task, name), 0) > 0]
        return max(known, key=lambda name: self._sign(task) * self._scores[task, name], default=None)

    def _sign(self, task: str) -> int:
        return -1 if self._measures[task].lower_is_better else 1

    def _relative(self, task: str, own: Any, best: Any) -> Any:
        """Gain in percent; of numbers or of arrays."""
        return self._sign(task) * 100 * (own - best) / np.where(best > 0, best, np.nan)  # a resample may hold no hit

    def _difference(self, task: str, own: Any, other: Any) -> Any:
        """How much better `own` is, in units of the measure; of numbers or of arrays."""
        return self._sign(task) * (own - other)

    def _rivals(self, name: str, tasks: Sequence[str], compare: Callable[[str, Any, Any], Any]) -> Rivals:
        """The mean over tasks of the advantage of `name` over each teacher that has them all.

        A teacher with a score of 0 is no rival where the comparison is relative.
        """
        teachers = [one for one in self._teachers if all((task, one) in self._scores for task in tasks)]

        def advantages(values: Mapping[tuple[str, str], Any]) -> Float[np.ndarray, "m ..."]:
            return np.array([self._mean(tasks, values, name, one, compare) for one in teachers])

        measured = advantages(self._scores)
        is_defined = np.isfinite(measured)
        return Rivals(measured[is_defined], advantages(self._samples)[is_defined])

    def _mean(
        self,
        tasks: Sequence[str],
        values: Mapping[tuple[str, str], Any],
        name: str,
        other: str,
        compare: Callable[[str, Any, Any], Any],
    ) -> Any:
        return np.mean([compare(task, values[task, name], values[task, other]) for task in tasks], axis=0)

    def difference_interval(self, task: str, name: str) -> list[float]:
        """Of the advantage of `name` over the best teacher, in units of the measure."""
        return interval_over_best([self._rivals(name, [task], self._difference)])

    def gain_interval(self, task: str, name: str) -> list[float]:
        """The same in percent of the best teacher's score."""
        return interval_over_best([self._rivals(name, [task], self._relative)])

    def gains(self, name: str) -> dict[str, float]:
        return {
            task: self._relative(task, self._scores[task, name], self._scores[task, best])
            for task, best in self.best.items()
            if (task, name) in self._scores
        }

    def mean_gain(self, name: str, tasks: Sequence[str]) -> dict[str, Any]:
        """Over `tasks`, and its interval; None where one of them is missing."""
        gains = self.gains(name)
        if not tasks or not set(tasks) <= set(gains):
            return {"gain": None, "ci": None}
        rivals = [self._rivals(name, [task], self._relative) for task in tasks]
        return {"gain": float(np.mean([gains[task] for task in tasks])), "ci": interval_over_best(rivals)}

    def against_single_teacher(self, tasks: Sequence[str], student: str) -> dict[str, Any] | None:
        """Mean score of the student and of the one teacher with the highest mean, over the tasks in percent."""
        tasks = [task for task in tasks if self._sign(task) > 0 and self._measures[task].name.endswith("%")]
        means = {
            name: float(np.mean([self._scores[task, name] for task in tasks]))
            for name in self._roles
            if tasks and all((task, name) in self._scores for task in tasks)
        }
        teachers = [name for name in self._teachers if name in means]
        if student not in means or not teachers:
            return None
        best = max(teachers, key=lambda name: means[name])
        return {
            "name": best,
            "score": round(means[best], 3),
            "student": round(means[student], 3),
            "difference_ci": interval_over_best([self._rivals(student, tasks, self._difference)]),
        }

    def differences(self, tasks: Sequence[str], seen: Sequence[str]) -> dict[str, Any]:
        """How far models are above the first of them, in units of the measure, with paired intervals.

        Args:
            seen: the tasks that means count.

        Returns:
            `to`: the first model; `tasks`: by task, then by model, `difference` and `ci`; `means`: the same of the
            mean over the sets of each task that several have; `mean`: by model, over all where tasks are several.
            Means are of tasks with one measure, all of which both models have. Empty where there are not two models
            to compare.
        """
        wanted = ("student",) if self._teachers else tuple(self._roles.values())
        first, *others = [name for name, role in self._roles.items() if role in wanted and role != TRAINING] or [""]
        if not others:
            return {}
        kinds: dict[str, list[str]] = {}
        for task in seen:
            kinds.setdefault(task.partition("/")[2], []).append(task)

        def row(tasks: Sequence[str]) -> dict[str, Any]:
            is_one = len({self._measures[task].name for task in tasks}) == 1
            found = {name: self._difference_to(first, name, tasks) for name in others} if is_one else {}
            return {name: entry for name, entry in found.items() if entry}

        return {
            "to": first,
            "tasks": {task: row([task]) for task in tasks},
            "means": {kind: row(found) for kind, found in kinds.items() if len(found) > 1},
            "mean": row(seen) if len(kinds) > 1 else {},
        }

    def _difference_to(self, first: str, name: str, tasks: Sequence[str]) -> dict[str, Any] | None:
        if any((task, one) not in self._scores for task in tasks for one in (first, name)):
            return None
        own, other = ([self._samples[task, one] for task in tasks] for one in (name, first))
        mean = np.mean([self._scores[task, name] - self._scores[task, first] for task in tasks])
        return {"difference": round(float(mean), 3), "ci": mean_difference(own, other)}

    def axes(self, axes: Mapping[str, Sequence[str]], student: str, unseen: Collection[str]) -> dict[str, Any]:
        """For each axis the mean gain over its tasks of every model, each against the best teacher of the axis.

        The best teacher of an axis is the one with the highest mean gain over the best teachers of its tasks.
        """
        found: dict[str, Any] = {}
        for axis, patterns in axes.items():
            tasks = _counted(patterns, list(self.best), unseen)
            whole = [name for name in self._roles if all((task, name) in self._scores for task in tasks)]
            # Nothing is relative to a score of 0.
            teachers = [name for name in self._teachers if all(self._scores.get((task, name), 0) > 0 for task in tasks)]
            if not tasks or not teachers:
                continue
            means = {name: float(np.mean([self.gains(name)[task] for task in tasks])) for name in whole}
            best = max(teachers, key=lambda name: means[name])
            gains = {name: self._mean(tasks, self._scores, name, best, self._relative) for name in whole}
            rivals = self._rivals(student, tasks, self._relative) if student in whole else None
            found[axis] = {
                "tasks": tasks,
                "scores": {name: float(np.mean([self._scores[task, name] for task in tasks])) for name in whole},
                "best_teacher": best,
                "gains": gains,
                "gain": gains.get(student),
                "ci": interval_over_best([rivals]) if rivals else None,
            }
        return found

    def ranks(self, tasks: Sequence[str]) -> dict[str, float]:
        """Mean rank of every model that has all tasks; 1 is the best, equal scores share theirs."""
        from scipy.stats import rankdata

        ranked = [name for name, role in self._roles.items() if role != TRAINING]
        whole = [name for name in ranked if tasks and all((task, name) in self._scores for task in tasks)]
        if len(whole) < 2:
            return {}
        ranks = [rankdata([-self._sign(task) * self._scores[task, name] for name in whole]) for task in tasks]
        return {name: round(float(mean), 2) for name, mean in zip(whole, np.mean(ranks, axis=0), strict=True)}


def _counted(patterns: Sequence[str], tasks: Sequence[str], unseen: Collection[str]) -> list[str]:
    """The tasks of an axis: the seen ones that a pattern names, or the unseen ones where it names no others."""
    named = [task for task in tasks if any(fnmatchcase(task, pattern) for pattern in patterns)]
    return [task for task in named if task not in unseen] or named
