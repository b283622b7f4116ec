"""Facts beside the scores: sizes of the models, how they were measured, how the student is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unic.eval.results.schema import Protocol
from unic.reporting.read.scores import Scores, millions

_MAX_SIZES = 5  # most teachers that are named with their parameters


def parameters(scores: Scores | None, loaded: Mapping[str, int]) -> list[dict[str, Any]]:
    """Parameters of the student and of each teacher, from the evaluation or from the models that were `loaded`."""
    known: dict[str, float | None] = dict(loaded)
    if scores:
        names = ([scores.student] if scores.student else []) + scores.teachers
        known = {name: scores.models[name].num_parameters or known.get(name) for name in names}
    own = scores.student if scores else "student"
    sizes = {name: size for name, size in known.items() if size}
    entries = [{"name": name, "size": millions(size), "own": name == own} for name, size in sizes.items()]
    rest = [size for name, size in sizes.items() if name != own]
    if len(rest) <= _MAX_SIZES:
        return entries
    ends = f"{millions(min(rest))} to {millions(max(rest))}"
    together = {"name": f"{len(rest)} teachers", "size": ends, "own": False}
    return [*(entry for entry in entries if entry["own"]), together]


def protocol_line(protocol: Protocol) -> str:
    """One line about how the scores were measured."""
    parts = _tasks(protocol.tasks)
    if protocol.unseen_tasks:
        parts.append(f"on unseen sets {', '.join(_tasks(protocol.unseen_tasks))}")
    seeds = len(protocol.seeds)
    if seeds:
        parts.append(f"{seeds} seed{'s' if seeds > 1 else ''}")
    if protocol.size:
        parts.append(f"images at {protocol.size} px")
    if protocol.view != "square":
        parts.append(f"view {protocol.view}")
    for name, counts in protocol.counts.items():
        classes = f", {counts.classes} classes" if counts.classes else ""
        parts.append(f"{name}: {counts.train} train, {counts.test} test{classes}")
    return "; ".join(parts)


def _tasks(entries: Mapping[str, Mapping[str, Any]]) -> list[str]:
    found = []
    for task, options in entries.items():
        has_options = task.endswith(")")  # the name has the options already
        pairs = [] if has_options else [f"{key}={_listed(value)}" for key, value in options.items()]
        found.append(" ".join([task, *pairs]))
    return found


def _listed(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
