"""Seen and unseen tasks of results.json, and the mean gain over each kind.

A set is unseen if its suite says so: its images are not used in training. Tables, pages and sentences all get their
tasks from here, so that all count the same ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from unic.eval.results.schema import Gain, Results

Kind = Literal["seen", "unseen"]


@dataclass(frozen=True)
class MeanGain:
    """The mean gain over the best teachers of the tasks of one kind.

    Attributes:
        label: "mean gain", with the kind if results have both.
        kind: the kind of the tasks.
        tasks: the tasks of this kind.
        gain, ci: mean gain of the first student and its 95 % interval, in percent; None without a student or if a task
            is missing.
        gains, ends: the same for every model that is not a teacher.
    """

    label: str
    kind: Kind
    tasks: list[str]
    gain: float | None
    ci: list[float] | None
    gains: Mapping[str, float | None]
    ends: Mapping[str, list[float] | None]


def tasks_of(results: Results, kind: Kind) -> list[str]:
    """The compared tasks of a kind, in their order. Results of older versions have no unseen tasks."""
    unseen = set(results.unseen)
    return [task for task in results.tasks if (task in unseen) == (kind == "unseen")]


def kind_of(results: Results, tasks: Sequence[str]) -> Kind:
    """The kind of an axis: unseen if all of its tasks are."""
    return "unseen" if tasks and set(tasks) <= set(tasks_of(results, "unseen")) else "seen"


def labelled(label: str, results: Results, kind: Kind = "seen") -> str:
    """The label of a number over the tasks of a kind, "mean rank (seen)"; the plain label if no task is unseen."""
    return f"{label} ({kind})" if tasks_of(results, "unseen") else label


def mean_gains(results: Results) -> list[MeanGain]:
    """The mean gains of the seen and of the unseen tasks, without a kind that has no task."""
    kinds: list[Kind] = [kind for kind in get_args(Kind) if tasks_of(results, kind)]
    return [_mean_gain(results, kind) for kind in kinds or ["seen"]]


def _mean_gain(results: Results, kind: Kind) -> MeanGain:
    own = Gain(gain=results.mean_gain, ci=results.mean_gain_ci)
    known = results.mean_gains
    if kind == "unseen":
        own, known = Gain(gain=results.mean_gain_unseen, ci=results.mean_gain_unseen_ci), results.mean_gains_unseen
    student = next((name for name, model in results.models.items() if model.role == "student"), None)
    known = known if student is None else {**known, student: own}
    gains = {name: entry.gain for name, entry in known.items()}
    ends = {name: entry.ci for name, entry in known.items()}
    label = labelled("mean gain", results, kind)
    return MeanGain(label, kind, tasks_of(results, kind), own.gain, own.ci, gains, ends)
