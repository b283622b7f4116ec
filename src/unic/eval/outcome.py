"""Inputs and outputs of tasks: vectors or patch tokens with their targets, and a row of marks for each test image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Real

from unic.errors import InputError
from unic.runs import metric_names
from unic.tokens import Grid

IGNORED = 255  # mask value of pixels that do not count


@dataclass(frozen=True, eq=False)  # compared and hashed by identity
class Labelled:
    """Frozen vectors of a split with their labels, from one encoder, several, or pixels.

    Attributes:
        x: `(n, D)` float32, possibly on a memory map; read it in slices if n can be large.
        y: `(n,)` int64, class indices from 0.
    """

    x: Float[np.ndarray, "n d"]
    y: Int[np.ndarray, " n"]

    def __post_init__(self) -> None:
        assert self.x.ndim == 2, self.x.shape
        assert self.y.shape == self.x.shape[:1], (self.x.shape, self.y.shape)

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True, eq=False)
class Dense:
    """Patch tokens of a split with a target for every pixel of the view.

    Attributes:
        patches: `(n, N, E)` float16 or float32, row by row, possibly on a memory map; `N = grid[0] * grid[1]`.
        grid: rows and columns of the patches.
        targets: `(H, W)` for each image: uint8 class indices with `IGNORED`, or float32 metres with 0 for unknown.
        classes: names of the classes; empty for depth.
    """

    patches: Float[np.ndarray, "n p e"]
    grid: Grid
    targets: Sequence[np.ndarray]
    classes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        assert self.patches.shape[1] == self.grid[0] * self.grid[1], (self.patches.shape, self.grid)
        assert len(self.targets) == len(self.patches), (len(self.targets), len(self.patches))

    def __len__(self) -> int:
        return len(self.patches)


@dataclass(frozen=True)
class Measure:
    """A score that is a function of the mean marks over the test images, so that a bootstrap can resample images.

    Attributes:
        name: name with its unit, the head of a column: "top-1 %".
        reduce: mean marks `(r, k)` → scores `(r,)`; percentages are 0 to 100. NaN for a resample without a measured
            image, which the interval leaves out.
        lower_is_better: True for an error; gains then change their sign.
        is_score: False for a description (a rank, a width) that is shown and never compared.
    """

    name: str
    reduce: Callable[[Float[np.ndarray, "r k"]], Float[np.ndarray, " r"]]
    lower_is_better: bool = False
    is_score: bool = True

    def score(self, marks: Float[np.ndarray, "n k"]) -> float:
        return float(self.reduce(marks.mean(0, dtype=np.float64)[None])[0])


def _first_in_percent(means: Float[np.ndarray, "r k"]) -> Float[np.ndarray, " r"]:
    return 100 * means[:, 0]


TOP1 = Measure(metric_names.TOP1, _first_in_percent)


def ratio(part: Float[np.ndarray, " r"], whole: Real[np.ndarray, " r"]) -> Float[np.ndarray, " r"]:
    """`part / whole`; NaN where `whole` is 0."""
    return np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)


@dataclass(frozen=True)
class Outcome:
    """The result of one task on one set with one seed.

    Attributes:
        marks: `(n, k)` float64, a row for each test image; for top-1 a single column, 1 for a correct prediction.
        measure: the task's `MEASURE`.
        details: further results and chosen settings, as values for JSON.
        predicted: `(n,)` int64 class index for each test image; None if the task does not classify.
    """

    marks: Float[np.ndarray, "n k"]
    measure: Measure = TOP1
    details: dict[str, Any] = field(default_factory=dict)
    predicted: Int[np.ndarray, " n"] | None = None

    def __post_init__(self) -> None:
        assert self.marks.ndim == 2, self.marks.shape

    @property
    def score(self) -> float:
        return self.measure.score(self.marks)


def top1(predicted: Int[np.ndarray, " n"], test: Labelled, **details: Any) -> Outcome:
    """The outcome of predicted class indices: top-1, with the mean per-class accuracy in its details.

    Args:
        predicted: class index for each test image.
        test: the test images, for their labels.
        details: further details of the outcome.
    """
    correct = (predicted == test.y).astype(np.float64)
    count = np.bincount(test.y)
    per_class = np.bincount(test.y, correct)[count > 0] / count[count > 0]
    mean_per_class = round(100 * float(per_class.mean()), 3)
    return Outcome(correct[:, None], TOP1, {"mean_per_class": mean_per_class, **details}, predicted)


def num_classes(train: Labelled) -> int:
    """Number of classes of a training split.

    Raises:
        InputError: fewer than two classes.
    """
    if len(np.unique(train.y)) < 2:
        raise InputError(f"a probe needs training images of at least two classes, not {len(np.unique(train.y))}")
    return int(train.y.max()) + 1
