"""Retrieval by cosine similarity: mean average precision, `AP = mean over relevant images of hits so far / rank`.

An image of the gallery is relevant to a query of the same class. The AP is scikit-learn's `average_precision_score`,
except that of equally similar images the first in order counts as nearer.
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
_PAIRS = 1 << 25  # similarities at a time; with their order and the sorted labels they take 768 MiB
_BANK = 32768  # images of the gallery at a time


def _mean_over_answerable(means: Float[np.ndarray, "r k"]) -> Float[np.ndarray, " r"]:
    return 100 * ratio(means[:, 0], means[:, 1])


MEASURE = Measure("mAP %", _mean_over_answerable)


def run(train: Labelled, test: Labelled, *, seed: int = 0, gallery: str = "test") -> Outcome:
    """Ranks the gallery for every test image.

    Args:
        train: the gallery for "train"; otherwise unused, as nothing is learned.
        test: the queries.
        seed: unused, as nothing is drawn.
        gallery: "test": all other test images are the gallery of a query. "train": the training images are.

    Returns:
        The outcome. Marks have two columns: the AP of the query, and 1 if the gallery has an image of its class. They
        are (0, 0) for other queries. The score is the ratio of the columns' means, so these queries do not count, in
        resamples of the bootstrap neither. Details, over the queries that count: their number `num_queries`, and in
        percent `recall` at k (queries with an image of their class among the first k) and `r_precision` (relevant
        images among the first R, where R is the number of relevant images).

    Raises:
        InputError: an unknown gallery, or a gallery without an image of any query's class.
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
        raise InputError(f"retrieval: the {gallery} part has no other image of any test image's class")
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
    query, place = (indices.cpu().numpy() for indices in relevant.nonzero(as_tuple=True))  # sorted by query, then place
    hit = np.arange(len(query)) - (np.cumsum(counts) - counts)[query] + 1

    def mean(values: np.ndarray) -> np.ndarray:
        return np.bincount(query, values, minlength=len(counts)) / np.maximum(counts, 1)

    recalls = [relevant[:, :k].any(1).cpu().numpy() for k in RECALLS]
    return np.stack([mean(hit / (place + 1)), counts > 0, mean(place < counts[query]), *recalls], axis=1)
