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

    def state(self) -> dict[str, Any]:
        """For the checkpoint."""
        return {"best": self._best, "looks": self._looks} if self._best > float("-inf") else {}

    def resume(self, state: Mapping[str, Any]) -> None:
        if state:
            self._best, self._looks = state["best"], state["looks"]


def of_today(state: Mapping[str, Any], best: str | None) -> dict[str, Any]:
    """A checkpoint's state without what older versions chose by looks at test images, and one line that says so.

    Args:
        best: the metric by which the best checkpoint is kept.
    """
    of_looks = {"patience"} | ({"best"} if (best or "").startswith("knn/") else set())
    if state.get("queries") == QUERIES or not any(state.get(key) for key in of_looks):
        return dict(state)
    log.warning("earlier looks of the k-NN queried test images; eval.patience and checkpoint.best begin anew")
    return {key: value for key, value in state.items() if key not in of_looks}
