"""Image sources: `open_source(path)` picks the module of this package that can read a path."""

from __future__ import annotations

import glob
import math
import os
import re
from pathlib import Path

from unic.data.sample_images import hint, placed
from unic.data.sources import _splits
from unic.data.sources._hub_names import is_hub_name
from unic.data.sources._path_options import ColumnNames, split_off
from unic.data.sources._splits import TEST, TRAIN
from unic.data.sources.base import DamagedImageError, Source
from unic.errors import InputError, nearest

__all__ = ["TEST", "TRAIN", "DamagedImageError", "Source", "allows_overlap", "open_source"]

_FILES = (".parquet", ".tar")  # suffixes of the files that a folder may consist of
_RANGE = re.compile(r"\{(\d{1,9})\.\.(\d{1,9})\}")
_MOST = 1_000_000  # names that the ranges of a path may stand for


def open_source(path: str, limit: int | None = None, split: str | None = None, window: int = 16) -> Source:
    """Opens images by path, URL or name on the Hugging Face hub; `unic.open_source` has the kinds of paths.

    Args:
        path: as of `unic.open_source`. Code that it names must be trusted.
        limit, split: as there.
        window: number of shards of a streamed set that are mixed at a time. About twice as many are on the disk.

    Raises:
        InputError: the path does not exist, holds no image, or has no such split.
        UntrustedError: the path names code that is not trusted.
    """
    given = str(path)
    if given.startswith("generated:"):
        from unic.data.sources.generated import open_generated

        if split is not None:
            raise InputError(f"data '{given}': no split '{split}'; generated images have no splits")
        return _limited(open_generated(given), limit)
    if given.startswith("py:"):
        from unic.data.sources.own import open_own

        return _limited(open_own(given, split), limit)
    path, options = split_off(given)
    if not path or "\0" in path:
        raise InputError(f"data '{given}': expected the path of a file or folder, a URL or a name on the hub")
    path = placed(path)
    siblings = [path]
    if "{split}" in path:
        if options.test is not None:
            raise InputError(f"data '{given}': expected either {{split}} (named splits) or test= (a random split)")
        siblings = _splits.all_filled(path)
        path, split = _splits.filled(path, split or TRAIN), None
    if options.test is None:
        source = _opened(path, split, options.columns, siblings, window, limit)
    else:
        from unic.data.sources.random_split import drawn_split

        whole = _opened(path, None, options.columns, siblings, window)
        source = drawn_split(given, whole, split or TRAIN, share=options.test, seed=options.seed)
    return _limited(source, limit)


def _limited(source: Source, limit: int | None) -> Source:
    if limit is None or limit >= len(source):
        return source
    from unic.data.sources.subset import Subset

    return Subset(source, limit)


def allows_overlap(path: str) -> bool:
    """Whether a path ends in `?overlap=allow`: test images may then also be training images."""
    return split_off(path)[1].allows_overlap


def _opened(
    path: str, split: str | None, named: ColumnNames, siblings: list[str], window: int, limit: int | None = None
) -> Source:
    """Opens a path without options. `siblings`: the paths of all splits, if the path names one of them."""
    if not (path.startswith(("stream:", "pipe:")) or "://" in path):
        return _open(path, split, named, siblings)
    from unic.data.streaming.source import open_streamed

    urls = [path] if path.startswith("stream:") else expanded(path)
    return open_streamed(path, urls, split, window, limit, named)


def _open(path: str, split: str | None, named: ColumnNames, siblings: list[str]) -> Source:
    """Opens a folder, files, or a set of the hub."""
    from unic.data.sources import dense, huggingface, metadata, saved

    place = Path(os.path.expanduser(path))  # functions of `os.path` accept impossible names, methods of `Path` raise
    if os.path.isdir(place):
        pairs = dense.open_folder(path, place, split)
        if pairs is not None:
            named.refuse(path)
            return pairs
        kept = saved.open_saved(path, place, split, named)
        if kept is not None:
            return kept
        files = _files_in(place)
        if files:
            every = files if siblings == [path] else _files_of(siblings)
            return _open_files(path, _splits.files_of(path, files, split), named, every)
        folders = [Path(os.path.expanduser(sibling)) for sibling in siblings]
        return metadata.open_folder(path, place, _splits.folder_of(path, place, split), named, folders)
    if os.path.isfile(place) or glob.has_magic(path) or _RANGE.search(path):
        files = _matches(path)
        return _open_named(path, files, split, named, files if siblings == [path] else _files_of(siblings))
    if is_hub_name(path) and not os.path.exists(Path(path).parent):
        return huggingface.open_hub(path, split, named)
    raise InputError(f"data '{path}': no such file or folder{_nearest_entry(place)}{hint(path)}")


