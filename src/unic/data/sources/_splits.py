"""Splits of a set: the spellings of their names, and the files and folders that belong to each."""

from __future__ import annotations

import glob
import logging
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path

from unic.errors import InputError, nearest

TRAIN = "train"
TEST = ("test", "val")  # splits that an evaluation measures on: the first one that exists and has labels
_SPELLINGS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing", "eval"),
}
_KINDS = {name: kind for kind, names in _SPELLINGS.items() for name in names}
_STRAY = frozenset({"__macosx", "annotations", "lost+found"})  # folders of archivers, annotators and disks

log = logging.getLogger("unic")


def kind_of(name: str) -> str | None:
    """The kind of split that a name means, in any spelling and case: `train`, `val` or `test`; None: not a split."""
    return _KINDS.get(name.lower())


def spelt(path: str, split: str, present: Iterable[str]) -> str | None:
    """The name of a split as the set spells it: the same name, else in another case, else another spelling.

    Args:
        path: as the user wrote it.
        split: name of the wanted split.
        present: names of the splits of the set.

    Returns:
        The name; None if the set has no such split.

    Raises:
        InputError: several names match.
    """
    names, kind = list(dict.fromkeys(present)), kind_of(split)
    tests: tuple[Callable[[str], bool], ...] = (
        lambda name: name == split,
        lambda name: name.lower() == split.lower(),
        lambda name: kind is not None and kind_of(name) == kind,
    )
    for is_meant in tests:
        meant = [name for name in names if is_meant(name)]
        if len(meant) > 1:
            raise InputError(f"data '{path}': split '{split}' may be {' or '.join(sorted(meant))}; name one of them")
        if meant:
            return meant[0]
    return None


def filled(path: str, split: str) -> str:
    """A path with its `{split}` replaced by a split, in the spelling of the files that exist, if any do."""
    spellings = [split, *_SPELLINGS.get(kind_of(split) or "", ())]
    cased = [change(name) for change in (str.lower, str.capitalize, str.upper) for name in spellings]
    for spelling in dict.fromkeys([split, *cased]):
        place = path.replace("{split}", spelling)
        if "://" not in place and glob.glob(re.sub(r"\{[^{}]*\}", "*", str(Path(place).expanduser()))):
            return place
    return path.replace("{split}", split)


def all_filled(path: str) -> list[str]:
    """The paths of all splits that a path with `{split}` stands for."""
    return list(dict.fromkeys(filled(path, kind) for kind in _SPELLINGS))


def files_of(path: str, files: Sequence[Path], split: str | None) -> list[Path]:
    """The files of a split: those that begin with its name (`train-00000-of-00002.parquet`) or lie in its folder.

    Args:
        path: as the user wrote it.
        files: the files of all splits.
        split: name of the wanted split; None: the training split, or all files if none belongs to a split.

    Raises:
        InputError: no file belongs to the split.
    """
    by_split: dict[str, list[Path]] = {}
    for file in files:
        by_split.setdefault(split_of_file(file), []).append(file)
    if split is None and set(by_split) == {""}:
        return list(files)
    names = [name for name in by_split if name]
    name = spelt(path, split or TRAIN, names)
    if name is None:
        raise missing(path, split or TRAIN, names, "its files do not begin with train or test")
    return by_split[name]


def split_of_file(file: Path) -> str:
    """The split that a file belongs to, by its name or folder, in lower case; empty: none."""
    names = (re.split(r"[-_.]", file.name)[0].lower(), file.parent.name.lower())
    return next((name for name in names if kind_of(name)), "")


def splits_in(folder: Path) -> list[str]:
    """Names of the subfolders that are splits, sorted; empty if the subfolders are classes (one may be "train").

    Subfolders with names of splits are splits if no others but strays such as `__MACOSX` are beside them, or if there
    are a training split and another one.
    """
    names = [name for name in subfolders(folder) if name.lower() not in _STRAY]
    splits = [name for name in names if kind_of(name)]
    kinds = {kind_of(name) for name in splits}
    return splits if splits and (len(splits) == len(names) or (TRAIN in kinds and len(kinds) > 1)) else []


def subfolders(folder: Path) -> list[str]:
    """Names of the subfolders of a folder, sorted, without hidden ones."""
    return sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def folder_of(path: str, place: Path, split: str | None) -> Path:
    """The subfolder of a split, see `splits_in`. Warns about other subfolders, which are left out.

    Args:
        path: as the user wrote it.
        place: the folder.
        split: name of the wanted split; None: the training split, or the folder itself if it has no splits.

    Raises:
        InputError: the folder has no such split.
    """
    splits = splits_in(place)
    if split is None and not splits:
        return place
    name = spelt(path, split or TRAIN, splits)
    if name is None:
        raise missing(path, split or TRAIN, splits, "the folder has no train/ and test/ subfolders")
    others = [other for other in subfolders(place) if other not in splits]
    if others:
        log.warning("data '%s': folders beside its splits are left out: %s", path, ", ".join(others))
    return place / name


def missing(path: str, split: str, present: Collection[str], reason: str) -> InputError:
    """The error for a missing split. It suggests a random split if the set has no test split at all.

    Args:
        path: as the user wrote it.
        split: name of the wanted split.
        present: names of the splits of the set.
        reason: the missing thing, if the set has no splits.
    """
    ending = nearest(split, present) if present else f": {reason}"
    has_test = any(kind_of(name) in TEST for name in present)
    offer = "" if has_test else f"; '{path}?test=0.2&seed=0' draws a random test split"
    return InputError(f"data '{path}': no split '{split}'{ending}{offer}")
