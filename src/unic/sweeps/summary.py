"""What the table and the page of a sweep show, from the small files of its trainings."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from unic.sweeps.measured import Measured, Scored
from unic.sweeps.paired import Difference, Paired

Kind = Literal["seen", "unseen"]
_NAMED = 8  # variants in a note
LOWER = " ↓"  # behind a measure where lower is better


@dataclass(frozen=True)
class Mean:
    """A mean over tasks, or a single task, of one variant.

    Attributes:
        score: the mean over the trainings.
        spread: sample deviation over them; None of a single one.
        difference: to the base; None of the base itself, and without a seed in common.
    """

    score: float
    spread: float | None
    difference: Difference | None


@dataclass(frozen=True)
class Row:
    """A variant.

    Attributes:
        name: name of the variant.
        overrides: its changes to the recipe.
        of: the variant whose training it resumed.
        seeds: seeds of its trainings.
        means: by kind of task.
        tasks: by task.
    """

    name: str
    overrides: Sequence[str]
    of: str | None
    seeds: Sequence[int]
    means: dict[Kind, Mean]
    tasks: dict[str, Mean]


@dataclass(frozen=True)
class SuiteSummary:
    """All variants on one suite, the base first.

    Attributes:
        name: name of the suite.
        base: name of the base; empty where none of its trainings is there.
        kinds: the tasks that each mean counts: those of the kind with the most frequent measure.
        missing: variants of the sweep without a finished training.
        left_out: tasks with other measures.
        unpaired: trainings that are not compared with the base, as one of the two was measured on other images.
        units: the measure of each task, with an arrow where lower is better.
        rows: one for each variant.
    """

    name: str
    base: str
    kinds: dict[Kind, list[str]]
    missing: list[str]
    left_out: list[str]
    unpaired: list[str]
    units: dict[str, str]
    rows: list[Row]

    def label(self, kind: Kind) -> str:
        """Name of the mean over the tasks of a kind; plain where all tasks are of one kind."""
        return kind if len(self.kinds) > 1 else "mean"

    def notes(self) -> list[str]:
        """Notes on what is missing, on what the intervals cover, and on what the means leave out."""
        found = []
        if self.missing:
            more = len(self.missing) - _NAMED
            rest = f" and {more} more" if more > 0 else ""
            found.append(f"without a finished training: {', '.join(self.missing[:_NAMED])}{rest}")
        if not self.base:
            found.append("no differences, as the base has no finished training")
        differences = [mean.difference for row in self.rows for mean in row.means.values() if mean.difference]
        known = [one for one in differences if one.ci]
        if self._has_other_seeds():
            found.append(
                "a score counts all seeds of its row, a difference only the seeds that the variant and "
                f"{self.base} have in common, so it may not be the difference of the two scores"
            )
        if any(len(one.seeds) > 1 for one in known):
            found.append("intervals: 95 %, of other seeds (Student's t) and other test images (paired bootstrap)")
        if any(len(one.seeds) == 1 for one in known):
            found.append(
                "with a single seed the interval covers test images only, not another training, so such a variant is "
                "neither above nor below"
            )
        if any(not one.covers_images for one in differences):
            found.append("test images are not drawn again where only scores are known, or where seeds differ in images")
        if any(one.ci is None for one in differences):
            found.append("no interval: one seed, and no task whose right and wrong images are known")
        if any(one.mean == 0 and one.ci == [0, 0] for one in known):
            found.append("0.0 [0.0, 0.0]: not one test image tells the two apart; harder sets may")
        if len(known) > 2:
            found.append("intervals are not corrected for the number of variants")
        if self.unpaired:
            found.append(f"not compared with {self.base}, as the test images differ: {'; '.join(self.unpaired)}")
        if self.left_out:
            found.append(f"not in the means, as measured otherwise: {', '.join(self.left_out)}")
        return found

    def _has_other_seeds(self) -> bool:
        """Whether some difference is over fewer seeds than the two scores that it is of."""
        of_base = next((len(row.seeds) for row in self.rows if row.name == self.base), 0)
        return any(
            mean.difference is not None and len(mean.difference.seeds) < max(len(row.seeds), of_base)
            for row in self.rows
            for mean in row.means.values()
        )


def summarise(trainings: Sequence[Measured], order: Sequence[str] = ()) -> list[SuiteSummary]:
    """One summary for each suite.

    Args:
        trainings: the finished ones.
        order: names of variants as they are to be shown; others come after these.
    """
    suites = dict.fromkeys(suite for one in trainings for suite in one.suites)
    base = next((one.variant for one in trainings if one.is_base), "")
    known = dict.fromkeys(one.variant for one in trainings)
    names = dict.fromkeys(name for name in (base, *order, *known) if name in known)
    missing = [name for name in order if name not in known]
    return [_summary(suite, list(names), base, missing, trainings) for suite in suites]


def hopeless(trainings: Sequence[Measured], base: str) -> set[str]:
    """Variants that are below the base by the whole interval of the mean over seen tasks, on two seeds or more.

    Args:
        trainings: the finished ones; the first suite counts.
        base: name of the base.
    """
    suite = next((suite for one in trainings for suite in one.suites), "")
    paired = Paired(trainings, suite)
    tasks = _kinds(_tasks(paired, base))[0].get("seen", [])
    differences = {name: paired.difference(tasks, name, base) for name in paired.scores}
    return {name for name, one in differences.items() if one and one.is_below}


def _summary(
    suite: str, names: Sequence[str], base: str, missing: list[str], trainings: Sequence[Measured]
) -> SuiteSummary:
    paired = Paired(trainings, suite)
    tasks = _tasks(paired, base or names[0])
    kinds, left_out = _kinds(tasks)
    of = {one.variant: one for one in trainings}

    def mean(name: str, tasks: Sequence[str]) -> Mean | None:
        each = [
            statistics.mean(paired.scores[name][seed][task].score for task in tasks)
            for seed in paired.seeds(name, tasks)
        ]
        if not each:
            return None
        spread = statistics.stdev(each) if len(each) > 1 else None
        return Mean(statistics.mean(each), spread, paired.difference(tasks, name, base) if name != base else None)

    rows = [
        Row(
            name, of[name].overrides, of[name].of, paired.seeds(name, []),
            {kind: found for kind, counted in kinds.items() if (found := mean(name, counted))},
            {task: found for task in tasks if (found := mean(name, [task]))},
        )
        for name in names
    ]  # fmt: skip
    units = {task: f"{cell.measure}{LOWER}" if cell.lower_is_better else cell.measure for task, cell in tasks.items()}
    unpaired = [
        f"{name}, seed {seed}"
        for name in names
        for seed in paired.seeds(name, [])
        if any(seed in paired.on_other_images([task], name, base) for task in tasks)
    ]
    return SuiteSummary(suite, base, kinds, missing, left_out, unpaired, units, rows)


def _tasks(paired: Paired, name: str) -> dict[str, Scored]:
    return {task: cell for row in paired.scores.get(name, {}).values() for task, cell in row.items()}


def _kinds(tasks: dict[str, Scored]) -> tuple[dict[Kind, list[str]], list[str]]:
    """Tasks of each kind that may be averaged, and the others."""
    kinds: dict[Kind, list[str]] = {}
    for kind in get_args(Kind):
        own = {task: cell for task, cell in tasks.items() if cell.is_unseen == (kind == "unseen")}
        if own:
            measure, _ = Counter((cell.measure, cell.lower_is_better) for cell in own.values()).most_common(1)[0]
            kinds[kind] = [task for task, cell in own.items() if (cell.measure, cell.lower_is_better) == measure]
    counted = {task for own in kinds.values() for task in own}
    return kinds, [task for task in tasks if task not in counted]
