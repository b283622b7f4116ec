"""Tasks as they are typed, `knn(k=5),near=knn(k=1, tokens=patch_mean),logistic`, as entries of a suite."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from omegaconf import OmegaConf
from pydantic import ValidationError

from unic import lookup
from unic.errors import InputError, reason_of
from unic.eval.suite import Entry

_FORM = re.compile(r"(?:(?P<name>[^=(]+)=)?(?P<task>[\w.-]+)(?:\((?P<options>.*)\))?", re.DOTALL)
_OPEN, _CLOSED, _QUOTES = "([{", ")]}", "'\""
_OF_SUITES = ("task", "data")


@dataclass(frozen=True)
class AskedTask:
    """Attributes:
    name: of its row; without one of its own, the task with what was typed of its options, `knn(k=5)`.
    task: a task, or the name of an entry of the suite.
    options: of the task, and `tokens` or `blocks`; None where none were typed.
    """

    name: str
    task: str
    options: dict[str, Any] | None


def parse_tasks(tasks: str | Sequence[str]) -> list[AskedTask]:
    """Takes texts apart at the commas that are in no brackets.

    Args:
        tasks: `TASK`, `TASK(OPTION=VALUE, …)` or `NAME=TASK(…)`, one or several in each text. Values are YAML.

    Raises:
        InputError: a text of another form, or two rows of one name.
    """
    texts = [tasks] if isinstance(tasks, str) else tasks
    found: dict[str, AskedTask] = {}
    for text in (part for one in texts for part in _parts(one)):
        asked = _parse(text)
        if asked.name in found:
            raise InputError(f"task '{asked.name}' is asked for twice; NAME=TASK(…) gives a row another name")
        found[asked.name] = asked
    return list(found.values())


def entries_of(tasks: Sequence[AskedTask], suite: Mapping[str, Entry]) -> dict[str, Entry]:
    """Entries by the name of their row. A task that the suite has starts from its entry there, with what was typed
    changed; one that it does not have starts from its defaults, on all sets.

    Raises:
        InputError: `tokens` or `blocks` that are none.
    """
    return {asked.name: _entry(asked, suite.get(asked.task)) for asked in tasks}


def code_asked_for(tasks: Sequence[AskedTask]) -> list[str]:
    """Modules that were typed: tasks, and whatever in options has the form of a module's name."""
    texts = [text for asked in tasks for text in (asked.options or {}).values() if isinstance(text, str)]
    return [asked.task for asked in tasks] + [text for text in texts if lookup.is_dotted(text)]


def _entry(asked: AskedTask, base: Entry | None) -> Entry:
    if asked.options is None and asked.name == asked.task:
        return base or Entry()
    known = base.model_dump(exclude_unset=True) if base else {}
    try:
        return Entry(**{**known, "task": known.get("task") or asked.task, **(asked.options or {})})
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(f"task '{asked.name}': '{first['loc'][0]}': {first['msg']}") from None


def _parse(text: str) -> AskedTask:
    form = _FORM.fullmatch(text)
    if form is None:
        raise InputError(f"task '{text}': expected TASK, TASK(OPTION=VALUE, …) or NAME=TASK(…)")
    task = form["task"]
    options = None if form["options"] is None else dict(_option(text, part) for part in _parts(form["options"]))
    name = form["name"].strip() if form["name"] else text
    if "/" in name:
        raise InputError(
            f"task '{text}': a row cannot have '/' in its name; give it another one, for example mine={text}"
        )
    return AskedTask(name, task, options)


def _option(task: str, text: str) -> tuple[str, Any]:
    key, equals, value = (part.strip() for part in text.partition("="))
    if not (key and equals):
        raise InputError(f"task '{task}': expected OPTION=VALUE, not '{text}'")
    if key in _OF_SUITES:
        raise InputError(f"task '{task}': '{key}' belongs into a suite; a task is measured on all sets of its kind")
    try:
        tree = OmegaConf.to_container(OmegaConf.from_dotlist([f"value={value}"]), resolve=False)
        assert isinstance(tree, dict)
        return key, tree["value"]
    except Exception as error:  # YAML and OmegaConf raise many kinds
        raise InputError(f"task '{task}': '{key}': not a value ({reason_of(error)})") from None


def _parts(text: str) -> Iterator[str]:
    """What stands between the commas outside of brackets and quotes."""
    depth, quote, start = 0, "", 0
    for place, sign in enumerate(text):
        if quote or sign in _QUOTES:
            quote = "" if sign == quote else quote or sign
        elif sign in _OPEN + _CLOSED:
            depth += 1 if sign in _OPEN else -1
        elif sign == "," and not depth:
            yield text[start:place].strip()
            start = place + 1
    if text[start:].strip():
        yield text[start:].strip()
