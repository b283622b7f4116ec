"""Several trainings of one recipe as one model of the table, whose intervals hold for another training as well.

Its score is the mean over its trainings, which differ in their seeds alone. Other test images and probe seeds move all
trainings together, so the bootstrap draws these for all trainings at once. Other trainings would move the mean by
s / √k, with s the deviation of the k scores. Two or three scores tell little of that deviation. Drawing k out of k with
replacement would give it (k − 1) / k of its variance and no doubt at all. Instead it enters with Student's t of k − 1
degrees of freedom, as the seeds of a probe do (`bootstrap.seed_effect`).

What a training gets right on these images by chance is in both parts, so the variance is too large by that, which is
divided by k. No way of drawing both factors avoids it (McCullagh, Bernoulli 2000; Owen, Annals of Applied Statistics
2007): the interval errs on the wide side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Float

from unic.errors import InputError
from unic.eval.results.bootstrap import Sample, seed_effect
from unic.eval.results.schema import Gain, ModelEntry, Results

TRAINING: Final = "training"  # the role of a model that is one of the trainings of another
Trainings = Mapping[str, Sequence[str]]  # by student: the models whose mean it is


class Joined(NamedTuple):
    """Several trainings on one task.

    Attributes:
        by_seed: the mean over the trainings for each probe seed.
        sample: the mean under each resampling of images, probe seeds and trainings.
        by_training: the score of each training.
        training_spread: sample deviation over the trainings; None of a single one.
    """

    by_seed: Float[np.ndarray, " p"]
    sample: Sample
    by_training: list[float]
    training_spread: float | None


def joined(by_seed: Sequence[Float[np.ndarray, " _"]], samples: Sequence[Sample]) -> Joined:
    """The mean of trainings on one task.

    Args:
        by_seed: of each training its scores by probe seed, a single one where that changes nothing.
        samples: of each training its score under the same resamples of images and probe seeds.
    """
    scores = np.array([each.mean() for each in by_seed])
    sample = np.mean(samples, axis=0) + seed_effect(scores, "trainings")
    spread = round(float(scores.std(ddof=1)), 3) if len(scores) > 1 else None
    means = np.mean(np.broadcast_arrays(*by_seed), axis=0)
    return Joined(means, sample, [round(float(score), 3) for score in scores], spread)


def with_joint(models: Mapping[str, ModelEntry], trainings: Trainings) -> dict[str, ModelEntry]:
    """All models, with the students that are means before the first of their trainings."""
    student_of = {member: name for name, members in trainings.items() for member in members}
    found: dict[str, ModelEntry] = {}
    for name, model in models.items():
        student = student_of.get(name)
        if student is None:
            found[name] = model
            continue
        members = list(trainings[student])
        mean = {"role": "student", "uri": f"trainings:{'+'.join(members)}", "trainings": members}
        found.setdefault(student, model.model_copy(update=mean))
        found[name] = model.model_copy(update={"role": TRAINING})
    return found


def without_joint(roles: Mapping[str, str], trainings: Trainings) -> dict[str, str]:
    """The roles of single models.

    Raises:
        InputError: several trainings are to be anything but a student.
    """
    for name, members in trainings.items():
        if roles.get(name, "student") != "student":
            raise InputError(
                f"model '{name}': several trainings are one student, no {roles[name]}; name one of them: "
                f"{', '.join(members)}"
            )
    return {name: role for name, role in roles.items() if name not in trainings}


def mean_gains_of_trainings(results: Results) -> dict[str, dict[str, list[float | None]]]:
    """Every mean gain of each training: student → "mean gain" → one for each training."""
    found: dict[str, dict[str, list[float | None]]] = {}
    kinds = {"mean gain": results.mean_gains, "mean gain unseen": results.mean_gains_unseen}
    for name, model in results.models.items():
        for label, gains in kinds.items() if model.trainings else ():
            values = [gains.get(member, Gain()).gain for member in model.trainings]
            if any(value is not None for value in values):
                found.setdefault(name, {})[label] = values
    return found
