"""The protocol: the part of results.json that makes an evaluation repeatable."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from unic.eval.results.schema.part import ResultsPart


class Counts(ResultsPart):
    """Sizes of one evaluation set."""

    train: int
    """Number of training images."""
    test: int
    """Number of test images."""
    classes: int = 0
    """Number of classes; 0 where images have no labels."""


class Bootstrap(ResultsPart):
    """Settings of the bootstrap that gave the intervals."""

    resamples: int | None = None
    """Number of resamples."""
    level: int | None = None
    """Coverage of the intervals in percent."""
    unit: str | None = None
    """Things that are drawn again: test images, probe seeds and, for a mean of trainings, trainings."""
    over_teachers: str | None = None
    """`simultaneous`: intervals over the best teacher account for the choice of that teacher. In results without this
    key they do not."""


class Protocol(ResultsPart):
    """The suite as it was measured, with the tasks, sets and seeds that the user chose, and versions of packages."""

    data: list[str] = Field(default_factory=list)
    """Names of the seen sets, with their options (`cog?level=3`), or `NAME=PATH`."""
    tasks: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Options of each task on seen sets; `task` is the name of the task if the row has another name."""
    unseen: list[str] = Field(default_factory=list)
    """The unseen sets, named like those of `data`: their images are not used in training."""
    unseen_tasks: dict[str, dict[str, Any]] | None = None
    """Options of each task on unseen sets; null: those of `tasks`."""
    seeds: list[int] = Field(default_factory=list)
    """Seeds of the probes."""
    size: int | None = None
    """Side of the square view that every encoder gets, in pixels; null: each encoder's own input size."""
    view: str = "square"
    """How this view is cut out of an image: `square`, `centre_crop` or `centre_crop_256`. Earlier versions knew only
    `square`."""
    max_train: int | None = None
    """Largest number of training images of a set; null: all."""
    max_test: int | None = None
    """Largest number of test images of a set; null: all."""
    teacher_vector: str | None = None
    """Vector of a ViT teacher: `cls`, or `cls+patch_mean`."""
    axes: dict[str, list[str]] = Field(default_factory=dict)
    """Patterns of `SET/TASK` by the name of the axis."""
    counts: dict[str, Counts] = Field(default_factory=dict)
    """Sizes by set."""
    classes: dict[str, list[str]] = Field(default_factory=dict)
    """Names of the classes in the order of their indices, by set; left out for sets of more than 1000 classes."""
    missing: dict[str, str] = Field(default_factory=dict)
    """Sets that could not be opened and were left out, each with the reason."""
    bootstrap: Bootstrap | None = None
    """Settings of the bootstrap that gave the intervals."""
    versions: dict[str, str] = Field(default_factory=dict)
    """Versions of Python and of the packages that affect scores."""