def _open_named(path: str, files: list[Path], split: str | None, named: ColumnNames, every: list[Path]) -> Source:
    """Opens the files that the user has named: all of them if `split` is None. `every`: the files of all splits."""
    from unic.data.sources import label_list

    if all(file.suffix.lower() in label_list.SUFFIXES for file in files):
        return label_list.LabelList(path, files, split, named, every)
    chosen = files if split is None else _splits.files_of(path, files, split)
    return _open_files(path, chosen, named, every)


def _open_files(path: str, files: list[Path], named: ColumnNames, every: list[Path]) -> Source:
    """Opens Parquet files or shards. `every`: the files of all splits."""
    from unic.data.sources import huggingface, label_list, webdataset

    suffixes = {file.suffix for file in files}
    if suffixes == {".parquet"}:
        return huggingface.open_files(path, files, named, every)
    if suffixes == {".tar"}:
        named.refuse(path)
        return webdataset.WebDataset(path, files)
    kinds = ", ".join(label_list.SUFFIXES)
    raise InputError(f"data '{path}': expected a folder of images, .parquet files, .tar shards or a list ({kinds})")


def _files_of(paths: list[str]) -> list[Path]:
    """The files of the paths that exist, each once."""
    files: dict[Path, None] = {}
    for path in paths:
        place = Path(os.path.expanduser(path))
        try:
            files |= dict.fromkeys(_files_in(place) if os.path.isdir(place) else _matches(path))
        except InputError:
            continue
    return list(files)


def _files_in(folder: Path) -> list[Path]:
    """The Parquet files anywhere below a folder, sorted; without Parquet files, the shards."""
    names = (Path(at) / name for at, _, names in os.walk(folder) for name in names if name.endswith(_FILES))
    files = sorted(file for file in names if file.is_file())
    return next((chosen for suffix in _FILES if (chosen := [file for file in files if file.suffix == suffix])), [])


def _matches(path: str) -> list[Path]:
    """The files that a path or a pattern names. Raises `InputError` if a pattern matches no file."""
    place = Path(os.path.expanduser(path))
    if os.path.isfile(place):
        return [place]
    files: list[Path] = []
    for pattern in expanded(str(place)):
        matches = sorted(glob.glob(pattern, recursive=True))
        if not matches:
            raise InputError(f"data '{path}': no file matches {pattern}")
        files += map(Path, matches)
    return files


def expanded(pattern: str) -> list[str]:
    """The names that the ranges of a pattern stand for: `a-{08..10}.tar` → `a-08.tar`, `a-09.tar`, `a-10.tar`.

    Raises:
        InputError: a range goes down, or the ranges stand for more than a million names.
    """
    counts = [int(last) - int(first) + 1 for first, last in _RANGE.findall(pattern)]
    if min(counts, default=1) < 1:
        raise InputError(f"data '{pattern}': expected a range that goes up, for example {{000..012}}")
    if math.prod(counts) > _MOST:
        raise InputError(f"data '{pattern}': its ranges stand for more than {_MOST:,} names")
    match = _RANGE.search(pattern)
    if match is None:
        return [pattern]
    first, last = match[1], match[2]
    numbers = [f"{number:0{len(first)}d}" for number in range(int(first), int(last) + 1)]
    head, tail = pattern[: match.start()], pattern[match.end() :]
    return [f"{head}{number}{rest}" for number in numbers for rest in expanded(tail)]


def _nearest_entry(place: Path) -> str:
    """Ending of a message about a missing path: the most similar name in the deepest folder that exists."""
    missing = place
    while missing.parent != missing and not os.path.exists(missing.parent):
        missing = missing.parent
    if not os.path.isdir(missing.parent):
        return ""
    close = nearest(missing.name, (entry.name for entry in missing.parent.iterdir() if entry.name[0] != "."))
    return close if "did you mean" in close else ""  # without a similar name, `nearest` lists the whole folder
