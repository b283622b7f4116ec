"""The verdict in one sentence, and the figures beside it."""

from __future__ import annotations

from typing import Any

from unic.eval.results.seen import MeanGain
from unic.reporting.read.scores import Scores, shown, side, span, told


def verdict(scores: Scores) -> str:
    """One sentence with the mean gain on seen sets and, if there are any, on unseen sets."""
    if scores.student is None:
        return "No student was measured."
    if not scores.teachers:
        return "No teacher was measured, so there is nothing to compare the student with."
    known = [mean for mean in scores.mean_gains if mean.gain is not None]
    if not known:
        return "Some tasks could not be measured, so there is no mean gain over the best teachers."
    first, *others = known
    lacking = [mean for mean in scores.mean_gains if mean.gain is None]
    of = f" (mean of {len(scores.trainings)} trainings)" if scores.trainings else ""
    text = f"The student{of} {_side_of(first)} the best teacher of each task on average"
    text += f"{_on(scores, first)}: {_said(first)}"
    text += "".join(f";{_on(scores, mean)} it {_side_of(mean)} them: {_said(mean)}" for mean in others)
    text += "".join(f";{_on(scores, mean)} some tasks could not be measured" for mean in lacking)
    return f"{text}{_against_single(scores)}.".replace(" %", "\u00a0%")


def _on(scores: Scores, mean: MeanGain) -> str:
    return f" on {mean.kind} sets" if scores.unseen else ""


def _side_of(mean: MeanGain) -> str:
    return _relation(mean.gain or 0.0, mean.ci)


def _said(mean: MeanGain) -> str:
    gain, ends = told(mean)
    count = f"{len(mean.tasks)} task{'s' if len(mean.tasks) > 1 else ''}"
    return f"{gain} over {count} ({f'95 % interval {ends}' if ends else 'no interval'})"


def _relation(difference: float, interval: list[float] | None) -> str:
    """A verb for the difference. Only an interval on one side of 0 says "beats"; without it, "scores above"."""
    if interval:
        return {"above": "beats", "below": "stays below", "level": "is level with"}[side(interval)]
    return "scores above" if difference > 0 else "scores below" if difference < 0 else "equals"


def _against_single(scores: Scores) -> str:
    single = scores.single()
    if single is None:
        return ""
    ends = f", difference {span(single.interval, single.unit)}" if single.interval else ""
    relation = _relation(single.advantage, single.interval)
    means = f"{single.of} {shown(single.student, single.unit)} against {shown(single.score, single.unit)}{ends}"
    return f";{' on seen sets' if scores.unseen else ''} it {relation} the best single teacher, {single.name} ({means})"


def figures(scores: Scores) -> list[dict[str, str]]:
    """The numbers beside the verdict."""
    found = []
    for mean in scores.mean_gains:
        gain, ends = told(mean)
        if gain:
            found.append(_figure(mean.label, gain, ends or "no interval", side(mean.ci) if mean.ci else ""))
    found += _mean_figure(scores)
    sides = [scores.outcome(task) for task in scores.seen]
    if any(sides):
        note = f"{sides.count('level')} level, {sides.count('below')} below"
        value = f"{sides.count('above')} of {len(sides)}"
        found.append(_figure(f"{'seen ' if scores.unseen else ''}tasks above the best teacher", value, note, ""))
    return found


def _mean_figure(scores: Scores) -> list[dict[str, Any]]:
    single, tasks = scores.single(), scores.comparable()
    if not tasks:
        return []
    unit = scores.unit(tasks[0])
    if single:
        note = f"best single teacher {shown(single.score, unit)} ({single.name})"
        kind = side(single.interval) if single.interval else ""
        return [_figure(scores.labelled(single.of), shown(single.student, unit), note, kind)]
    own = scores.mean(scores.student, tasks) if scores.student else None
    if own is None:
        return []
    return [_figure(scores.labelled(scores.mean_name()), shown(own, unit), "no teacher has all tasks", "")]


def _figure(label: str, value: str, note: str, kind: str) -> dict[str, str]:
    return {"label": label[0].upper() + label[1:], "value": value, "note": note, "kind": kind}
