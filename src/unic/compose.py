"""A recipe from a few words: `unic init` writes it with comments, `unic distill --teachers …` runs it as it is."""

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
    """The tree of a recipe; whatever is not said here has the schema's default.

    Args:
        teachers: URIs, or `NAME=URI`.
        student: a URI, as it was typed: to learn its size, code that it names is run.
        data: folders, Parquet files, shards or hub names.
        train: entries of the section `train`; None is left out.

    Raises:
        InputError: nothing given for one of the three; a student that cannot be made (views have its input's size).
    """
    for what, given in (("--teachers", teachers), ("--student", student), ("--data", data)):
        if not given:
            raise InputError(
                f"{what}: expected at least one, beside --teachers, --student and --data; or the path of a recipe"
            )
    models: dict[str, str] = {}
    for entry in teachers:
        name, uri = _named(entry)
        number = 2
        is_made = not entry.startswith(f"{name}=")
        while name in models or (is_made and name in RESERVED):
            name, number = f"{_named(entry)[0]}_{number}", number + 1
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
    """Refuses a file that is there already, or cannot be written; errors as of `write_recipe`."""
    if path.exists():
        raise InputError(f"{path}: exists already; name another file with --out")
    check_writable(path, named="--out")


def write_recipe(tree: dict[str, Any], path: Path) -> None:
    """Writes a new file with comments, which says the same as the tree; an existing one is never replaced.

    Raises:
        InputError: there is one already, this user cannot write there, or the tree is no recipe.
        StoppedError: its disk is full.
    """
    check_new(path)
    text = commented(tree)
    read = OmegaConf.to_container(OmegaConf.create(text), resolve=False)
    assert isinstance(read, dict)
    if load_recipe({str(key): value for key, value in read.items()}) != load_recipe(tree):
        raise InputError(f"{path}: not written, as YAML would not say the same; name files without special characters")
    write_text(path, text)


def _named(entry: str) -> tuple[str, str]:
    """`NAME=URI`, or a URI with a name made from it: what comes after the scheme, without folders and options."""
    head, equals, uri = entry.partition("=")
    if equals and head.replace("-", "_").isidentifier():
        return head, uri
    stem = entry.partition("?")[0].rstrip("/").rpartition("/")[2].rpartition(":")[2].partition(".")[0]
    name = re.sub(r"\W+", "_", stem) or "teacher"
    return (name if not name[0].isdigit() else f"t_{name}"), entry
