"""Seen and unseen tasks of results.json, and the mean gain over each kind.

A set is unseen where its suite says so: its images are no source of training. Tables, pages and sentences all take from
here which tasks they count, so that no two of them count others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from unic.eval.results.schema import Gain, Results

Kind = Literal["seen", "unseen"]


@dataclass(frozen=True)
class MeanGain:
    """The mean, over the tasks of a kind, of the gain over the best teacher of each.

    Attributes:
        label: "mean gain", and the kind where results have both.
        kind: of the tasks that it counts.
        tasks: those of the kind.
        gain, ci: of the first student and its 95 % interval, in percent; None without one, or where a task is missing.
        gains, ends: the same of every model that is no teacher.
    """

    label: str
    kind: Kind
    tasks: list[str]
    gain: float | None
    ci: list[float] | None
    gains: Mapping[str, float | None]
    ends: Mapping[str, list[float] | None]


def tasks_of(results: Results, kind: Kind) -> list[str]:
    """The compared tasks of a kind, in their order. Results of older versions have no unseen ones."""
    unseen = set(results.unseen)
    return [task for task in results.tasks if (task in unseen) == (kind == "unseen")]


def kind_of(results: Results, tasks: Sequence[str]) -> Kind:
    """What the tasks of an axis are."""
    return "unseen" if tasks and set(tasks) <= set(tasks_of(results, "unseen")) else "seen"


def labelled(label: str, results: Results, kind: Kind = "seen") -> str:
    """What a number over the tasks of a kind is called: "mean rank (seen)"; the plain label where nothing is unseen."""
    return f"{label} ({kind})" if tasks_of(results, "unseen") else label


def mean_gains(results: Results) -> list[MeanGain]:
    """That of the seen tasks and that of the unseen ones; of a kind without a task none."""
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
