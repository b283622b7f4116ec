"""k-NN of the student during training: a callback that the API passes to the training loop.

Its scores choose checkpoints and end stages. So it must not see the test images of the final table: its queries and the
images that vote are from the training parts.
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
from unic.eval.subject import augmentation_of
from unic.eval.suite import Suite
from unic.eval.tasks import knn
from unic.features import extract
from unic.runs.metric_names import KNN, KNN_UNSEEN

log = logging.getLogger("unic")

_ONE_IN = 5  # every fifth image is a query


class OnlineKnn:
    """`(encoder, step) -> {"knn/clipart": 44.7, …, "knn/mean": …}`, on the training parts of a suite's labelled sets.

    A fifth of each training part (`queries`) is classified by the rest. Scores of unseen sets are `knn_unseen/…`, to
    show forgetting during training; they do not count in `knn/mean`. No image of a test part is opened. No features are
    cached, as the student of a step is not used again. Training mode and gradients stay as they were. A failure is
    logged as a warning, because a measurement must not end a training.

    Args:
        suite: its labelled sets are used.
        limit: largest number of images of a training part; a smaller `max_train` of the suite replaces it. The images
            are the same at every step and in every run.

    Raises:
        InputError: no seen set has labels, some images have none, a set is too small, or two sets have the same name.
    """

    def __init__(self, suite: Suite, *, limit: int = 2500) -> None:
        self._size, self._augment = suite.size, augmentation_of(suite.view)
        limit = min(limit, suite.max_train or limit)
        opened = {
            prefix: [open_train(spec, limit=limit) for spec in specs]
            for prefix, specs in ((KNN, suite.data), (KNN_UNSEEN, suite.unseen))
        }
        for name, count in Counter(name for sets in opened.values() for name, _ in sets).items():
            if count > 1:
                raise InputError(f"suite: set '{name}' is listed {count} times; give each a name of its own")
        self._parts = {
            prefix: [_part(name, source) for name, source in sets if source.pixels is None]
            for prefix, sets in opened.items()
        }
        if not self._parts[KNN]:
            raise InputError("eval.every: k-NN needs a set with a class for each image, but the suite has none")

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
        found = extract(encoder, part.source, size=self._size, augment=self._augment)
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
            f"data '{name}': some images of {source.path} have no label, which k-NN (eval.every) needs"
            f"{f': {source.why_unlabelled}' if source.why_unlabelled else ''}"
        )
    classes = np.array(labels, dtype=np.int64)
    is_query = queries(classes)
    if not is_query.any():
        raise InputError(
            f"data '{name}': {len(labels)} training images are too few for k-NN (eval.every), which needs at least "
            f"{_ONE_IN} in classes of two or more images; use a larger set or set eval.every=null"
        )
    return _Part(name, source, classes, is_query)


def queries(labels: Int[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
    """Whether each image is a query: a fifth of all images, and of each class to within one image.

    Images are sorted by class, then by a hash of their index, and every fifth is a query, the same in every run. The
    only image of a class is never a query, as no other image could vote for its class.
    """
    keys = rng.uniform(rng.stream("queries"), torch.arange(len(labels))).numpy()
    order = np.lexsort((keys, labels))
    order = order[np.bincount(labels)[labels[order]] > 1]
    chosen = np.zeros(len(labels), dtype=bool)
    chosen[order[_ONE_IN - 1 :: _ONE_IN]] = True
    return chosen
