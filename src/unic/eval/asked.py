"""Tasks as a user types them, `knn(k=5),near=knn(k=1, tokens=patch_mean),logistic`, parsed to entries of a suite."""

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
    """A task that a user has typed.

    Attributes:
        name: name of its row; by default the typed text, `knn(k=5)`.
        task: a task, or the name of an entry of the suite.
        options: typed options of the task, and `tokens` or `blocks`; None if none were typed.
    """

    name: str
    task: str
    options: dict[str, Any] | None


def parse_tasks(tasks: str | Sequence[str]) -> list[AskedTask]:
    """The tasks in one or several texts, which are split at the commas outside of brackets.

    Args:
        tasks: `TASK`, `TASK(OPTION=VALUE, …)` or `NAME=TASK(…)`, one or several in each text. Values are YAML.

    Raises:
        InputError: a text of another form, or two tasks with the same name.
    """
    texts = [tasks] if isinstance(tasks, str) else tasks
    found: dict[str, AskedTask] = {}
    for text in (part for one in texts for part in _parts(one)):
        asked = _parse(text)
        if asked.name in found:
            raise InputError(f"task '{asked.name}' is given twice; give one of them another name with NAME=TASK(…)")
        found[asked.name] = asked
    return list(found.values())


def entries_of(tasks: Sequence[AskedTask], suite: Mapping[str, Entry]) -> dict[str, Entry]:
    """The entry of each task, by the name of its row.

    For a task in the suite, typed options replace those of the suite's entry. A task that the suite does not have gets
    its defaults and runs on all sets.

    Args:
        tasks: the typed tasks.
        suite: the suite's entries by name.

    Raises:
        InputError: a wrong value of `tokens` or `blocks`.
    """
    return {asked.name: _entry(asked, suite.get(asked.task)) for asked in tasks}


def code_asked_for(tasks: Sequence[AskedTask]) -> list[str]:
    """Names of modules that the user typed: tasks, and options that have the form of a module's name."""
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
        raise InputError(f"task '{text}': the name of a row must not contain '/'; rename it, for example mine={text}")
    return AskedTask(name, task, options)


def _option(task: str, text: str) -> tuple[str, Any]:
    key, equals, value = (part.strip() for part in text.partition("="))
    if not (key and equals):
        raise InputError(f"task '{task}': expected OPTION=VALUE, not '{text}'")
    if key in _OF_SUITES:
        raise InputError(f"task '{task}': option '{key}' is for suites only; a typed task runs on all sets of its kind")
    try:
        tree = OmegaConf.to_container(OmegaConf.from_dotlist([f"value={value}"]), resolve=False)
        assert isinstance(tree, dict)
        return key, tree["value"]
    except Exception as error:  # YAML and OmegaConf raise many kinds
        raise InputError(f"task '{task}': option '{key}': not a YAML value ({reason_of(error)})") from None


def _parts(text: str) -> Iterator[str]:
    """The parts of a text between the commas outside of brackets and quotes."""
    depth, quote, start = 0, "", 0
    for place, letter in enumerate(text):
        if quote or letter in _QUOTES:
            quote = "" if letter == quote else quote or letter
        elif letter in _OPEN + _CLOSED:
            depth += 1 if letter in _OPEN else -1
        elif letter == "," and not depth:
            yield text[start:place].strip()
            start = place + 1
    if text[start:].strip():
        yield text[start:].strip()
