"""The record of a run's models: mean, std, licence and revision of each, as it was loaded.

A resumed run uses the recorded mean and std, and so does its student when it is opened. For checkpoints of versions
without a record, the rules of those versions give them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from unic.arguments import argument
from unic.encoders import Encoder, as_options, parse_uri
from unic.encoders._old_rules import as_before
from unic.errors import InputError
from unic.recipe.schema import Recipe, load_run_recipe
from unic.runs.state import RECORD, RunState, newest_state
from unic.training import places
from unic.training.job import Job


@dataclass(frozen=True)
class Facts:
    """A model as it was loaded; `licence` and `revision`: see `Encoder`."""

    uri: str
    mean: list[float]
    std: list[float]
    licence: str | None
    revision: str | None


@dataclass(frozen=True)
class StudentFacts(Facts):
    """The student as it was loaded, and whether it had random weights."""

    from_scratch: bool


_Facts = TypeVar("_Facts", bound=Facts)


@dataclass(frozen=True)
class Models:
    """The models of a run.

    Attributes:
        before: a version of unic without a record began the run.
        student: None: nothing is recorded.
        teachers: by name, of all stages so far.
    """

    before: bool = False
    student: StudentFacts | None = None
    teachers: Mapping[str, Facts] = field(default_factory=dict)

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Models:
        """The models in the record of a checkpoint; an empty record is of a version without one."""
        if not state:
            return cls(before=True)
        student = _read(StudentFacts, state["student"]) if "student" in state else None
        return cls(state["before"], student, {name: _read(Facts, facts) for name, facts in state["teachers"].items()})

    def to_state(self) -> dict[str, Any]:
        return asdict(self)


def _read(kind: type[_Facts], facts: Mapping[str, Any]) -> _Facts:
    """Facts of a checkpoint, without keys that a later version may have added."""
    return kind(**{each.name: facts[each.name] for each in fields(kind)})


class Record:
    """The facts of a job's models, and of the models of the stages before it.

    Args:
        job: whose models were loaded.
        earlier: record of the stages before, or of the checkpoint that the run resumes from.

    Attributes:
        models: the facts.
    """

    def __init__(self, job: Job, earlier: Models) -> None:
        student = StudentFacts(**_facts(job.student), from_scratch=job.student.from_scratch)
        teachers = {name: Facts(**_facts(encoder)) for name, encoder in job.encoders.items()}
        self.models = Models(earlier.before, student, {**earlier.teachers, **teachers})

    @property
    def is_of_before(self) -> bool:
        """Whether a version of unic without a record began the run, so that the rules of that version apply."""
        return self.models.before

    def state_dict(self) -> dict[str, Any]:
        return self.models.to_state()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Refuses a student with another mean or std than at the start, as a moved weight file may give it.

        Raises:
            InputError: mean or std differ.
        """
        earlier = Models.from_state(state)
        was, now = earlier.student, self.models.student
        if earlier.before or was is None or now is None:
            return
        for key, old, new in (("mean", was.mean, now.mean), ("std", was.std, now.std)):
            if old != new:
                raise InputError(
                    f"{argument('resume')}: the student's {key} was {old} at the start of the run and is {new} now; "
                    f"add {key}={','.join(map(str, old))} to its URI"
                )


def _facts(encoder: Encoder) -> dict[str, Any]:
    return {
        "uri": encoder.uri,
        "mean": _numbers(encoder.mean),
        "std": _numbers(encoder.std),
        "licence": encoder.licence,
        "revision": encoder.revision,
    }


def _numbers(values: Any) -> list[float]:
    return [float(str(np.float32(value))) for value in values.flatten().tolist()]  # 0.485, not 0.48500001430511475


def models_of(state: RunState) -> Models:
    """The record in a checkpoint's state."""
    return Models.from_state(state.get(RECORD, {}))


def as_recorded(plan: Recipe, models: Models) -> Recipe:
    """The plan with the recorded mean and std added to every URI that does not state them."""
    student = _settled(plan.student.model, models.student, models)
    teachers = {name: _settled(uri, models.teachers.get(name), models) for name, uri in plan.teachers.uris.items()}
    return plan.model_copy(
        update={
            "student": plan.student.model_copy(update={"model": student}),
            "teachers": plan.teachers.with_uris(teachers),
        }
    )


def recipe_of(run: Path) -> Recipe:
    """The recipe of a run folder, with the values that environment variables had when the run trained.

    Raises:
        InputError: the recipe is missing or not valid.
    """
    return load_run_recipe(run).written_as(places.written_in(newest_state(run)))


def in_run(plan: Recipe, run: Path) -> Recipe:
    """A stage of a run folder `as_recorded` there, with paths that exist from here; as it is without a checkpoint."""
    state = newest_state(run)
    return plan if state is None else as_recorded(places.found_from(plan, places.folder_of(state)), models_of(state))


def notice_of_rules(plan: Recipe, models: Models) -> str:
    """A line about the rules of an earlier version that apply to a run which it began."""
    settled = as_recorded(plan, models)
    uris = {"student": (plan.student.model, settled.student.model)}
    uris |= {f"teacher {name}": (uri, settled.teachers.uris[name]) for name, uri in plan.teachers.uris.items()}
    numbers = [f"{name} with {new[len(old) + 1 :]}" for name, (old, new) in uris.items() if old != new]
    rules = ["its learning rate", "no standardize.floor", *numbers]
    return f"an earlier version of unic began this run, so its rules still apply: {'; '.join(rules)}"


def _settled(uri: str, facts: Facts | None, models: Models) -> str:
    if models.before:
        return as_before(uri)
    spec = parse_uri(uri)
    has_file = spec.scheme == "safetensors" or (spec.scheme in ("timm", "open_clip") and "checkpoint" in spec.options)
    if not has_file or facts is None or _weights(facts.uri) != _weights(uri):
        return uri
    return spec.completed(as_options(facts.mean, facts.std))


def _weights(uri: str) -> tuple[str, ...]:
    """The parts of a URI that stay the same when a stage changes the size of a model."""
    spec = parse_uri(uri)
    return spec.scheme, spec.name, spec.options.get("arch", ""), spec.options.get("checkpoint", "")
