"""Names of measures, and keys of metrics.jsonl, that several modules spell."""

from __future__ import annotations

from typing import Literal

TOP1 = "top-1 %"
"""The measure of tasks that classify images."""

LOSS = "loss"
"""The loss of a step, over all teachers."""

KNN, KNN_UNSEEN = "knn", "knn_unseen"
"""What keys of the k-NN while training begin with, on seen and on unseen sets: `knn/SET`."""

KNN_MEAN = f"{KNN}/mean"
"""Mean of the k-NN over the seen sets."""


def loss_of(teacher: str) -> str:
    """The part of a teacher in the loss."""
    return f"{LOSS}/{teacher}"


def cosine_of(teacher: str, tokens: Literal["cls", "patch"]) -> str:
    """Mean cosine between the tokens of a teacher and what the student makes of its own."""
    return f"cos/{teacher}/{tokens}"


def kept_of(teacher: str) -> str:
    """Mean weight of a teacher over the images; with teacher dropping the share of images for which it counts."""
    return f"kept/{teacher}"
