"""Names of measures that several modules use, and keys of metrics.jsonl."""

from __future__ import annotations

from unic.kinds import Kind

TOP1 = "top-1 %"
"""The measure of tasks that classify images."""

LOSS = "loss"
"""The loss of a step, over all teachers."""

LR = "lr"
"""The learning rate."""

GRAD_NORM = "grad_norm"
"""Norm of the gradient before it is clipped."""

DRIFT = "drift"
"""Mean of 1 - cosine between the student's CLS and that of its start."""

SKIPPED = "skipped"
"""Number of skipped steps so far; missing if there are none."""

IMAGES_PER_S, DATA_WAIT = "images_per_s", "data_wait"
"""Images per second, and the share of time spent waiting for them."""

COSINE = "cos"
"""Beginning of the keys of cosines, see `cosine_of`."""

KNN, KNN_UNSEEN = "knn", "knn_unseen"
"""Beginnings of the keys of k-NN during training, on seen and on unseen sets: `knn/SET`."""

KNN_MEAN = f"{KNN}/mean"
"""Mean of k-NN over the seen sets."""


def loss_of(teacher: str) -> str:
    """Key of a teacher's part of the loss."""
    return f"{LOSS}/{teacher}"


def cosine_of(teacher: str, tokens: Kind) -> str:
    """Key of the mean cosine between a teacher's tokens and the student's projected tokens."""
    return f"{COSINE}/{teacher}/{tokens}"


def kept_of(teacher: str) -> str:
    """Key of the mean weight of a teacher over the images; with teacher dropping, the share of images that count."""
    return f"kept/{teacher}"
