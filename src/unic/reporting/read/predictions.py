"""predictions.safetensors: the predicted class of every test image, beside results.json."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Int
from safetensors import SafetensorError
from safetensors.numpy import load_file

from unic.errors import reason_of
from unic.eval.results.row_title import set_of
from unic.eval.results.schema import Protocol
from unic.reporting.read.scores import Scores
from unic.runs.metric_names import TOP1

FILE = "predictions.safetensors"
_ROUNDING = 0.01  # of scores, in points


class Predictions:
    """Predicted classes of the first seed, with the labels and indices of the test images.

    Args:
        arrays: `SET/index (n,)`, `SET/labels (n,)` and `SET/TASK/MODEL (n,)`.
        scores: scores of the same evaluation. A task whose predictions contradict its scores is left out.
    """

    def __init__(self, arrays: Mapping[str, Int[np.ndarray, " n"]], scores: Scores) -> None:
        self._arrays = arrays
        self.stale = [
            task
            for task in scores.tasks
            if any(not self._agrees(scores, task, name) for name in scores.names if f"{task}/{name}" in arrays)
        ]

    def labels(self, task: str) -> Int[np.ndarray, " n"]:
        return self._arrays[f"{set_of(task)}/labels"]

    def index(self, task: str) -> Int[np.ndarray, " n"]:
        """Indices of the images in the test part."""
        return self._arrays[f"{set_of(task)}/index"]

    def of(self, task: str, model: str | None) -> Int[np.ndarray, " n"] | None:
        """None if a model did not classify the images of this task."""
        return None if task in self.stale else self._arrays.get(f"{task}/{model}")

    def correct(self, task: str, model: str | None) -> np.ndarray | None:
        predicted = self.of(task, model)
        return None if predicted is None else predicted == self.labels(task)

    def _agrees(self, scores: Scores, task: str, name: str) -> bool:
        """The first of n seeds is at most s · (n − 1) / √n from the mean, s their sample deviation (Samuelson)."""
        predicted, labels = self._arrays[f"{task}/{name}"], self._arrays.get(f"{set_of(task)}/labels")
        if labels is None or f"{set_of(task)}/index" not in self._arrays or predicted.shape != labels.shape:
            return False
        cell = scores.cell(task, name)
        if scores.unit(task) != TOP1 or cell.score is None:
            return False
        count = scores.num_seeds
        reach = (cell.spread or 0) * (count - 1) / count**0.5
        return abs(100 * float(np.mean(predicted == labels)) - cell.score) <= reach + _ROUNDING


def read_predictions(run: Path, scores: Scores) -> tuple[Predictions | None, str]:
    """The predictions and an empty note, or None and why there are none."""
    path = run / FILE
    if not path.is_file():
        return None, f"There is no {FILE} beside results.json; unic eval writes it with --out {path}."
    try:
        predictions = Predictions(load_file(path), scores)
    except (OSError, SafetensorError) as error:
        return None, f"{FILE} cannot be read: {reason_of(error)}"
    stale = ", ".join(predictions.stale)
    return predictions, f"{FILE} and results.json are of different evaluations: {stale} left out." if stale else ""


def class_names(protocol: Protocol, task: str, count: int) -> list[str]:
    """Names of the classes of a task's set; numbered if results.json has no names."""
    known = protocol.classes.get(set_of(task), [])
    return [known[index] if index < len(known) else f"class {index}" for index in range(count)]
