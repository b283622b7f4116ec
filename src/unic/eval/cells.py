"""Finished outcomes on disk, by a hash of everything that decides them, so that no cell is measured twice.

An outcome is one safetensors file, written whole or not at all. A damaged file counts as missing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from unic._scratch import READ_ONLY, say_read_only
from unic.digest import sha256, sha256_of_value
from unic.eval.outcome import Measure, Outcome
from unic.eval.task_code import code_of_task, content_of_options, versions
from unic.features import FORMAT
from unic.files import write_bytes


class CellStore:
    """Outcomes by key in a folder.

    Args:
        folder: folder of the outcomes.
        scratch: folder of this evaluation, for outcomes that must not be kept, and for all if `folder` is read-only;
            default: `folder`.
    """

    def __init__(self, folder: Path, scratch: Path | None = None) -> None:
        self._folder, self._scratch = folder, scratch or folder

    def load(self, key: str, measure: Measure, *, is_kept: bool = True) -> Outcome | None:
        """The outcome; None if it is not finished or its file is damaged."""
        folders = [self._folder, self._scratch] if is_kept else [self._scratch]
        return next((found for folder in folders if (found := _load(folder / _name(key), measure))), None)

    def save(self, key: str, outcome: Outcome, *, is_kept: bool = True) -> None:
        """Writes an outcome with the rights of the user's umask, as users may share the folder."""
        arrays = {"marks": np.ascontiguousarray(outcome.marks)}
        if outcome.predicted is not None:
            arrays["predicted"] = np.ascontiguousarray(outcome.predicted)
        details = json.dumps(outcome.details)
        content = save(arrays, {"details": details, "digest": _digest(arrays, details)})
        try:
            write_bytes((self._folder if is_kept else self._scratch) / _name(key), content)
        except OSError as error:
            if error.errno not in READ_ONLY or not is_kept or self._scratch == self._folder:
                raise
            say_read_only(self._folder.parent)
            write_bytes(self._scratch / _name(key), content)


def _name(key: str) -> str:
    return f"{key}.safetensors"


def _load(file: Path, measure: Measure) -> Outcome | None:
    try:
        with safe_open(file, framework="numpy") as stored:
            metadata = stored.metadata()
            arrays = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 (not a mapping)
        if metadata["digest"] != _digest(arrays, metadata["details"]):
            return None
        return Outcome(arrays["marks"], measure, json.loads(metadata["details"]), arrays.get("predicted"))
    except (OSError, SafetensorError, KeyError, TypeError, ValueError):
        return None


def cell_key(task: str, *, options: Mapping[str, Any] | None = None, **decides: Any) -> str:
    """Hash of the versions of the task's code and of everything else that decides the outcome.

    Args:
        task: name of the task.
        options: options of the task. The content of files and modules that they name is hashed as well.
        decides: everything else that decides the outcome.
    """
    named = content_of_options(task, options or {})
    key = (task, FORMAT, versions(task, options or {}), code_of_task(task).digest, named, sorted(decides.items()))
    return sha256_of_value(key)[:32]


def _digest(arrays: dict[str, np.ndarray], details: str) -> str:
    described = [
        (repr((name, array.shape, array.dtype.str)), array.tobytes()) for name, array in sorted(arrays.items())
    ]
    return sha256(details, *(part for parts in described for part in parts))
