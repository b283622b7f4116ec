"""The part of a cell's key for the code of its task, and for the files and modules that its options name.

For a shipped task the key has its `VERSION`, a number that is raised when the scores of the task change. So an edited
comment does not invalidate finished cells. `tests/eval/tasks/test_versions.py` fails if scores change under the same
version. A user's own task has no such test, so its files are hashed.
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
from unic.eval.task import PACKAGE, Task, is_shipped
from unic.own_code import OwnCode, own_code

SHARED_VERSION = 1
"""Version of the inputs of all tasks: vectors and their concatenation, labels, masks and depths of evaluation sets.

Raise it when any of these change; features have a version of their own (`unic.features.FORMAT`)."""


def versions(task: str, options: Mapping[str, Any]) -> list[tuple[str, int]]:
    """Versions of the shipped code that decides an outcome: the shared code, the task, and the probe that it runs.

    A user's own task may use any shipped task, so all versions count.
    """
    shipped = lookup.names(PACKAGE)
    decides = set(shipped)
    if is_shipped(task):
        probe = inspect.signature(Task.of(task).run).parameters.get("probe")
        decides = {task, str(options.get("probe", probe.default))} if probe else {task}
    found = [(name, Task.of(name).version) for name in shipped if name in decides]
    if is_shipped(task) and (protocol := Task.of(task).protocol(options)):
        found.append((f"{task}/{options['protocol']}", int(protocol.VERSION)))
    return [("shared", SHARED_VERSION), *found]


def code_of_task(task: str) -> OwnCode:
    """Code of a user's own task and of what it imports; empty for a shipped task."""
    return OwnCode() if is_shipped(task) else own_code([task])


def content_of_options(task: str, options: Mapping[str, Any]) -> list[Any]:
    """Names and values of the options, with hashes of the user's files and modules that they name.

    `FILES` of a task lists the options that may name files. In a user's own task without `FILES` any option may.
    """
    files = Task.of(task).files
    return [
        (
            name,
            json.dumps(value, sort_keys=True, default=repr),
            [*_modules(value), *(_contents(value) if files is None or name in files else ())],
        )
        for name, value in sorted(options.items())
    ]


def content_of_uri(uri: str | None) -> tuple[str | None, list[str]]:
    """A URI, and a hash of its `checkpoint`, of which a task may read more than the encoder does."""
    return uri, [] if uri is None or "checkpoint=" not in uri else _contents(uri)


def unknown_of(task: str, options: Mapping[str, Any]) -> str:
    """Things that the outcome depends on beyond the key, as the end of a sentence "it depends on …"; empty: nothing."""
    named = [module for value in options.values() for module in _texts(value) if _is_own_module(module)]
    tells = Task.of(task).files is not None
    for code, tells_files in [(code_of_task(task), tells), *((own_code([name]), False) for name in named)]:
        if code.unknown:
            return code.unknown
        if code.opens_files and not tells_files:
            return f"{code.opens_files}, which opens files; list the options that name them in FILES of the task"
    return ""


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
    """The file of a path, or of the `checkpoint` in a URI; None if there is no such file."""
    name = dict(parse_qsl(text.partition("?")[2].replace("+", "%2B"))).get("checkpoint", text)
    try:
        path = Path(name).expanduser()
        return path if path.is_file() else None
    except (OSError, RuntimeError, ValueError):  # too long, or letters that a path cannot have
        return None


def _modules(value: Any) -> list[str]:
    return [own_code([text]).digest for text in _texts(value) if _is_own_module(text)]


def _is_own_module(text: str) -> bool:
    """Whether a text is the dotted name of a user's own module, such as a probe or a text tower."""
    is_name = "." in text and all(part.isidentifier() for part in text.split("."))
    return is_name and bool(own_code([text]).files)
