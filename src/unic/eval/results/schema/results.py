"""results.json as a whole: read, checked and written here and nowhere else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from unic._regular_files import read_json
from unic.errors import InputError
from unic.eval.results.schema.part import Interval, ResultsPart
from unic.eval.results.schema.parts import Axis, Cell, Differences, Gain, Influence, Metric, ModelEntry, SingleTeacher
from unic.eval.results.schema.protocol import Protocol

VERSION = 1
"""Version of the format. Raise it when a key changes its meaning or is removed; new keys do not need it."""
_NO_OBJECT = ("dict_type", "model_type")  # pydantic's error types for a value that is no JSON object


class Results(ResultsPart):
    """The contents of results.json. Tasks are named `SET/TASK`, for example `clipart/knn`."""

    version: int = 0
    """Version of the format; missing in files that were written before the format had versions."""
    models: dict[str, ModelEntry]
    """All models by name, in the order of the command."""
    tasks: dict[str, dict[str, Cell]]
    """Scores that are compared: by task, then by model, without models to which the task does not apply."""
    descriptions: dict[str, dict[str, Cell]] = Field(default_factory=dict)
    """Measurements that are shown and never compared, such as an effective rank: by task, then by model."""
    measures: dict[str, Metric] = Field(default_factory=dict)
    """The measure of each task; a task without one is measured by top-1 accuracy in percent."""
    unseen: list[str] = Field(default_factory=list)
    """Names of the tasks on unseen sets, whose images are not used in training. All others are seen."""
    best_teacher: dict[str, str] = Field(default_factory=dict)
    """The single teacher with the best score, by task."""
    gain_over_best_teacher: dict[str, float] = Field(default_factory=dict)
    """Gain of the first student by task: `100 * (s - b) / b` in percent, where `s` is its score and `b` that of the
    best teacher. The sign is reversed for errors, so that more is better."""
    gain_ci: dict[str, Interval] = Field(default_factory=dict)
    """95 % intervals of these gains, in percent."""
    mean_gain: float | None = None
    """Mean of the gains over the seen tasks, in percent; null where a task is missing."""
    difference_ci: dict[str, Interval] = Field(default_factory=dict)
    """95 % interval, by task, of how much better the first student is than the best teacher, in the unit of the
    measure. It beats that teacher where the interval lies above 0."""
    mean_gain_ci: Interval | None = None
    """95 % interval of `mean_gain`, in percent."""
    mean_gain_unseen: float | None = None
    """Mean of the gains over the unseen tasks, in percent; null where a task is missing, or there is none."""
    mean_gain_unseen_ci: Interval | None = None
    """95 % interval of `mean_gain_unseen`, in percent."""
    single_teacher: SingleTeacher | None = None
    """The student against the one teacher with the highest mean score; null where a task is missing."""
    gains: dict[str, dict[str, float]] = Field(default_factory=dict)
    """Gains in percent of every model that is not a teacher: by model, then by task."""
    mean_gains: dict[str, Gain] = Field(default_factory=dict)
    """Means of `gains` over the seen tasks, by model."""
    mean_gains_unseen: dict[str, Gain] = Field(default_factory=dict)
    """Means of `gains` over the unseen tasks, by model."""
    axes: dict[str, Axis] = Field(default_factory=dict)
    """Groups of tasks by name."""
    ranks: dict[str, float] = Field(default_factory=dict)
    """Mean rank over the seen tasks by model; 1 is the best."""
    differences: Differences = Differences()
    """Differences of models to the first one if there is no teacher, else of further students to the first."""
    influence: Influence | None = None
    """Shares of the teachers in the training of the student."""
    protocol: Protocol = Protocol()
    """Suite, sets, bootstrap and versions of the evaluation."""
    duration_s: float | None = None
    """Duration of the evaluation in seconds, without the time for cells from the cache."""

    @classmethod
    def read(cls, path: str | Path) -> Results:
        """Reads a file that this or an earlier version of `unic eval` has written.

        Args:
            path: path of results.json.

        Raises:
            InputError: the file cannot be read, or its content is not that of results.json.
        """
        try:
            tree = read_json(Path(path))
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise InputError(f"{path} cannot be read: {reason}") from None
        return cls.load(tree, str(path))

    @classmethod
    def load(cls, tree: Any, name: str = "results.json") -> Results:
        """Checks the content of results.json, or what `unic.evaluate` has returned.

        Args:
            tree: the JSON object.
            name: its name in error lines.

        Raises:
            InputError: the content is not that of results.json, or a later version of unic has written it.
        """
        try:
            found = cls.model_validate(tree)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(map(str, first["loc"]))
            where = f"'{key}': " if key else ""
            text = "expected a JSON object" if first["type"] in _NO_OBJECT else first["msg"]
            raise InputError(f"{name} is not as unic eval writes it: {where}{text}") from None
        if found.version > VERSION:
            raise InputError(
                f"{name} has format {found.version}, and this version of unic reads formats up to {VERSION}; "
                "open it with a newer unic"
            )
        return found

    def failed(self) -> list[str]:
        """A line for each task and model that could not be measured, without descriptions."""
        cells = [(task, name, cell.error) for task, row in self.tasks.items() for name, cell in row.items()]
        return [f"{task}, {name}: {error}" for task, name, error in cells if error is not None]

    def as_dict(self) -> dict[str, Any]:
        """The JSON object: the keys that were set, in their order."""
        return self.model_dump(exclude_unset=True)
