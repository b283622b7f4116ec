"""Early stop: a stage ends when the online k-NN has not improved for `eval.patience` looks in a row."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

METRIC = "knn/mean"
QUERIES = "training parts"  # what looks query; runs of before did not say it, and queried test images

log = logging.getLogger("unic")


class Patience:
    """Counts looks without a new best; without `limit` it never ends anything."""

    def __init__(self, limit: int | None) -> None:
        self._limit, self._best, self._looks = limit, float("-inf"), 0

    def see(self, values: Mapping[str, float]) -> None:
        """One look: what the callback returned; without `knn/mean` it does not count."""
        score = values.get(METRIC)
        if score is None:
            return
        self._looks = 0 if score > self._best else self._looks + 1
        self._best = max(self._best, score)

    @property
    def is_over(self) -> bool:
        return self._limit is not None and self._looks >= self._limit

    def state_dict(self) -> dict[str, Any]:
        is_used = self._best > float("-inf")
        return {"best": self._best, "looks": self._looks, "queries": QUERIES} if is_used else {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if state and is_by_training_images(state, "eval.patience"):
            self._best, self._looks = state["best"], state["looks"]


def is_by_training_images(state: Mapping[str, Any], key: str) -> bool:
    """Whether what a checkpoint says of the k-NN was measured on training images; logs a warning if not.

    Args:
        state: of a part that goes by the k-NN.
        key: of the recipe, which begins anew if not.
    """
    if state.get("queries") == QUERIES:
        return True
    log.warning("%s begins anew: an earlier version of unic ran its k-NN on test images", key)
    return False
