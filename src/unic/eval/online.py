"""k-NN of the student while it trains: a callback that the API hands to the training loop."""

from __future__ import annotations

import logging

import numpy as np

from unic.encoders.base import Encoder
from unic.eval.datasets import resolve
from unic.eval.suite import Suite
from unic.eval.tasks import knn
from unic.eval.tasks.base import Labelled
from unic.features import extract

log = logging.getLogger("unic")


class OnlineKnn:
    """`(encoder, step) -> {"knn/clipart": 44.7, …, "knn/mean": …}`, on at most `limit` images of each split.

    Nothing is cached: the student of one step is never seen again. Training mode and gradients are left as found.
    A look that fails is a warning without scores: what is only told must not end a training.
    """

    def __init__(self, suite: Suite, *, limit: int = 500) -> None:
        self._size = suite.size
        self._pairs = [resolve(spec, max_train=limit, max_test=limit) for spec in suite.data]

    def __call__(self, encoder: Encoder, step: int) -> dict[str, float]:
        try:
            return self._scores(encoder)
        except Exception as error:
            log.warning("k-NN at step %d failed: %s: %s", step, type(error).__name__, error)
            return {}

    def _scores(self, encoder: Encoder) -> dict[str, float]:
        scores = {}
        for pair in self._pairs:
            train, test = (extract(encoder, source, size=self._size) for source in (pair.train, pair.test))
            assert train.labels is not None, pair.name
            assert test.labels is not None, pair.name
            bank, queries = Labelled(train.cls, train.labels), Labelled(test.cls, pair.test_labels(test.labels))
            scores[f"knn/{pair.name}"] = knn.run(bank, queries).score
        return scores | {"knn/mean": float(np.mean(list(scores.values())))}
