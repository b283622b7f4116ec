"""k-NN of the student while it trains: a callback that the API hands to the training loop.

It chooses checkpoints and ends stages, so it must not see what the final table is measured on: both its queries and the
images that vote are of the training parts.
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Int

from unic import rng
from unic.data.sources import Source
from unic.encoders.base import Encoder
from unic.errors import InputError
from unic.eval.datasets import open_train
from unic.eval.outcome import Labelled
from unic.eval.suite import Suite
from unic.eval.tasks import knn
from unic.features import extract
from unic.runs.metric_names import KNN, KNN_UNSEEN

log = logging.getLogger("unic")

_ONE_IN = 5  # images that is a query


class OnlineKnn:
    """`(encoder, step) -> {"knn/clipart": 44.7, …, "knn/mean": …}`, on the training parts of a suite's labelled sets.

    A fifth of each (`queries`) is classified by the rest. Of unseen sets it is `knn_unseen/…`, so that forgetting shows
    while it happens; `knn/mean` is without them. No image of a test part is opened. Nothing is cached: the student of
    one step is never seen again. Training mode and gradients are left as found.
    A look that fails is a warning without scores: what is only told must not end a training.

    Args:
        limit: of a larger training part (or of the suite's `max_train`, if that is less) so many images, the same at
            every look and in every run.

    Raises:
        InputError: no seen set has labels, some of its images have none, a set is too small to be divided, or two have
            one name.
    """

    def __init__(self, suite: Suite, *, limit: int = 2500) -> None:
        self._size = suite.size
        limit = min(limit, suite.max_train or limit)
        opened = {
            prefix: [open_train(spec, limit=limit) for spec in specs]
            for prefix, specs in ((KNN, suite.data), (KNN_UNSEEN, suite.unseen))
        }
        for name, count in Counter(name for sets in opened.values() for name, _ in sets).items():
            if count > 1:
                raise InputError(f"suite: '{name}' is named {count} times; give one of the sets another name")
        self._parts = {
            prefix: [_part(name, source) for name, source in sets if source.pixels is None]
            for prefix, sets in opened.items()
        }
        if not self._parts[KNN]:
            raise InputError("eval.every: the k-NN needs a set with a class for each image, and the suite has none")

    def __call__(self, encoder: Encoder, step: int) -> dict[str, float]:
        try:
            return self._scores(encoder)
        except Exception as error:
            log.warning("k-NN at step %d failed: %s: %s", step, type(error).__name__, error)
            return {}

    def _scores(self, encoder: Encoder) -> dict[str, float]:
        scores: dict[str, float] = {}
        for prefix, parts in self._parts.items():
            found = {f"{prefix}/{part.name}": self._score(encoder, part) for part in parts}
            scores |= found | ({f"{prefix}/mean": float(np.mean(list(found.values())))} if found else {})
        return scores

    def _score(self, encoder: Encoder, part: _Part) -> float:
        found = extract(encoder, part.source, size=self._size)
        vectors, labels, asked = found.cls, part.labels[found.index], part.is_query[found.index]
        bank, queries = Labelled(vectors[~asked], labels[~asked]), Labelled(vectors[asked], labels[asked])
        return knn.run(bank, queries).score


@dataclass(frozen=True)
class _Part:
    """The training part of a set, and which of its images are queries."""

    name: str
    source: Source
    labels: Int[np.ndarray, " n"]
    is_query: Bool[np.ndarray, " n"]


def _part(name: str, source: Source) -> _Part:
    labels = [source.label(index) for index in range(len(source))]
    if source.classes is None or None in labels:
        raise InputError(
            f"data '{name}': some images of {source.path} have no label, which the k-NN (eval.every) needs"
            f"{f': {source.why_unlabelled}' if source.why_unlabelled else ''}"
        )
    numbers = np.array(labels, dtype=np.int64)
    is_query = queries(numbers)
    if not is_query.any():
        raise InputError(
            f"data '{name}': {len(labels)} training images are too few for the k-NN (eval.every), which takes every "
            f"{_ONE_IN}th of those whose class has two or more as a query; use a larger set or leave eval.every out"
        )
    return _Part(name, source, numbers, is_query)


def queries(labels: Int[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
    """Which images are queries: a fifth of all and, to within one image, of each class; the same for every run.

    Images are ordered by class and, within one, by a hash of their number; every fifth is taken. An image alone in its
    class is never a query, as nothing could vote for it.
    """
    keys = rng.uniform(rng.stream("queries"), torch.arange(len(labels))).numpy()
    order = np.lexsort((keys, labels))
    order = order[np.bincount(labels)[labels[order]] > 1]
    chosen = np.zeros(len(labels), dtype=bool)
    chosen[order[_ONE_IN - 1 :: _ONE_IN]] = True
    return chosen
