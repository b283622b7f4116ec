"""A probe on each part of a set of several, such as the levels of ImageNet-CoG; the score is the mean over them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float

from unic.errors import InputError
from unic.eval.datasets import DataPair
from unic.eval.outcome import Measure, Outcome
from unic.eval.probes.inner import inner_probe
from unic.eval.subject import Subject
from unic.runs.metric_names import TOP1

VERSION = 1
INPUT = "subject"


def _mean_over_parts(means: Float[np.ndarray, "r k"]) -> Float[np.ndarray, " r"]:
    """Mean accuracy over the parts of a set. The first half of the columns is 1 for a correct image of each part, the
    second half 1 for any image of it. A resample may have no image of a small part, which then does not count."""
    correct, images = np.split(means, 2, axis=1)
    there = images > 0
    accuracy = np.divide(correct, images, out=np.zeros(correct.shape), where=there)
    return 100 * accuracy.sum(1) / there.sum(1)


MEASURE = Measure(TOP1, _mean_over_parts)


def run(
    subject: Subject, *, seed: int = 0, probe: str = "linear", probe_options: Mapping[str, Any] | None = None
) -> Outcome:
    """Trains and scores the probe on every part of the set separately; parts have equal weights, whatever their size.

    ImageNet-CoG (Sariyildiz et al., arXiv 2012.05649) has five levels of 1000 concepts each. Each level is farther from
    the concepts of ImageNet-1K in WordNet than the one before.

    Args:
        subject: the model, on a set with parts.
        seed: seed of the probe.
        probe: "linear", "logistic" or "knn".
        probe_options: options of the probe.

    Returns:
        Marks of the test images of all parts, one part after the other; `details["parts"]` has `top1` and the details
        of the probe for each part.

    Raises:
        InputError: a set without parts, an unknown probe, or a wrong option of it.
    """
    if not subject.pair.parts:
        raise InputError(
            f"concepts: data '{subject.pair.name}' is a single set; expected one with parts, such as 'cog'"
        )
    run_probe = inner_probe("concepts", probe, probe_options)
    outcomes = {}
    for name, part in subject.pair.parts.items():
        there = _moved(subject, part)
        outcomes[name] = run_probe(there.labelled("train"), there.labelled("test"), seed=seed)
    parts = {name: {"top1": round(outcome.score, 3), **outcome.details} for name, outcome in outcomes.items()}
    return Outcome(_marks(list(outcomes.values())), MEASURE, {"probe": probe, "parts": parts})


def _moved(subject: Subject, pair: DataPair) -> Subject:
    """The same model on another set; all sets share its encoder."""
    load = None if subject.load is None else lambda: subject.encoder
    return replace(subject, pair=pair, load=load, members=[_moved(member, pair) for member in subject.members])


def _marks(outcomes: list[Outcome]) -> Float[np.ndarray, "n k"]:
    """`(n, 2 p)` for p parts, see `_mean_over_parts`."""
    part = np.repeat(np.eye(len(outcomes)), [len(outcome.marks) for outcome in outcomes], axis=0)
    return np.concatenate([part * np.concatenate([outcome.marks for outcome in outcomes]), part], axis=1)
