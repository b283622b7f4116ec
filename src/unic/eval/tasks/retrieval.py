"""Retrieval by cosine similarity: mean average precision, `AP = mean over relevant images of hits so far / rank`.

An image of the gallery is relevant to a query of the same class; the AP is scikit-learn's `average_precision_score`
but for images that are equally similar, of which the first in order counts as nearer.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from unic.errors import InputError, nearest
from unic.eval.outcome import Labelled, Measure, Outcome, ratio
from unic.eval.probes.cosine import units

VERSION = 1
IS_RANDOM = False
GALLERIES = ("test", "train")
RECALLS = (1, 5, 10)
_PAIRS = 1 << 25  # similarities a time; with their order and its labels they take 768 MiB
_BANK = 32768  # images of the gallery a time


def _mean_over_answerable(means: Float[np.ndarray, "r k"]) -> Float[np.ndarray, " r"]:
    return 100 * ratio(means[:, 0], means[:, 1])


MEASURE = Measure("mAP %", _mean_over_answerable)


def run(train: Labelled, test: Labelled, *, seed: int = 0, gallery: str = "test") -> Outcome:
    """Ranks the gallery for every test image.

    Args:
        train: the gallery, if chosen.
        test: the queries; nothing is learnt.
        seed: unused, nothing is drawn.
        gallery: "test": each query looks for its class among all other test images; "train": among training images.

    Returns:
        The outcome. Marks have two columns: the query's AP, and 1 where the gallery has an image of its class. Queries
        without one have (0, 0), and the score is the ratio of the columns' means: they are left out of it, in every
        resample of the bootstrap too. Details, over the same queries, in percent: `recall` at k (share of queries with
        an image of their class among the first k) and `r_precision` (share of relevant images among the first R, of
        which there are R); `num_queries`, how many they are.

    Raises:
        InputError: an unknown gallery, or no query has an image of its class there.
    """
    if gallery not in GALLERIES:
        raise InputError(f"retrieval: unknown gallery '{gallery}'{nearest(gallery, GALLERIES)}")
    shelf = test if gallery == "test" else train
    chunks = [
        _marks(_relevant(queries, start, test, shelf))
        for start, queries in units(test.x, max(1, _PAIRS // max(1, len(shelf))))
    ]
    marks = np.concatenate(chunks)
    answerable = marks[:, 1] > 0
    if not answerable.any():
        raise InputError(f"retrieval: no test image has another of its class in the {gallery} part")
    means = 100 * marks[answerable].mean(0)
    details = {
        "gallery": gallery,
        "num_queries": int(answerable.sum()),
        "recall": {str(k): round(float(mean), 3) for k, mean in zip(RECALLS, means[3:], strict=True)},
        "r_precision": round(float(means[2]), 3),
    }
    return Outcome(marks[:, :2], MEASURE, details)


def _relevant(queries: Tensor, start: int, test: Labelled, shelf: Labelled) -> Tensor:
    """`(q, n)`: whether the image at each rank of the gallery has the query's class; the query itself is left out."""
    similarity = torch.cat([queries @ part.T for _, part in units(shelf.x, _BANK)], dim=1)
    labels = torch.from_numpy(shelf.y).to(similarity.device)
    wanted = torch.from_numpy(test.y[start : start + len(queries)]).to(similarity.device)
    if shelf is test:
        own = torch.arange(len(queries), device=similarity.device)
        similarity[own, start + own] = -torch.inf
    order = similarity.argsort(dim=1, descending=True, stable=True)
    relevant = labels[order] == wanted[:, None]
    return relevant[:, :-1] if shelf is test else relevant


def _marks(relevant: Tensor) -> np.ndarray:
    """`(q, 3 + len(RECALLS))`: AP, answerable, R-precision, recall at each k; zeros for a query without an answer."""
    counts = relevant.sum(1).cpu().numpy()
    query, place = (found.cpu().numpy() for found in relevant.nonzero(as_tuple=True))  # by query, then by place
    hit = np.arange(len(query)) - (np.cumsum(counts) - counts)[query] + 1

    def mean(values: np.ndarray) -> np.ndarray:
        return np.bincount(query, values, minlength=len(counts)) / np.maximum(counts, 1)

    recalls = [relevant[:, :k].any(1).cpu().numpy() for k in RECALLS]
    return np.stack([mean(hit / (place + 1)), counts > 0, mean(place < counts[query]), *recalls], axis=1)
