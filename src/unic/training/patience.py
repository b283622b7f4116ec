"""Early stop: a stage ends when the online k-NN has not improved for `eval.patience` evaluations in a row."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from unic.runs.metric_names import KNN_MEAN

QUERIES = "training parts"  # images that the k-NN queries; earlier versions did not record it, and queried test images

log = logging.getLogger("unic")


class Patience:
    """Counts evaluations without a new best score. Without `limit` it never ends a stage."""

    def __init__(self, limit: int | None) -> None:
        self._limit, self._best, self._num_without_best = limit, float("-inf"), 0

    def see(self, values: Mapping[str, float]) -> None:
        """Counts one evaluation by the scores that the callback returned; without `knn/mean` it does not count."""
        score = values.get(KNN_MEAN)
        if score is None:
            return
        self._num_without_best = 0 if score > self._best else self._num_without_best + 1
        self._best = max(self._best, score)

    @property
    def is_over(self) -> bool:
        return self._limit is not None and self._num_without_best >= self._limit

    def state_dict(self) -> dict[str, Any]:
        is_used = self._best > float("-inf")
        return {"best": self._best, "looks": self._num_without_best, "queries": QUERIES} if is_used else {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if state and is_by_training_images(state, "eval.patience"):
            self._best, self._num_without_best = state["best"], state["looks"]


def is_by_training_images(state: Mapping[str, Any], key: str) -> bool:
    """Whether the k-NN score in a checkpoint was measured on training images; logs a warning if not.

    Args:
        state: state of a part that stores such a score.
        key: key of the recipe that uses the score.
    """
    if state.get("queries") == QUERIES:
        return True
    log.warning("%s: its best k-NN score so far is dropped: an earlier version of unic measured it on test images", key)
    return False
