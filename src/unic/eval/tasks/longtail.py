"""A probe on a long-tailed set, also by groups of classes with many, some or few training images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from unic.errors import InputError
from unic.eval.outcome import Labelled, Outcome
from unic.eval.probes.inner import inner_probe

VERSION = 1


def run(
    train: Labelled,
    test: Labelled,
    *,
    seed: int = 0,
    probe: str = "linear",
    probe_options: Mapping[str, Any] | None = None,
    head: int = 100,
    tail: int = 20,
) -> Outcome:
    """Top-1 of a probe over all classes, and over many-, medium- and few-shot classes (Liu et al., arXiv 1904.05160).

    Args:
        train: vectors and classes to train on.
        test: vectors and classes to score.
        seed: seed of the probe.
        probe: "linear", "logistic" or "knn".
        probe_options: options of the probe.
        head: classes with more training images than this are the group "head".
        tail: classes with fewer training images than this are the group "tail"; the others are "medium".

    Returns:
        The outcome of the probe. `details["groups"]` has, for each group, `top1` (None without images) and the numbers
        of `classes` and `images` in the test part.

    Raises:
        InputError: an unknown probe, a wrong option of it, or thresholds that overlap.
    """
    if not 1 <= tail <= head:
        raise InputError(f"longtail: expected 1 ≤ tail ≤ head, not {tail} and {head}")
    outcome = inner_probe("longtail", probe, probe_options)(train, test, seed=seed)
    count = np.bincount(train.y, minlength=int(test.y.max()) + 1)[test.y]  # for each test image
    members = {"head": count > head, "medium": (count >= tail) & (count <= head), "tail": count < tail}
    groups = {name: _group(outcome, test, chosen) for name, chosen in members.items()}
    return replace(outcome, details={**outcome.details, "probe": probe, "groups": groups})


def _group(outcome: Outcome, test: Labelled, chosen: np.ndarray) -> dict[str, Any]:
    num_images = int(chosen.sum())
    accuracy = round(100 * float(outcome.marks[chosen, 0].mean()), 3) if num_images else None
    return {"top1": accuracy, "classes": len(np.unique(test.y[chosen])), "images": num_images}
