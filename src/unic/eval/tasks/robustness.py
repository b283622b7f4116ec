"""Robustness: a classifier fitted on the training part, scored on shifted or corrupted test images (arXiv 1903.12261).

A shifted set such as ImageNet-R has the training part of another set. If its test part has fewer classes, the
prediction is the most likely of those: the logits of the other classes are masked.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int
from torch import Tensor

from unic import lookup
from unic.data.sources import Source
from unic.errors import InputError
from unic.eval.corruptions import CORRUPTIONS, SEVERITIES, Corrupted, Square
from unic.eval.datasets import DataPair
from unic.eval.outcome import Outcome, top1
from unic.eval.subject import Subject

VERSION = 1
INPUT = "subject"
CODE = ("probe",)
SIDE = 224  # side of the corrupted square in pixels if the suite has no size; as in ImageNet-C
_KEPT = 64  # classifiers to keep for sets with the same training part: models × seeds of an evaluation


def check(pair: DataPair, options: Mapping[str, Any]) -> None:
    """Refuses a set whose test images are neither corrupted nor shifted, as the score would be that of the plain probe.

    Args:
        pair: the set.
        options: options of the task. An empty list of corruptions tells that the set is shifted.

    Raises:
        InputError: no corruptions on a set that is not known to be shifted.
    """
    if options.get("corruptions") is None and not pair.is_shifted:
        raise InputError(
            f"robustness: data '{pair.name}' is not known to be shifted, so without corruptions this is the plain "
            "probe; set 'corruptions' to names or all, or to [] if its test images are shifted"
        )


@runtime_checkable
class Classifier(Protocol):
    """The result of `fit_classifier(train, *, seed, **options)` in the module of a probe."""

    @property
    def details(self) -> Mapping[str, Any]: ...

    def logits(self, x: Float[np.ndarray, "n d"]) -> Float[Tensor, "n k"]: ...


def run(
    subject: Subject,
    *,
    seed: int = 0,
    probe: str = "logistic",
    probe_options: Mapping[str, Any] | None = None,
    corruptions: Sequence[str] | str | None = None,
    severities: Sequence[int] = SEVERITIES,
) -> Outcome:
    """Top-1 among the classes of the test part.

    Args:
        subject: the model on the set.
        seed: seed of the probe; corruptions do not depend on it.
        probe: a task with `fit_classifier`.
        probe_options: options of the probe.
        corruptions: names, or "all"; the score is then the mean over these corruptions and `severities`. Default: none,
            for a test part that is shifted itself.
        severities: 1 (mild) to 5.

    Returns:
        The outcome. Details: those of the probe, `num_classes` of the test part, and without corruptions `unmasked`,
        the top-1 among all classes of the training part. With corruptions a mark is an image's fraction of correct
        predictions, and the details hold `top1` by corruption and severity, `clean` (top-1 on the same views without
        corruption) and `relative` (the score in percent of `clean`).

    Raises:
        InputError: unknown probe, option, corruption or severity.
    """
    names = [corruptions] if isinstance(corruptions, str) else list(corruptions or ())
    names = list(CORRUPTIONS) if names == ["all"] else names
    if names and not severities:
        raise InputError("robustness: corruptions need at least one severity")
    view = Square(subject.pair.test, subject.size or SIDE)
    corrupted = {name: {level: Corrupted(view, name, level) for level in severities} for name in names}
    classifier = _classifier(subject, probe, dict(probe_options or {}), seed)
    classes = np.unique(subject.pair.test_class_numbers())
    details = {**classifier.details, "num_classes": len(classes)}
    if not names:
        test = subject.labelled("test")
        logits = classifier.logits(test.x).cpu()
        unmasked = _percent(logits.argmax(1).numpy() == test.y)
        return top1(_among(logits, classes), test, **details, unmasked=unmasked)

    def correct(part: Source) -> Bool[np.ndarray, " n"]:
        seen = subject.labelled(part)
        return _among(classifier.logits(seen.x).cpu(), classes) == seen.y

    marks = {name: {level: correct(part) for level, part in levels.items()} for name, levels in corrupted.items()}
    means = {name: {str(level): _percent(row) for level, row in levels.items()} for name, levels in marks.items()}
    overall = np.mean([row for levels in marks.values() for row in levels.values()], axis=0)
    clean = correct(view)
    relative = _percent(overall / clean.mean()) if clean.any() else None
    return Outcome(overall[:, None], details={**details, "clean": _percent(clean), "relative": relative, "top1": means})


def _percent(correct: np.ndarray) -> float:
    return round(100 * float(np.mean(correct)), 3)


def _among(logits: Float[Tensor, "n k"], classes: Int[np.ndarray, " c"]) -> Int[np.ndarray, " n"]:
    """The class with the highest logit among `classes`; classes without a logit, as they have no training images, are
    never predicted."""
    known = classes[classes < logits.shape[1]]
    return known[logits[:, known].argmax(1).numpy()]


_fitted: dict[tuple[Any, ...], Classifier] = {}


def _classifier(subject: Subject, probe: str, options: Mapping[str, Any], seed: int) -> Classifier:
    """The classifier of the training part, fitted once in a process for all sets with the same training part."""
    fit = lookup.entry("unic.eval.tasks", probe, "fit_classifier")
    lookup.check_options(fit, options, f"robustness: probe '{probe}'", passed=["seed"])
    train = subject.pair.train
    key = (
        train.fingerprint(), train.label_fingerprint(), subject.fingerprint(), subject.size, subject.view, probe,
        json.dumps(options, sort_keys=True), seed,
    )  # fmt: skip
    if key not in _fitted:
        while len(_fitted) >= _KEPT:
            del _fitted[next(iter(_fitted))]
        _fitted[key] = fit(subject.labelled("train"), seed=seed, **options)
    return _fitted[key]
