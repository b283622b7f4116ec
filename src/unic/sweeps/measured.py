"""The small file of a finished training: scores, and for each test image whether it was right.

The table and the page of a sweep are made of these files alone. So they can be kept where checkpoints cannot, and a
sweep can go on elsewhere. Whether an image was right takes a bit, for tasks that are measured by top-1; other tasks
keep their scores only, and intervals of their differences cover seeds only.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors.numpy import load_file

from unic._regular_files import read_json
from unic.digest import sha256
from unic.errors import InputError, reason_of
from unic.eval.results.row_title import set_of
from unic.eval.results.schema import Results
from unic.eval.results.scoreboard import Scoreboard
from unic.files import write_text
from unic.runs.metric_names import COSINE, KNN, KNN_UNSEEN, LOSS, TOP1
from unic.runs.metrics import read_metrics

VERSION = 1
_ROUNDING = 0.01  # of scores, in points
_LOGGED = (f"{COSINE}/", f"{KNN}/", f"{KNN_UNSEEN}/")  # of the training, beside the loss


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Scored(_Part):
    """A student on one task.

    Attributes:
        score: the mean over probe seeds.
        by_seed: the score of each probe seed; None where seeds change nothing.
        measure: its name with the unit.
        lower_is_better: the measure is an error.
        is_unseen: the task is on images that are no source of training.
        best_teacher: score of the best teacher; None without one.
        right: with the first probe seed, whether each test image was right: bits in base64; None where only the score
            is known.
        num_images: number of images of the test part; 0 where `right` is None.
        images: hash of the numbers and labels of these images.
    """

    score: float
    by_seed: list[float] | None = None
    measure: str = TOP1
    lower_is_better: bool = False
    is_unseen: bool = False
    best_teacher: float | None = None
    right: str | None = None
    num_images: int = 0
    images: str | None = None

    def marks(self) -> np.ndarray | None:
        """100 for each image that was right and 0 for each other one; None where that is not known."""
        if self.right is None:
            return None
        packed = np.frombuffer(base64.b64decode(self.right), np.uint8)
        return 100.0 * np.unpackbits(packed, count=self.num_images)


class Measured(_Part):
    """A finished training.

    Attributes:
        version: number of the format.
        variant: its name.
        overrides: its changes to the recipe of the sweep.
        of: the variant whose training it resumed.
        is_base: the others are compared with it.
        seed: seed of the training.
        suites: scores by name of the suite, then by task.
        recipe_digest: a hash of what decides the training in the recipe; empty in files of earlier versions.
        suite_digests: a hash of the content of each suite; empty in files of earlier versions.
        set_digests: a hash of the images and labels of each evaluation set, by suite, then by set; empty in files of
            earlier versions.
        images_digest: a hash of the training images; empty in files of earlier versions.
        mean_gains: mean gain over the best teacher in percent, by suite, then by kind of task.
        logged: last values of the training: loss, cosines, k-NN.
        train_s, eval_s: seconds; of a training that went on after an interruption None.
        date: when it was measured.
    """

    version: int = VERSION
    variant: str
    overrides: list[str] = Field(default_factory=list)
    of: str | None = None
    is_base: bool = False
    seed: int
    suites: dict[str, dict[str, Scored]]
    recipe_digest: str = ""
    suite_digests: dict[str, str] = Field(default_factory=dict)
    set_digests: dict[str, dict[str, str]] = Field(default_factory=dict)
    images_digest: str = ""
    mean_gains: dict[str, dict[str, float | None]] = Field(default_factory=dict)
    logged: dict[str, float] = Field(default_factory=dict)
    train_s: float | None = None
    eval_s: float | None = None
    date: str = ""


def scored(results: Results, predictions: Path) -> dict[str, Scored]:
    """The student's scores by task.

    Args:
        results: results of one student and its teachers.
        predictions: the file of predicted classes beside them.
    """
    board, arrays = Scoreboard.of(results), load_file(predictions)
    found = {}
    for task in results.tasks:
        cell, metric = board.cell(task, board.student), board.metric(task)
        if cell.score is None:
            continue
        found[task] = Scored(
            score=cell.score,
            by_seed=cell.by_seed,
            measure=metric.name,
            lower_is_better=metric.lower_is_better,
            is_unseen=task in results.unseen,
            best_teacher=board.score(task, board.best_teacher.get(task)),
            **_right(arrays, task, str(board.student), (cell.by_seed or [cell.score])[0], metric.name),
        )
    return found


def gains(results: Results) -> dict[str, float | None]:
    return {"seen": results.mean_gain, **({"unseen": results.mean_gain_unseen} if results.unseen else {})}


def logged(run: Path) -> dict[str, float]:
    """The last value of what a training logs of its quality."""
    found: dict[str, float] = {}
    for row in read_metrics(run):
        found |= {key: value for key, value in row.items() if key == LOSS or key.startswith(_LOGGED)}
    return found


def write_measured(path: Path, measured: Measured) -> None:
    write_text(path, measured.model_dump_json(indent=1, exclude_none=True) + "\n")


def read_all(folder: Path) -> list[Measured]:
    """Every small file in a folder.

    Raises:
        InputError: one of them is something else, or of a later version.
    """
    return [_read(path) for path in sorted(folder.glob("*.json"))] if folder.is_dir() else []


def _read(path: Path) -> Measured:
    try:
        found = Measured.model_validate(read_json(path))
    except (OSError, ValidationError, ValueError) as error:
        text = error.errors()[0]["msg"] if isinstance(error, ValidationError) else reason_of(error)
        raise InputError(f"{path} is not as unic sweep writes it: {text}") from None
    if found.version > VERSION:
        raise InputError(f"{path} has format {found.version}; a newer unic opens it")
    return found


def _right(arrays: Mapping[str, np.ndarray], task: str, student: str, score: float, measure: str) -> dict[str, Any]:
    """Whether each image was right, where predictions tell and agree with the score."""
    name = set_of(task)
    predicted, labels = arrays.get(f"{task}/{student}"), arrays.get(f"{name}/labels")
    if measure != TOP1 or predicted is None or labels is None or predicted.shape != labels.shape:
        return {}
    right = predicted == labels
    if abs(100 * float(right.mean()) - score) > _ROUNDING:
        return {}
    packed = base64.b64encode(np.packbits(right).tobytes()).decode()
    images = sha256(arrays[f"{name}/index"].tobytes(), labels.tobytes())[:16]
    return {"right": packed, "num_images": len(right), "images": images}
