"""Names of measures, and keys of metrics.jsonl, that several modules use."""

from __future__ import annotations

from unic.kinds import Kind

TOP1 = "top-1 %"
"""The measure of tasks that classify images."""

LOSS = "loss"
"""The loss of a step, over all teachers."""

KNN, KNN_UNSEEN = "knn", "knn_unseen"
"""Beginnings of the keys of k-NN during training, on seen and on unseen sets: `knn/SET`."""

KNN_MEAN = f"{KNN}/mean"
"""Mean of k-NN over the seen sets."""


def loss_of(teacher: str) -> str:
    """Key of a teacher's part of the loss."""
    return f"{LOSS}/{teacher}"


def cosine_of(teacher: str, tokens: Kind) -> str:
    """Key of the mean cosine between a teacher's tokens and the student's projected tokens."""
    return f"cos/{teacher}/{tokens}"


def kept_of(teacher: str) -> str:
    """Key of the mean weight of a teacher over the images; with teacher dropping, the share of images that count."""
    return f"kept/{teacher}"
