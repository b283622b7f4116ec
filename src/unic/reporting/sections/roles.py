"""Explains the measured models that are neither student nor teacher, in a sentence for each kind."""

from __future__ import annotations

from unic.reporting.read.scores import ROLES, Scores

START = "start"  # name of the weights that a run began with in `unic eval`; start/… if several runs have one


def is_start(name: str) -> bool:
    return name.rpartition("/")[2] == START


def group_label(scores: Scores, role: str) -> str:
    """The heading above the columns of a role."""
    others = [name for name in scores.names if scores.role(name) == "other"]
    return "Others" if role == "other" and not all(map(is_start, others)) else ROLES[role]


def explanations(scores: Scores) -> list[dict[str, str]]:
    """`names` and `text` of each kind."""
    kinds: dict[str, list[str]] = {}
    for name in scores.names:
        text = _text(scores, name)
        if text:
            kinds.setdefault(text, []).append(name)
    return [{"names": ", ".join(names), "text": text} for text, names in kinds.items()]


def _text(scores: Scores, name: str) -> str:
    uri = scores.models[name].uri
    role = scores.role(name)
    if role == "concat":
        members = uri.removeprefix("concat:").replace("+", ", ") if uri.startswith("concat:") else "all teachers"
        return f"the vectors of {members} side by side, to show what the teachers hold together; no single model"
    if role == "pixels":
        side = uri.removeprefix("pixels:")
        seen = f"at {side} × {side} pixels, " if uri.startswith("pixels:") and side.isdigit() else ""
        return f"the image itself {seen}taken as a vector, without any network, to show what raw colours give away"
    if role == "other":
        return "the weights that the student began with" if is_start(name) else "measured for comparison, not a teacher"
    return ""
