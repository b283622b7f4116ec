"""k-nearest neighbours: cosine similarity, votes weighted by `exp(sim / T)` (Wu et al., arXiv 1805.01978, §3.4)."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from unic.errors import InputError
from unic.eval.tasks.base import Labelled, Outcome, num_classes, top1

IS_RANDOM = False
NUM_NEIGHBOURS = (10, 20, 100, 200)  # the paper's; all are reported in the details
_CHUNK = 1024  # test images a time: bounds the similarity matrix to 1024 x n_train


def run(train: Labelled, test: Labelled, *, seed: int = 0, k: int = 20, temperature: float = 0.07) -> Outcome:
    """Classifies every test vector by its `k` nearest training vectors.

    Args:
        train: the vectors that vote.
        test: the vectors to classify.
        seed: unused, nothing is drawn: the spread over seeds is 0 and the uncertainty is the bootstrap's.
        k: how many neighbours vote; all of them where there are fewer. Ties go to the first class.
        temperature: `T`; small values let the nearest neighbours dominate.

    Returns:
        The outcome for `k`; `details["top1_by_k"]` has the score for each of `NUM_NEIGHBOURS` too.

    Raises:
        InputError: `k` or `temperature` is not positive, or fewer than two classes.
    """
    if k < 1 or temperature <= 0:
        raise InputError(f"knn: k and temperature must be positive, not {k} and {temperature}")
    classes = num_classes(train)
    sizes = sorted({k, *NUM_NEIGHBOURS})
    labels = torch.from_numpy(train.y)
    bank = _unit(train.x)
    predicted: dict[int, list[Tensor]] = {size: [] for size in sizes}
    for queries in _unit(test.x).split(_CHUNK):
        similarity, index = (queries @ bank.T).topk(min(sizes[-1], len(bank)), dim=1)
        # Minus one: the same votes up to a factor, and no overflow at small temperatures.
        weights, voters = ((similarity - 1) / temperature).double().exp(), labels[index]
        for size in sizes:
            votes = torch.zeros(len(queries), classes, dtype=torch.float64)
            votes.scatter_add_(1, voters[:, :size], weights[:, :size])
            predicted[size].append(votes.argmax(1))
    answers = {size: torch.cat(chunks).numpy() for size, chunks in predicted.items()}
    by_k = {str(size): round(100 * float(np.mean(answers[size] == test.y)), 3) for size in sizes}
    return top1(answers[k], test, k=k, top1_by_k=by_k)


def _unit(x: np.ndarray) -> Tensor:
    return F.normalize(torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32)), dim=1)
