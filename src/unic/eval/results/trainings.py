"""Several trainings of one recipe as one model of the table, whose intervals also cover the choice of the trainings.

The score is the mean over k trainings, which differ only in their seeds. Other test images and probe seeds change the
scores of all trainings together, so the bootstrap draws the same ones for all. Other trainings would change the mean by
about s / √k, where s is the deviation of the k scores. Two or three scores give a poor estimate of s. Drawing k of k
trainings with replacement would underestimate the variance by a factor (k − 1) / k and ignore the uncertainty of s. So
trainings enter like the seeds of a probe, by Student's t with k − 1 degrees of freedom (`bootstrap.seed_effect`).

The luck of a single training on these images is part of both effects. So the variance is too large
by that part, divided by k. No way of resampling two factors avoids this (McCullagh, Bernoulli 2000; Owen, Annals of
Applied Statistics 2007): the interval is rather too wide than too narrow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Float

from unic.errors import InputError
from unic.eval.results.bootstrap import Sample, seed_effect
from unic.eval.results.schema import Gain, ModelEntry, Results

TRAINING: Final = "training"  # role of a model that is one of several trainings of a student
Trainings = Mapping[str, Sequence[str]]  # by student: the models of which it is the mean


class Joined(NamedTuple):
    """Several trainings on one task.

    Attributes:
        by_seed: mean over the trainings for each probe seed.
        sample: mean under each resampling of images, probe seeds and trainings.
        by_training: score of each training.
        training_spread: sample deviation over the trainings; None for a single training.
    """

    by_seed: Float[np.ndarray, " p"]
    sample: Sample
    by_training: list[float]
    training_spread: float | None


def joined(by_seed: Sequence[Float[np.ndarray, " _"]], samples: Sequence[Sample]) -> Joined:
    """The mean of trainings on one task.

    Args:
        by_seed: scores of each training by probe seed; a single one if seeds change nothing.
        samples: score of each training under the same resamples of images and probe seeds.
    """
    scores = np.array([each.mean() for each in by_seed])
    sample = np.mean(samples, axis=0) + seed_effect(scores, "trainings")
    spread = round(float(scores.std(ddof=1)), 3) if len(scores) > 1 else None
    means = np.mean(np.broadcast_arrays(*by_seed), axis=0)
    return Joined(means, sample, [round(float(score), 3) for score in scores], spread)


def with_joint(models: Mapping[str, ModelEntry], trainings: Trainings) -> dict[str, ModelEntry]:
    """All models, with each student that is a mean inserted before the first of its trainings."""
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
    """The roles without those of students that are means.

    Raises:
        InputError: the role of several trainings is not "student".
    """
    for name, members in trainings.items():
        if roles.get(name, "student") != "student":
            raise InputError(
                f"model '{name}': several trainings are one student, so their role cannot be '{roles[name]}'; "
                f"name one of them: {', '.join(members)}"
            )
    return {name: role for name, role in roles.items() if name not in trainings}


def mean_gains_of_trainings(results: Results) -> dict[str, dict[str, list[float | None]]]:
    """The mean gains of each training: by student, then by "mean gain" or "mean gain unseen"."""
    found: dict[str, dict[str, list[float | None]]] = {}
    kinds = {"mean gain": results.mean_gains, "mean gain unseen": results.mean_gains_unseen}
    for name, model in results.models.items():
        for label, gains in kinds.items() if model.trainings else ():
            values = [gains.get(member, Gain()).gain for member in model.trainings]
            if any(value is not None for value in values):
                found.setdefault(name, {})[label] = values
    return found
