"""Robustness: a classifier fitted on the training part, on shifted or corrupted test images (arXiv 1903.12261).

A shifted set (ImageNet-R and its kind) has its own test part and another set's training part. Where it has fewer
classes, the answer is the most likely of those: the logits of the others are masked.
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
SIDE = 224  # pixels of the corrupted square where the suite leaves the size to the encoders; ImageNet-C's
_KEPT = 64  # classifiers, for the sets that share a training part: models × seeds of an evaluation


def check(pair: DataPair, options: Mapping[str, Any]) -> None:
    """Refuses to call the probe's own score robustness.

    Raises:
        InputError: no corruptions on a set that is not known to be shifted. An empty list says that it is.
    """
    if options.get("corruptions") is None and not pair.is_shifted:
        raise InputError(
            f"robustness on '{pair.name}': without corruptions this is the plain probe, as far as is known of the set; "
            "expected 'corruptions' (names, or all), or [] if its test images are shifted ones"
        )


@runtime_checkable
class Classifier(Protocol):
    """What `fit_classifier(train, *, seed, **options)` of a probe's module returns."""

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
        subject: its pair gives both parts.
        seed: the probe's. Corruptions do not depend on it.
        probe: a task with `fit_classifier`.
        probe_options: of the probe.
        corruptions: names, or "all": the score is then the mean over these and `severities`. Without, the test part
            itself is the shifted one.
        severities: 1 (mild) to 5.

    Returns:
        The outcome. Details: what the probe says of its fit, `num_classes` (of the test part), and without corruptions
        `unmasked`, the top-1 among all classes of the training part. With corruptions a mark is an image's share of
        correct answers, and the details hold `top1` by corruption and severity, `clean` (the same views, uncorrupted)
        and `relative`, the score in percent of it.

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
    """The class of the highest logit among `classes`. Without training images the last classes have no logit."""
    known = classes[classes < logits.shape[1]]
    return known[logits[:, known].argmax(1).numpy()]


_fitted: dict[tuple[Any, ...], Classifier] = {}


def _classifier(subject: Subject, probe: str, options: Mapping[str, Any], seed: int) -> Classifier:
    """The classifier of the training part, fitted once in this process for all sets that share it."""
    fit = lookup.entry("unic.eval.tasks", probe, "fit_classifier")
    lookup.check_options(fit, options, f"robustness: probe '{probe}'")
    train = subject.pair.train
    key = (
        train.fingerprint(), train.label_fingerprint(), subject.fingerprint(), subject.size, probe,
        json.dumps(options, sort_keys=True), seed,
    )  # fmt: skip
    if key not in _fitted:
        while len(_fitted) >= _KEPT:
            del _fitted[next(iter(_fitted))]
        _fitted[key] = fit(subject.labelled("train"), seed=seed, **options)
    return _fitted[key]
