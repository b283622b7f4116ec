"""From marks per test image to cells: scores, spreads and intervals, with the resamples for comparisons of models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from unic.eval.outcome import Measure, Outcome
from unic.eval.results.bootstrap import LEVEL, Sample, interval, resampled_means, seed_effect, seed_of
from unic.eval.results.row_title import set_of
from unic.eval.results.schema import Cell, Interval
from unic.eval.results.trainings import Trainings, joined
from unic.eval.results.units import is_percentage

# One model on one task: an outcome for each seed (a single one if nothing is drawn), or the reason why there is none.
Measured = list[Outcome] | str
Outcomes = Mapping[str, Mapping[str, Measured]]  # task ("clipart/knn") → model → outcomes


def cells_of(
    outcomes: Outcomes, measures: Mapping[str, Measure], trainings: Trainings
) -> tuple[dict[str, dict[str, Cell]], dict[tuple[str, str], Sample]]:
    """All cells, and their scores under the resamples, which are the same for all cells of a set.

    Args:
        outcomes: outcomes by task, then by model.
        measures: measures by task.
        trainings: students that are the mean of others; their cells come first.

    Returns:
        Cells by task, then by model; samples by task and model.
    """
    cells: dict[tuple[str, str], Cell] = {}
    by_images: dict[tuple[str, int], list[tuple[str, str]]] = {}
    for task, row in outcomes.items():
        for name, measured in row.items():
            if isinstance(measured, str):
                cells[task, name] = Cell(error=measured)
            else:
                by_images.setdefault((set_of(task), len(measured[0].marks)), []).append((task, name))
    samples: dict[tuple[str, str], Sample] = {}
    for (data, _), keys in by_images.items():
        marks = [outcome.marks for task, name in keys for outcome in outcomes[task][name]]  # type: ignore[union-attr]
        drawn = iter(resampled_means(marks, seed=seed_of(data)))
        for task, name in keys:
            measured = outcomes[task][name]
            assert not isinstance(measured, str)
            own = np.mean([measures[task].reduce(next(drawn)) for _ in measured], axis=0)
            samples[task, name] = own + seed_effect(_by_seed(measured))
            details = [outcome.details for outcome in measured]
            details = details[:1] if all(other == details[0] for other in details) else details
            cells[task, name] = _cell(_by_seed(measured), samples[task, name], measures[task], details=details)
    _add_means_of_trainings(outcomes, measures, trainings, cells, samples)
    by_task = {
        task: {name: cells[task, name] for name in (*trainings, *row) if (task, name) in cells}
        for task, row in outcomes.items()
    }
    return by_task, samples


def _add_means_of_trainings(
    outcomes: Outcomes,
    measures: Mapping[str, Measure],
    trainings: Trainings,
    cells: dict[tuple[str, str], Cell],
    samples: dict[tuple[str, str], Sample],
) -> None:
    """Adds the cells and the samples of the students that are the mean of others."""
    for name, members in trainings.items():
        for task, row in outcomes.items():
            if not any(member in row for member in members):
                continue  # the task does not apply to students
            failed = {member: row.get(member, "not measured") for member in members if (task, member) not in samples}
            if failed:
                cells[task, name] = Cell(error=f"{next(iter(failed))}: {next(iter(failed.values()))}")
            else:
                of_each = [_by_seed(row[member]) for member in members]  # type: ignore[arg-type]
                mean = joined(of_each, [samples[task, member] for member in members])
                samples[task, name] = mean.sample
                cells[task, name] = _cell(
                    mean.by_seed, mean.sample, measures[task], is_drawn=len(members) > 1,
                    by_training=mean.by_training, training_spread=mean.training_spread,
                )  # fmt: skip


def _by_seed(measured: Sequence[Outcome]) -> Float[np.ndarray, " k"]:
    """The score of each seed; a single one if all seeds have the same marks, as nothing was drawn."""
    drawn = any(not np.array_equal(outcome.marks, measured[0].marks) for outcome in measured)
    return np.array([outcome.score for outcome in (measured if drawn else measured[:1])])


def _cell(
    scores: Float[np.ndarray, " k"], sample: Sample, measure: Measure, *, is_drawn: bool = False, **more: Any
) -> Cell:
    """The cell of a score.

    Args:
        scores: score of each seed.
        sample: score under each resample.
        measure: measure of the task.
        is_drawn: True if the sample has the effect of other trainings, in addition to that of other seeds.
        more: further keys of the cell.
    """
    score, spread = float(scores.mean()), float(scores.std(ddof=1)) if len(scores) > 1 else None
    return Cell(
        score=round(score, 3),
        spread=None if spread is None else round(spread, 3),
        ci=interval(_in_range(sample, measure) if is_drawn or spread is not None else sample),
        seed_ci=None if spread is None else _seed_interval(score, spread, len(scores)),
        by_seed=None if spread is None else [round(float(value), 3) for value in scores],
        **more,
    )


def _in_range(sample: Sample, measure: Measure) -> Sample:
    """The sample with percentages clipped to 0 … 100, which the effect of other seeds may leave."""
    return np.clip(sample, 0, 100) if is_percentage(measure.name) else sample


def _seed_interval(score: float, spread: float, count: int) -> Interval:
    """Student's t interval of the mean over seeds."""
    from scipy.stats import t

    half = float(t.ppf((100 + LEVEL) / 200, count - 1)) * spread / count**0.5
    return [round(score - half, 3), round(score + half, 3)]
