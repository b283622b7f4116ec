"""Finished outcomes on disk, by a hash of everything that decides them: what was measured once is never measured again.

An entry is one safetensors file, written whole or not at all; one that is damaged counts as missing.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from unic import lookup
from unic.eval.tasks.base import Measure, Outcome
from unic.features import FORMAT

# Besides the tasks themselves, what their numbers come from; features have a number of their own for that.
_SHARED = (
    *("eval/concat.py", "eval/corruptions.py", "eval/prompts.py", "eval/subject.py", "eval/text.py"),
    *("eval/datasets/*.py", "eval/tasks/*.py", "data/sources/_pixels.py", "data/sources/dense.py"),
)


class CellStore:
    """Outcomes by key in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(self, key: str, measure: Measure) -> Outcome | None:
        """The outcome, or None if it was never finished or its file is damaged."""
        try:
            with safe_open(self._file(key), framework="numpy") as stored:
                metadata = stored.metadata()
                arrays = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 (not a mapping)
            if metadata["digest"] != _digest(arrays, metadata["details"]):
                return None
            return Outcome(arrays["marks"], measure, json.loads(metadata["details"]), arrays.get("predicted"))
        except (OSError, SafetensorError, KeyError, TypeError, ValueError):
            return None

    def save(self, key: str, outcome: Outcome) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        arrays = {"marks": np.ascontiguousarray(outcome.marks)}
        if outcome.predicted is not None:
            arrays["predicted"] = np.ascontiguousarray(outcome.predicted)
        details = json.dumps(outcome.details)
        handle, partial = tempfile.mkstemp(prefix=f".{key}-", dir=self._folder)
        os.close(handle)
        try:
            save_file(arrays, partial, metadata={"details": details, "digest": _digest(arrays, details)})
            os.replace(partial, self._file(key))
        finally:
            Path(partial).unlink(missing_ok=True)

    def _file(self, key: str) -> Path:
        return self._folder / f"{key}.safetensors"


def cell_key(task: str, **decides: Any) -> str:
    """Hash of the task's code and of everything else that decides the outcome; of files among it, their content."""
    decides = {key: _content(value) for key, value in decides.items()}
    return hashlib.sha256(repr((task, FORMAT, _code(task), sorted(decides.items()))).encode()).hexdigest()[:32]


@lru_cache
def _code(task: str) -> str:
    """Hash of the files of all shipped tasks, which share parts, and of the file of a user's own."""
    root = Path(__file__).parents[1]
    files = {path for pattern in _SHARED for path in root.glob(pattern)}
    files.add(Path(lookup.module("unic.eval.tasks", task).__file__ or ""))
    return hashlib.sha256(b"".join(path.read_bytes() for path in sorted(files))).hexdigest()


def _content(value: Any) -> Any:
    """A value as it is, and what stands in the file that it names: class names, prompts, a `?checkpoint=` or a module
    may change in place."""
    if isinstance(value, dict):
        return sorted((key, _content(entry)) for key, entry in value.items())
    if isinstance(value, list | tuple):
        return [_content(entry) for entry in value]
    file = _named(value) if isinstance(value, str) and len(value) < 4096 else None
    return (value, hashlib.sha256(file.read_bytes()).hexdigest()) if file else value


def _named(text: str) -> Path | None:
    """The file that a path, the checkpoint of a URI or a dotted module name stands for."""
    path = Path(text.rpartition("?checkpoint=")[2].partition("&")[0]).expanduser()
    if path.is_file():
        return path
    module = sys.modules.get(text) if "." in text else None
    return Path(module.__file__) if module and module.__file__ else None


def _digest(arrays: dict[str, np.ndarray], details: str) -> str:
    digest = hashlib.sha256(details.encode())
    for name in sorted(arrays):
        digest.update(repr((name, arrays[name].shape, arrays[name].dtype.str)).encode())
        digest.update(arrays[name].tobytes())
    return digest.hexdigest()
