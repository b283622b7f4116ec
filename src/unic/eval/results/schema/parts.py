"""The parts of results.json that hold what was measured: models, cells, and comparisons with the best teachers."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from unic.eval.results.schema.part import Interval, ResultsPart

Role = Literal["student", "teacher", "concat", "pixels", "other", "training"]


class ModelEntry(ResultsPart):
    """A model of the evaluation: a column of the table, or one training of a student that is a mean of several."""

    role: Role
    """`student`: compared with the teachers. `teacher`: one of those it is compared with. `concat`: the vectors of all
    teachers side by side. `pixels`: the image itself as a vector. `training`: one of the trainings whose mean a student
    is. `other`: none of these, such as the weights that a student started from."""
    uri: str = ""
    """Origin of the model."""
    vector: str | None = None
    """The vector of an image: `cls`, `patch_mean`, or both side by side as `cls+patch_mean`."""
    input_size: list[int] | None = None
    """Height and width of the model's own input in pixels."""
    num_parameters: int | None = None
    """Number of parameters."""
    also: list[str] = Field(default_factory=list)
    """Other names of the same model, which is measured once."""
    trainings: list[str] = Field(default_factory=list)
    """Names of the trainings whose mean this student is."""


class Cell(ResultsPart):
    """One model on one task. It has a score, or an error."""

    score: float | None = None
    """In the unit of the task's measure: 0 to 100 for a measure in percent. The mean over probe seeds."""
    spread: float | None = None
    """Sample standard deviation over probe seeds; null where seeds change nothing."""
    ci: Interval | None = None
    """95 % interval of the score over test images, probe seeds and trainings."""
    seed_ci: Interval | None = None
    """95 % interval of the score over probe seeds alone; null where seeds change nothing."""
    by_seed: list[float] | None = None
    """The score of each probe seed; null where seeds change nothing."""
    details: list[dict[str, Any]] = Field(default_factory=list)
    """Further results of the task, in its own keys: one entry if all seeds agree, else one for each seed."""
    by_training: list[float] | None = None
    """Score of each training, for a student that is a mean of trainings."""
    training_spread: float | None = None
    """Sample standard deviation over trainings; null for a single training."""
    error: str | None = None
    """Why there is no score."""


class Metric(ResultsPart):
    """The measure of a task."""

    name: str
    """Name with its unit, for example `top-1 %`. A name that ends with `%` is on a scale from 0 to 100."""
    lower_is_better: bool = False
    """True for an error."""


class Gain(ResultsPart):
    """A mean gain over the best teacher of each task."""

    gain: float | None = None
    """In percent; null where a task is missing."""
    ci: Interval | None = None
    """95 % interval in percent."""


class SingleTeacher(ResultsPart):
    """The student against the one teacher with the highest mean score, over the seen tasks in percent."""

    name: str
    """Name of that teacher."""
    score: float
    """Mean score of that teacher, 0 to 100."""
    student: float
    """Mean score of the student, 0 to 100."""
    difference_ci: Interval | None = None
    """95 % interval of the student's mean minus that of the best teacher, in points."""


class Axis(ResultsPart):
    """A group of tasks, compared with the one teacher that is the best over all of them."""

    tasks: list[str] = Field(default_factory=list)
    """Names of the tasks that count."""
    scores: dict[str, float] = Field(default_factory=dict)
    """Mean score over the tasks by model."""
    best_teacher: str | None = None
    """Name of the teacher with the highest mean gain over the best teachers of the tasks; null without teachers."""
    gains: dict[str, float] = Field(default_factory=dict)
    """Mean gain over that teacher by model, in percent."""
    gain: float | None = None
    """The gain of the student; null where a task is missing."""
    ci: Interval | None = None
    """95 % interval of the student's gain, in percent."""


class Difference(ResultsPart):
    """A model against the first one."""

    difference: float
    """Score of the model minus that of the first one, in the unit of the measure."""
    ci: Interval
    """Paired 95 % interval of the difference."""


class Differences(ResultsPart):
    """Models against the first of them; empty where there are not two models to compare."""

    to: str = ""
    """Name of the first model."""
    tasks: dict[str, dict[str, Difference]] = Field(default_factory=dict)
    """By task, then by model."""
    means: dict[str, dict[str, Difference]] = Field(default_factory=dict)
    """Mean over the seen sets, for tasks on several sets: by task, then by model."""
    mean: dict[str, Difference] = Field(default_factory=dict)
    """Mean over all seen tasks, by model; empty for a single task or several measures."""


class Influence(ResultsPart):
    """Influence of the teachers in the training of the student, which only its run knows."""

    gradient: dict[str, float] = Field(default_factory=dict)
    """Share of each teacher in the gradient at the trained weights; the sum is 1."""
    kept: dict[str, float] = Field(default_factory=dict)
    """Share of images, 0 to 1, for which the loss to each teacher counted in the last half of the training."""
