"""How far a variant is above the base: the mean over seeds of differences on the same test images, and its interval.

Both are trained with the same seeds and measured on the same images, so what a seed or an image does to both cancels.
The interval covers other images by the paired bootstrap and other seeds by Student's t, as that of one recipe with
several seeds does (`unic.eval.results.trainings`). With one seed it covers images only, and says nothing of another
training. Scores on different images are never compared. Files of earlier versions may not tell their images, which then
count as the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from unic.eval.results.bootstrap import Sample, image_effects, mean_difference, seed_effect
from unic.eval.results.row_title import set_of
from unic.eval.results.trainings import joined
from unic.sweeps.measured import Measured, Scored


class Difference(NamedTuple):
    """A variant against the base, over one or more tasks.

    Attributes:
        mean: how much better the variant is, in the unit of the measure; of errors the sign is turned.
        ci: 95 % interval; None where neither images nor seeds are known to draw again.
        seeds: seeds that both were trained with.
        covers_images: whether the interval covers other test images, of every task.
    """

    mean: float
    ci: list[float] | None
    seeds: list[int]
    covers_images: bool

    @property
    def covers_seeds(self) -> bool:
        """Whether the interval covers other trainings. One that covers test images only tells no two recipes apart."""
        return self.ci is not None and len(self.seeds) > 1

    @property
    def is_below(self) -> bool:
        return self.covers_seeds and self.ci is not None and self.ci[1] < 0

    @property
    def is_above(self) -> bool:
        return self.covers_seeds and self.ci is not None and self.ci[0] > 0


class Paired:
    """All trainings of a sweep on one suite.

    Args:
        trainings: the finished ones.
        suite: its name.
    """

    def __init__(self, trainings: Sequence[Measured], suite: str) -> None:
        self.scores: dict[str, dict[int, Mapping[str, Scored]]] = {}
        """By variant, seed and task."""
        self._sets: dict[tuple[str, int], Mapping[str, str]] = {}
        for one in trainings:
            if suite in one.suites:
                self.scores.setdefault(one.variant, {})[one.seed] = one.suites[suite]
                self._sets[one.variant, one.seed] = one.set_digests.get(suite, {})
        self._drawn: dict[str, dict[tuple[str, int], Sample]] = {}

    def seeds(self, variant: str, tasks: Sequence[str]) -> list[int]:
        """Seeds with which it has all of the tasks."""
        known = self.scores.get(variant, {})
        return sorted(seed for seed, row in known.items() if all(task in row for task in tasks))

    def difference(self, tasks: Sequence[str], variant: str, base: str) -> Difference | None:
        """Difference of the mean over tasks of one measure; None without a common seed on the same images."""
        differ = self.on_other_images(tasks, variant, base)
        seeds = [seed for seed in self._common(variant, base, tasks) if seed not in differ]
        if not tasks or not seeds:
            return None
        on_images = [self._are_on_same_images(task, (variant, base), seeds) for task in tasks]
        own, other = (
            [self._joined(task, one, seeds, is_drawn) for task, is_drawn in zip(tasks, on_images, strict=True)]
            for one in (variant, base)
        )
        differences = [
            self._sign(task, variant) * (self.scores[variant][seed][task].score - self.scores[base][seed][task].score)
            for seed in seeds
            for task in tasks
        ]
        has_interval = len(seeds) > 1 or any(on_images)
        ends = mean_difference(own, other) if has_interval else None
        return Difference(round(float(np.mean(differences)), 3), ends, seeds, all(on_images))

    def on_other_images(self, tasks: Sequence[str], variant: str, base: str) -> list[int]:
        """Seeds of both with which the two were measured on different images or labels of one of the tasks."""
        return [
            seed
            for seed in self._common(variant, base, tasks)
            if any(self._are_on_others(task, (variant, base), [seed]) for task in tasks)
        ]

    def _common(self, variant: str, base: str, tasks: Sequence[str]) -> list[int]:
        return [seed for seed in self.seeds(variant, tasks) if seed in self.seeds(base, tasks)]

    def _sign(self, task: str, variant: str) -> int:
        return -1 if next(iter(self.scores[variant].values()))[task].lower_is_better else 1

    def _are_on_same_images(self, task: str, variants: Sequence[str], seeds: Sequence[int]) -> bool:
        known = [self.scores[variant][seed][task].images for variant in variants for seed in seeds]
        return None not in known and not self._are_on_others(task, variants, seeds)

    def _are_on_others(self, task: str, variants: Sequence[str], seeds: Sequence[int]) -> bool:
        """Whether some of the trainings are known to be measured on other images than the rest."""
        trainings = [(variant, seed) for variant in variants for seed in seeds]
        images = {self.scores[variant][seed][task].images for variant, seed in trainings} - {None}
        contents = {self._sets[training].get(set_of(task)) for training in trainings} - {None}
        return len(images) > 1 or len(contents) > 1

    def _joined(self, task: str, variant: str, seeds: Sequence[int], is_drawn: bool) -> Sample:
        """The mean over trainings under each resampling, so that more is better."""
        cells = [self.scores[variant][seed][task] for seed in seeds]
        by_seed = [np.array(cell.by_seed or [cell.score], dtype=np.float64) for cell in cells]
        samples = [
            cell.score + seed_effect(each) + (self._deviations(task)[variant, seed] if is_drawn else 0)
            for cell, each, seed in zip(cells, by_seed, seeds, strict=True)
        ]
        return self._sign(task, variant) * joined(by_seed, samples).sample

    def _deviations(self, task: str) -> dict[tuple[str, int], Sample]:
        """Changes of each score by other draws of test images. All trainings share the images that are drawn."""
        if task not in self._drawn:
            found: dict[tuple[str, int], np.ndarray] = {}
            for variant, rows in self.scores.items():
                for seed, row in rows.items():
                    marks = row[task].marks() if task in row else None
                    if marks is not None:
                        found[variant, seed] = marks
            self._drawn[task] = image_effects(found, set_of(task))
        return self._drawn[task]
