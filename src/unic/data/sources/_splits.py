"""Names of the splits of a set, as people spell them, and which files and folders are a split."""

from __future__ import annotations

import glob
import logging
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path

from unic.errors import InputError, nearest

TRAIN = "train"
TEST = ("test", "val")  # what an evaluation may be measured on, the first that is there and has labels
_SPELLINGS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing", "eval"),
}
_KINDS = {name: kind for kind, names in _SPELLINGS.items() for name in names}
_STRAY = frozenset({"__macosx", "annotations", "lost+found"})  # what archivers, annotators and disks leave behind

log = logging.getLogger("unic")


def kind_of(name: str) -> str | None:
    """`train`, `val` or `test`, however it is spelt and in any case; None: no name of a split."""
    return _KINDS.get(name.lower())


def spelt(path: str, split: str, found: Iterable[str]) -> str | None:
    """The name among those found that means a split: the name itself, in any case, or else one of its spellings.

    Args:
        path: as the user wrote it.
        split: as asked for.

    Returns:
        None where there is no such split.

    Raises:
        InputError: several names mean it.
    """
    names, kind = list(dict.fromkeys(found)), kind_of(split)
    tests: tuple[Callable[[str], bool], ...] = (
        lambda name: name == split,
        lambda name: name.lower() == split.lower(),
        lambda name: kind is not None and kind_of(name) == kind,
    )
    for is_meant in tests:
        meant = [name for name in names if is_meant(name)]
        if len(meant) > 1:
            raise InputError(f"data '{path}': {' and '.join(sorted(meant))} may both be '{split}'; name one of them")
        if meant:
            return meant[0]
    return None


def filled(path: str, split: str) -> str:
    """A path with `{split}` in it, for a split: as asked for, or in the spelling of the files that are there."""
    spellings = [split, *_SPELLINGS.get(kind_of(split) or "", ())]
    cased = [change(name) for change in (str.lower, str.capitalize, str.upper) for name in spellings]
    for spelling in dict.fromkeys([split, *cased]):
        place = path.replace("{split}", spelling)
        if "://" not in place and glob.glob(re.sub(r"\{[^{}]*\}", "*", str(Path(place).expanduser()))):
            return place
    return path.replace("{split}", split)


def all_filled(path: str) -> list[str]:
    """The paths of all parts that a path with `{split}` in it stands for."""
    return list(dict.fromkeys(filled(path, kind) for kind in _SPELLINGS))


def files_of(path: str, files: Sequence[Path], split: str | None) -> list[Path]:
    """The files of one split: its name begins theirs (`train-00000-of-00002.parquet`) or is that of their folder.

    Args:
        path: as the user wrote it.
        files: of all splits.
        split: the one that is wanted; None: the training split, or all files where no name has a split in it.

    Raises:
        InputError: none of the files belongs to the split.
    """
    found: dict[str, list[Path]] = {}
    for file in files:
        found.setdefault(split_of_file(file), []).append(file)
    if split is None and set(found) == {""}:
        return list(files)
    names = [name for name in found if name]
    name = spelt(path, split or TRAIN, names)
    if name is None:
        raise missing(path, split or TRAIN, names, "no name of its files says train or test")
    return found[name]


def split_of_file(file: Path) -> str:
    """The split that a file's name or folder says, in lower case; empty: none."""
    names = (re.split(r"[-_.]", file.name)[0].lower(), file.parent.name.lower())
    return next((name for name in names if kind_of(name)), "")


def splits_in(folder: Path) -> list[str]:
    """Names of the subfolders that are splits, sorted; empty where they are classes, one of which may be "train".

    They are splits where nothing else lies beside them but strays such as `__MACOSX`, or where both a training and
    another split are there.
    """
    names = [name for name in subfolders(folder) if name.lower() not in _STRAY]
    splits = [name for name in names if kind_of(name)]
    kinds = {kind_of(name) for name in splits}
    return splits if splits and (len(splits) == len(names) or (TRAIN in kinds and len(kinds) > 1)) else []


def subfolders(folder: Path) -> list[str]:
    """Names of the folders in a folder, sorted, without hidden ones."""
    return sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def folder_of(path: str, place: Path, split: str | None) -> Path:
    """The subfolder of a split, see `splits_in`. Folders beside the splits that are left out are named in a warning.

    Args:
        path: as the user wrote it.
        place: the folder.
        split: the one that is wanted; None: the training split, or the folder itself where it has none.

    Raises:
        InputError: the folder has no such split.
    """
    splits = splits_in(place)
    if split is None and not splits:
        return place
    name = spelt(path, split or TRAIN, splits)
    if name is None:
        raise missing(path, split or TRAIN, splits, "the folder is not made of train/ and test/ subfolders")
    others = [other for other in subfolders(place) if other not in splits]
    if others:
        log.warning("data '%s': folders beside its splits are left out: %s", path, ", ".join(others))
    return place / name


def missing(path: str, split: str, found: Collection[str], reason: str) -> InputError:
    """The one line for a split that is not there; it offers a random one where the set has no test split at all.

    Args:
        path, split: as asked for.
        found: the splits that are there.
        reason: what a set without splits lacks.
    """
    ending = nearest(split, found) if found else f": {reason}"
    return InputError(f"data '{path}': no split '{split}'{ending}{'' if _has_test(found) else _offer(path)}")


def _has_test(found: Iterable[str]) -> bool:
    return any(kind_of(name) in TEST for name in found)


def _offer(path: str) -> str:
    return f"; '{path}?test=0.2&seed=0' draws a test part at random"
