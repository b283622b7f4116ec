"""A recipe made of teachers, student and images: `unic init` writes it, `unic distill --teachers …` runs it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from unic.encoders import input_size
from unic.errors import InputError
from unic.files import write_text
from unic.outputs import check_writable
from unic.recipe.schema import RESERVED, load_recipe
from unic.recipe.text import commented
from unic.trust import trusting


def compose(teachers: Sequence[str], student: str, data: Sequence[str], **train: Any) -> dict[str, Any]:
    """The tree of a recipe. Keys that are not given here keep the schema's defaults.

    Args:
        teachers: URIs, or `NAME=URI`.
        student: a URI that the user typed. Code that it names runs here, to find the input size.
        data: folders, Parquet files, shards or hub names.
        train: entries of the section `train`; None values are left out.

    Raises:
        InputError: one of the three is empty, or the student, whose input size the views get, cannot be built.
    """
    for what, given in (("--teachers", teachers), ("--student", student), ("--data", data)):
        if not given:
            raise InputError(
                f"{what}: expected at least one; without a recipe, --teachers, --student and --data are all needed"
            )
    models: dict[str, str] = {}
    for entry in teachers:
        name, uri = _named(entry)
        suffix = 2
        is_made = not entry.startswith(f"{name}=")
        while name in models or (is_made and name in RESERVED):
            name, suffix = f"{_named(entry)[0]}_{suffix}", suffix + 1
        models[name] = uri
    chosen = {key: value for key, value in train.items() if value is not None}
    with trusting(student):
        size = max(input_size(student))
    return {
        "seed": 0,
        "teachers": {"models": models},
        "student": {"model": student},
        "data": {"train": [{"path": path} for path in data], "size": size},
        **({"train": chosen} if chosen else {}),
    }


def check_new(path: Path) -> None:
    """Refuses a file that exists or cannot be written. Errors are those of `write_recipe`."""
    if path.exists():
        raise InputError(f"{path}: exists already; name another file with --out")
    check_writable(path, named="--out")


def write_recipe(tree: dict[str, Any], path: Path) -> None:
    """Writes the tree of a recipe as a new YAML file with comments. An existing file is never replaced.

    Raises:
        InputError: the file exists, this user cannot write there, or the tree is not a valid recipe.
        StoppedError: the disk is full.
    """
    check_new(path)
    text = commented(tree)
    read = OmegaConf.to_container(OmegaConf.create(text), resolve=False)
    assert isinstance(read, dict)
    if load_recipe({str(key): value for key, value in read.items()}) != load_recipe(tree):
        raise InputError(
            f"{path}: not written, because YAML changes a name in it; use file names without special characters"
        )
    write_text(path, text)


def _named(entry: str) -> tuple[str, str]:
    """Name and URI of `NAME=URI`. A bare URI is named by its last part, without scheme, folders and options."""
    head, equals, uri = entry.partition("=")
    if equals and head.replace("-", "_").isidentifier():
        return head, uri
    stem = entry.partition("?")[0].rstrip("/").rpartition("/")[2].rpartition(":")[2].partition(".")[0]
    name = re.sub(r"\W+", "_", stem) or "teacher"
    return (name if not name[0].isdigit() else f"t_{name}"), entry
