"""What decides an outcome beside vectors and labels: the code of a task, and what its options name.

The code of a shipped task stands in a key as a number, `VERSION`, that is raised when the task's numbers change: an
edited comment measures nothing again. `tests/eval/tasks/test_versions.py` fails where numbers change and it was not.
A task of one's own has no such test, so its files are hashed.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from unic import lookup
from unic.digest import sha256_of_file
from unic.own_code import OwnCode, own_code

SHARED_VERSION = 1
"""Version of what all tasks are given: vectors and their concatenation, labels, masks and depths of evaluation sets.

Raise it when any of these change; features have a version of their own (`unic.features.FORMAT`)."""


def is_shipped(task: str) -> bool:
    return "." not in task


def versions(task: str, options: Mapping[str, Any]) -> list[tuple[str, int]]:
    """Versions of the shipped code that decides an outcome: of what all share, of the task and of the probe it runs.

    A task of one's own may use any shipped task.
    """
    shipped = lookup.names("unic.eval.tasks")
    decides = set(shipped)
    if is_shipped(task):
        probe = inspect.signature(lookup.entry("unic.eval.tasks", task, "run")).parameters.get("probe")
        decides = {task, str(options.get("probe", probe.default))} if probe else {task}
    found = [(name, int(lookup.module("unic.eval.tasks", name).VERSION)) for name in shipped if name in decides]
    return [("shared", SHARED_VERSION), *found]


def code_of_task(task: str) -> OwnCode:
    """A user's own module and what it imports; nothing for a shipped task."""
    return OwnCode() if is_shipped(task) else own_code([task])


def content_of_options(task: str, options: Mapping[str, Any]) -> list[Any]:
    """Options, and what is in the files and modules of the user's own that they name.

    A task tells in `FILES` which of its options name files. A task of one's own that does not tell may mean a file by
    any text that is the name of one.
    """
    files = _files(task)
    return [
        (
            name,
            json.dumps(value, sort_keys=True, default=repr),
            [*_modules(value), *(_contents(value) if files is None or name in files else ())],
        )
        for name, value in sorted(options.items())
    ]


def content_of_uri(uri: str | None) -> tuple[str | None, list[str]]:
    """A URI, and what is in its `checkpoint`: a task may read more of the file than the encoder holds."""
    return uri, [] if uri is None or "checkpoint=" not in uri else _contents(uri)


def unknown_of(task: str, options: Mapping[str, Any]) -> str:
    """What may decide and is not in the key, as the end of "it depends on …"; empty: nothing."""
    named = [module for value in options.values() for module in _texts(value) if _is_own_module(module)]
    for code, tells in [(code_of_task(task), _files(task) is not None), *((own_code([name]), False) for name in named)]:
        if code.unknown:
            return code.unknown
        if code.opens_files and not tells:
            return f"{code.opens_files}, which opens files; the task names the options that decide which in FILES"
    return ""


def _files(task: str) -> tuple[str, ...] | None:
    told = getattr(lookup.module("unic.eval.tasks", task), "FILES", () if is_shipped(task) else None)
    return None if told is None else tuple(told)


def _texts(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list | tuple):
        for entry in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(entry)


def _contents(value: Any) -> list[str]:
    found = [_file(text) for text in _texts(value)]
    return [sha256_of_file(file) for file in found if file]


def _file(text: str) -> Path | None:
    """The file that a path, or the checkpoint of a URI, stands for."""
    name = dict(parse_qsl(text.partition("?")[2].replace("+", "%2B"))).get("checkpoint", text)
    try:
        path = Path(name).expanduser()
        return path if path.is_file() else None
    except (OSError, RuntimeError, ValueError):  # too long, or of letters that no name has
        return None


def _modules(value: Any) -> list[str]:
    return [own_code([text]).digest for text in _texts(value) if _is_own_module(text)]


def _is_own_module(text: str) -> bool:
    """A dotted module, such as a probe or a text tower of the user's own."""
    is_name = "." in text and all(part.isidentifier() for part in text.split("."))
    return is_name and bool(own_code([text]).files)
