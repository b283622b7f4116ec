"""The verdict in one sentence, and the figures beside it."""

from __future__ import annotations

from typing import Any

from unic.report.scores import Scores, shown, side, signed, span


def verdict(scores: Scores) -> str:
    """One sentence."""
    gain, interval = scores.results.get("mean_gain"), scores.results.get("mean_gain_ci")
    if scores.student is None:
        return "No student was measured."
    if not scores.teachers:
        return "No teacher was measured, so there is nothing to compare the student with."
    if gain is None:
        return "Some tasks could not be measured, so there is no mean gain over the best teachers."
    count = f"{len(scores.tasks)} task{'s' if len(scores.tasks) > 1 else ''}"
    ends = f"95 % interval {span(interval)} %" if interval else "no interval"
    of = f" (mean of {len(scores.trainings)} trainings)" if scores.trainings else ""
    text = f"The student{of} {_relation(gain, interval)} the best teacher of each task on average: "
    text += f"{signed(gain)} % over {count} ({ends}){_against_single(scores)}."
    return text.replace(" %", "\u00a0%")


def _relation(difference: float, interval: list[float] | None) -> str:
    """Only an interval on one side of 0 says that a model beats another one: without it, only where the scores lie."""
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
    return f"; it {relation} the best single teacher, {single.name} ({means})"


def figures(scores: Scores) -> list[dict[str, str]]:
    """The numbers beside the verdict."""
    found = []
    gain, interval = scores.results.get("mean_gain"), scores.results.get("mean_gain_ci")
    if gain is not None:
        note = f"{span(interval)} %" if interval else "no interval"
        kind = side(interval) if interval else ""
        found.append({"label": "Mean gain", "value": f"{signed(gain)} %", "note": note, "kind": kind})
    found += _mean_figure(scores)
    sides = [scores.outcome(task) for task in scores.tasks]
    if any(sides):
        note = f"{sides.count('level')} level, {sides.count('below')} below"
        value = f"{sides.count('above')} of {len(sides)}"
        found.append({"label": "Tasks above the best teacher", "value": value, "note": note, "kind": ""})
    return found


def _mean_figure(scores: Scores) -> list[dict[str, Any]]:
    single, tasks = scores.single(), scores.comparable()
    unit = scores.unit(tasks[0])
    if single:
        note = f"best single teacher {shown(single.score, unit)} ({single.name})"
        kind = side(single.interval) if single.interval else ""
        return [_figure(single.of, shown(single.student, unit), note, kind)]
    own = scores.mean(scores.student, tasks) if scores.student else None
    return [] if own is None else [_figure(scores.mean_name(), shown(own, unit), "no teacher has all tasks", "")]


def _figure(label: str, value: str, note: str, kind: str) -> dict[str, str]:
    return {"label": label[0].upper() + label[1:], "value": value, "note": note, "kind": kind}
