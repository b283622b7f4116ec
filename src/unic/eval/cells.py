"""Finished outcomes on disk, by a hash of everything that decides them: what was measured once is never measured again.

An entry is one safetensors file, written whole or not at all; one that is damaged counts as missing.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from unic import lookup
from unic.eval.tasks.base import Measure, Outcome

_SHARED = ("concat", "corruptions", "prompts", "subject", "text")  # what shipped tasks use beside each other


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
    return hashlib.sha256(repr((task, _code(task), sorted(decides.items()))).encode()).hexdigest()[:32]


@lru_cache
def _code(task: str) -> str:
    """Hash of the files of all shipped tasks, which share parts, or of the one file of a user's own."""
    file = Path(lookup.module("unic.eval.tasks", task).__file__ or "")
    here = Path(__file__).parent
    own = file.parent == here / "tasks"
    files = sorted([*here.glob("tasks/*.py"), *(here / f"{name}.py" for name in _SHARED)]) if own else [file]
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


def _content(value: Any) -> Any:
    """A value as it is, and what stands in the file that it names: class names or prompts may change in place."""
    if isinstance(value, dict):
        return sorted((key, _content(entry)) for key, entry in value.items())
    if isinstance(value, list | tuple):
        return [_content(entry) for entry in value]
    is_file = isinstance(value, str) and len(value) < 4096 and Path(value).is_file()
    return (value, hashlib.sha256(Path(value).read_bytes()).hexdigest()) if is_file else value


def _digest(arrays: dict[str, np.ndarray], details: str) -> str:
    digest = hashlib.sha256(details.encode())
    for name in sorted(arrays):
        digest.update(repr((name, arrays[name].shape, arrays[name].dtype.str)).encode())
        digest.update(arrays[name].tobytes())
    return digest.hexdigest()
