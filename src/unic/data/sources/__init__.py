"""Image sources: `open_source(path)` picks the file of this package that can read it."""

from __future__ import annotations

import glob
import os
import re
from pathlib import Path

from unic.data.sources.base import DamagedImageError, Source
from unic.errors import InputError, nearest

__all__ = ["DamagedImageError", "Source", "open_source"]

_SPLITS = {"train", "training", "val", "valid", "validation", "dev", "test", "testing", "eval"}
_FILES = (".parquet", ".tar")  # sets that come as files, in a folder of them
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+(:[\w.-]+)?")


def open_source(path: str, limit: int | None = None, split: str = "train", window: int = 16) -> Source:
    """Opens images by path or hub name.

    Args:
        path: a folder of images, with masks or depths beside them or not (see `dense`), a Parquet file, WebDataset
            shards (.tar), a folder or pattern of these (`*`, `{000..012}`), or `ORG/NAME[:CONFIG]` on the Hugging Face
            hub; with `stream:` before it, or as a URL of shards, it stays there (`streamed`). `{split}` stands for the
            name of the split.
        limit: a fixed random subset of so many images (`Subset`).
        split: which part of a data set that has parts (`train/` and `test/` inside a folder, `train-*.parquet`, a
            hub split). A path that names one file is taken as it is.
        window: of a streamed set, how many shards are mixed at a time and may lie on the disk, twice over.

    Raises:
        InputError: nothing there, no image in it, or no such split.
    """
    path = str(path).replace("{split}", split)
    if path.startswith("stream:") or "://" in path or path.startswith("pipe:"):
        from unic.data.sources.streamed import open_streamed

        return open_streamed(path, [path] if path.startswith("stream:") else expanded(path), split, window, limit)
    source = _open(path, split)
    if limit is None or limit >= len(source):
        return source
    from unic.data.sources.subset import Subset

    return Subset(source, limit)


def _open(path: str, split: str) -> Source:
    from unic.data.sources import dense, folder, huggingface

    place = Path(path).expanduser()
    if place.is_dir():
        pairs = dense.open_folder(path, place, split, _SPLITS)
        if pairs is not None:
            return pairs
        files = sorted(Path(at) / name for at, _, names in os.walk(place) for name in names if name.endswith(_FILES))
        for suffix in _FILES:
            chosen = [file for file in files if file.suffix == suffix]
            if chosen:
                return _open_files(path, _files_of_split(path, chosen, split))
        return folder.Folder(path, _folder_of_split(path, place, split))
    if place.is_file():
        return _open_files(path, [place])
    if glob.has_magic(path) or _RANGE.search(path):
        patterns = expanded(str(place))
        matches = [Path(match) for pattern in patterns for match in sorted(glob.glob(pattern, recursive=True))]
        for pattern in patterns:
            if not glob.glob(pattern, recursive=True):
                raise InputError(f"data '{path}': no file matches {pattern}")
        return _open_files(path, matches)
    if _HUB_NAME.fullmatch(path) and not Path(path).parent.exists():
        return huggingface.open_hub(path, split)
    raise InputError(f"data '{path}': no such file or folder{_nearest_entry(place)}")


def _open_files(path: str, files: list[Path]) -> Source:
    from unic.data.sources import huggingface, webdataset

    suffixes = {file.suffix for file in files}
    if suffixes == {".parquet"}:
        return huggingface.open_files(path, files)
    if suffixes == {".tar"}:
        return webdataset.WebDataset(path, files)
    raise InputError(f"data '{path}': expected a folder of images, .parquet files or .tar shards")


def expanded(pattern: str) -> list[str]:
    """All patterns that ranges stand for: `a-{08..10}.tar` → `a-08.tar`, `a-09.tar`, `a-10.tar`."""
    found = _RANGE.search(pattern)
    if found is None:
        return [pattern]
    first, last = found[1], found[2]
    numbers = [f"{number:0{len(first)}d}" for number in range(int(first), int(last) + 1)]
    head, tail = pattern[: found.start()], pattern[found.end() :]
    return [f"{head}{number}{rest}" for number in numbers for rest in expanded(tail)]


def _files_of_split(path: str, files: list[Path], split: str) -> list[Path]:
    """Hub convention: the split is the beginning of the file's name (`train-00000-of-00002.parquet`) or its folder."""
    found: dict[str, list[Path]] = {}
    for file in files:
        part = re.split(r"[-_.]", file.name)[0].lower()
        if part not in _SPLITS:
            part = file.parent.name.lower()
        found.setdefault(part if part in _SPLITS else "", []).append(file)
    if split in found:
        return found[split]
    if set(found) == {""} and split == "train":
        return files
    raise InputError(f"data '{path}': no split '{split}'{nearest(split, (name for name in found if name))}")


def _folder_of_split(path: str, place: Path, split: str) -> Path:
    """`place/split` if the folder is made of splits only (so that a class may still be called "train")."""
    parts = [entry.name for entry in place.iterdir() if entry.is_dir() and not entry.name.startswith(".")]
    if parts and all(part.lower() in _SPLITS for part in parts):
        if split in parts:
            return place / split
        raise InputError(f"data '{path}': no split '{split}'{nearest(split, parts)}")
    if split != "train":
        raise InputError(f"data '{path}': no split '{split}': the folder is not made of train/ and test/ subfolders")
    return place


def _nearest_entry(place: Path) -> str:
    """Ending of the error line: what in the deepest existing parent is spelled most like the missing part."""
    missing = place
    while missing.parent != missing and not missing.parent.exists():
        missing = missing.parent
    if not missing.parent.is_dir():
        return ""
    close = nearest(missing.name, (entry.name for entry in missing.parent.iterdir() if entry.name[0] != "."))
    return close if "did you mean" in close else ""  # a list of every file that happens to be there helps nobody
