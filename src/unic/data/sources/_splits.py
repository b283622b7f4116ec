"""Names of the parts of a set, and which files and folders are a part."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from unic.errors import InputError, nearest

NAMES = {"train", "training", "val", "valid", "validation", "dev", "test", "testing", "eval"}
TRAIN = "train"
TEST = ("test", "val", "validation")  # what an evaluation may be measured on, the first that is there


def files_of(path: str, files: Sequence[Path], split: str | None) -> list[Path]:
    """The files of one part: its name begins theirs (`train-00000-of-00002.parquet`) or is that of their folder.

    Args:
        path: as the user wrote it.
        files: of all parts.
        split: a part; None: the training part, or all files where no name has a part in it.

    Raises:
        InputError: none of the files belongs to the part.
    """
    found: dict[str, list[Path]] = {}
    for file in files:
        part = re.split(r"[-_.]", file.name)[0].lower()
        if part not in NAMES:
            part = file.parent.name.lower()
        found.setdefault(part if part in NAMES else "", []).append(file)
    if split is None and set(found) == {""}:
        return list(files)
    wanted = split or TRAIN
    if wanted in found:
        return found[wanted]
    raise missing(path, wanted, [name for name in found if name], "no name of its files says train or test")


def folder_of(path: str, place: Path, split: str | None) -> Path:
    """`place/split` if the folder is made of parts only (so that a class may still be called "train").

    Args:
        path: as the user wrote it.
        place: the folder.
        split: a part; None: the training part, or the folder itself where it has none.

    Raises:
        InputError: the folder has no such part.
    """
    parts = [entry.name for entry in place.iterdir() if entry.is_dir() and not entry.name.startswith(".")]
    if not parts or not all(part.lower() in NAMES for part in parts):
        parts = []
    if split is None and not parts:
        return place
    wanted = split or TRAIN
    if wanted in parts:
        return place / wanted
    raise missing(path, wanted, parts, "the folder is not made of train/ and test/ subfolders")


def missing(path: str, split: str, found: Collection[str], reason: str) -> InputError:
    """The one line for a part that is not there; it offers a random one where the set has no test part at all.

    Args:
        path, split: as asked for.
        found: the parts that are there.
        reason: what a set without parts lacks.
    """
    ending = nearest(split, found) if found else f": {reason}"
    return InputError(f"data '{path}': no split '{split}'{ending}{'' if _has_test(found) else _offer(path)}")


def _has_test(found: Iterable[str]) -> bool:
    return any(name in TEST for name in found)


def _offer(path: str) -> str:
    return f"; '{path}?test=0.2&seed=0' draws a test part at random"
