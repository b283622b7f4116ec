"""Differences between runs on the same test images and seeds, by the paired bootstrap of `unic.eval.results.bootstrap`.

Runs are compared on tasks whose score is top-1 and whose images and labels are the same in both. The effect of other
images comes from the predicted classes of the first seed, that of other seeds from the score of each seed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from unic.eval.results.bootstrap import Sample, image_effects, mean_difference, seed_effect
from unic.eval.results.row_title import set_of
from unic.reporting.read.run_files import RunFiles
from unic.reporting.read.scores import Scores
from unic.runs.metric_names import TOP1


class Paired:
    """Resampled top-1 of every run's student, on tasks where predictions allow it."""

    def __init__(self, runs: Sequence[RunFiles]) -> None:
        self._runs = runs
        self._samples: dict[str, dict[int, Sample]] = {}

    def difference(self, task: str, run: int, other: int) -> list[float] | None:
        """Interval of `run` minus `other`, in points; None if they are not known to share the images."""
        return self.mean_difference([task], run, other)

    def mean_difference(self, tasks: Sequence[str], run: int, other: int) -> list[float] | None:
        """The same for the mean over tasks; None if one of them is missing."""
        samples = [self._resampled(task) for task in tasks]
        if not tasks or any(run not in sample or other not in sample for sample in samples):
            return None
        return mean_difference([sample[run] for sample in samples], [sample[other] for sample in samples])

    def leads(self, task: str, run: int, others: Sequence[int]) -> bool:
        """Whether the run is above each of the others by an interval of the difference that lies above 0."""
        found = [self.difference(task, run, other) for other in others if other != run]
        return bool(found) and all(ends is not None and ends[0] > 0 for ends in found)

    def _resampled(self, task: str) -> dict[int, Sample]:
        if task not in self._samples:
            self._samples[task] = _resampled(self._runs, task)
        return self._samples[task]


def _resampled(runs: Sequence[RunFiles], task: str) -> dict[int, Sample]:
    """Samples by index of the run, for runs with the same images as the first one that has predictions."""
    marks: dict[int, np.ndarray] = {}
    scores: dict[int, Sample] = {}
    images: tuple[np.ndarray, np.ndarray] | None = None
    for index, run in enumerate(runs):
        if run.scores is None or run.predictions is None or run.scores.unit(task) != TOP1:
            continue
        correct = run.predictions.correct(task, run.scores.student)
        if correct is None or run.scores.lacks_seeds(task, run.scores.student):
            continue
        own = (run.predictions.index(task), run.predictions.labels(task))
        images = images or own
        if all(np.array_equal(a, b) for a, b in zip(own, images, strict=True)):
            marks[index] = 100 * correct.astype(np.float64)
            scores[index] = _under_other_seeds(run.scores, task)
    return {index: scores[index] + effect for index, effect in image_effects(marks, set_of(task)).items()}


def _under_other_seeds(scores: Scores, task: str) -> Sample:
    """The student's score, the mean over all seeds, plus the effect of other seeds."""
    cell = scores.cell(task, scores.student)
    assert cell.score is not None
    return cell.score + seed_effect(np.array(cell.by_seed or [cell.score], dtype=np.float64))
