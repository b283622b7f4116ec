"""Image sources: `open_source(path)` picks the file of this package that can read it."""

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

_FILES = (".parquet", ".tar")  # sets that come as files, in a folder of them
_RANGE = re.compile(r"\{(\d{1,9})\.\.(\d{1,9})\}")
_MOST = 1_000_000  # names that ranges may stand for


def open_source(path: str, limit: int | None = None, split: str | None = None, window: int = 16) -> Source:
    """Opens images by path or hub name.

    Args:
        path: a folder of images, with masks or depths beside them (`dense`), a list of labels (`metadata`) or neither;
            a Parquet file, WebDataset shards (.tar), a folder or pattern of these (`*`, `{000..012}`); a list of images
            (`label_list`); a folder of `save_to_disk` (`saved`); `ORG/NAME[:CONFIG]` on the Hugging Face hub; with
            `stream:` before it, or as a URL of shards, it stays there (`streamed`); `generated:FAMILY` draws images
            (`generated`). `{split}` stands for the name of the part. At its end `?test=0.2&seed=0` draws a test part
            at random (`random_split`), and `?image=COLUMN&label=COLUMN` name the columns of a table. `samples/…` that
            is not in the working folder is looked for where `UNIC_SAMPLES` says, or in the checkout.
        limit: a fixed random subset of so many images (`Subset`).
        split: a part of a set that has parts (`train/` and `test/` inside a folder, `train-*.parquet`, a hub split).
            None: what there is to train on, which is the training part, or all of a set without parts, of one file,
            or of the files that a pattern names.
        window: of a streamed set, how many shards are mixed at a time and may lie on the disk, twice over.

    Raises:
        InputError: nothing there, no image in it, or no such part.
    """
    given = str(path)
    if given.startswith("generated:"):
        from unic.data.sources.generated import open_generated

        if split is not None:
            raise InputError(f"data '{given}': generated images have no parts, and no part '{split}'")
        return _limited(open_generated(given), limit)
    path, options = split_off(given)
    if not path or "\0" in path:
        raise InputError(f"data '{given}': expected the path of a file or folder, a URL or a name on the hub")
    path = placed(path)
    parts = [path]
    if "{split}" in path:
        if options.test is not None:
            raise InputError(f"data '{given}': expected either {{split}}, the name of a part, or test=, a random one")
        parts = _splits.all_filled(path)
        path, split = _splits.filled(path, split or TRAIN), None
    if options.test is None:
        source = _opened(path, split, options.columns, parts, window, limit)
    else:
        from unic.data.sources.random_split import drawn_part

        whole = _opened(path, None, options.columns, parts, window)
        source = drawn_part(given, whole, split or TRAIN, share=options.test, seed=options.seed)
    return _limited(source, limit)


def _limited(source: Source, limit: int | None) -> Source:
    if limit is None or limit >= len(source):
        return source
    from unic.data.sources.subset import Subset

    return Subset(source, limit)


def allows_overlap(path: str) -> bool:
    """Whether a path ends in `?overlap=allow`: a test image may then be a training image too."""
    return split_off(path)[1].allows_overlap


def _opened(
    path: str, split: str | None, named: ColumnNames, parts: list[str], window: int, limit: int | None = None
) -> Source:
    """A set without options in its path. `parts`: the paths of all its parts, where it is one of several."""
    if not (path.startswith(("stream:", "pipe:")) or "://" in path):
        return _open(path, split, named, parts)
    from unic.data.streaming.source import open_streamed

    urls = [path] if path.startswith("stream:") else expanded(path)
    return open_streamed(path, urls, split, window, limit, named)


def _open(path: str, split: str | None, named: ColumnNames, parts: list[str]) -> Source:
    from unic.data.sources import dense, huggingface, metadata, saved

    place = Path(os.path.expanduser(path))  # these of `os.path` answer for impossible names too
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
            every = files if parts == [path] else _files_of(parts)
            return _open_files(path, _splits.files_of(path, files, split), named, every)
        folders = [Path(os.path.expanduser(part)) for part in parts]
        return metadata.open_folder(path, place, _splits.folder_of(path, place, split), named, folders)
    if os.path.isfile(place) or glob.has_magic(path) or _RANGE.search(path):
        files = _matches(path)
        return _open_named(path, files, split, named, files if parts == [path] else _files_of(parts))
    if is_hub_name(path) and not os.path.exists(Path(path).parent):
        return huggingface.open_hub(path, split, named)
    raise InputError(f"data '{path}': no such file or folder{_nearest_entry(place)}{hint(path)}")


def _open_named(path: str, files: list[Path], split: str | None, named: ColumnNames, every: list[Path]) -> Source:
    """Files that the user has named are all wanted, unless a part of them is asked for."""
    from unic.data.sources import label_list

    if all(file.suffix.lower() in label_list.SUFFIXES for file in files):
        return label_list.LabelList(path, files, split, named, every)
    chosen = files if split is None else _splits.files_of(path, files, split)
    return _open_files(path, chosen, named, every)


def _open_files(path: str, files: list[Path], named: ColumnNames, every: list[Path]) -> Source:
    from unic.data.sources import huggingface, label_list, webdataset

    suffixes = {file.suffix for file in files}
    if suffixes == {".parquet"}:
        return huggingface.open_files(path, files, named, every)
    if suffixes == {".tar"}:
        named.refuse(path)
        return webdataset.WebDataset(path, files)
    kinds = ", ".join(label_list.SUFFIXES)
    raise InputError(f"data '{path}': expected a folder of images, .parquet files, .tar shards or a list ({kinds})")


def _files_of(parts: list[str]) -> list[Path]:
    """The files of all parts of a set, of those that are there."""
    found: dict[Path, None] = {}
    for part in parts:
        place = Path(os.path.expanduser(part))
        try:
            found |= dict.fromkeys(_files_in(place) if os.path.isdir(place) else _matches(part))
        except InputError:
            continue
    return list(found)


def _files_in(folder: Path) -> list[Path]:
    """The Parquet files anywhere in a folder, or the shards where there are none of these."""
    names = (Path(at) / name for at, _, names in os.walk(folder) for name in names if name.endswith(_FILES))
    files = sorted(file for file in names if file.is_file())
    return next((chosen for suffix in _FILES if (chosen := [file for file in files if file.suffix == suffix])), [])


def _matches(path: str) -> list[Path]:
    """The files that a path or a pattern names. Raises `InputError` where one names none."""
    place = Path(os.path.expanduser(path))
    if os.path.isfile(place):
        return [place]
    matches: list[Path] = []
    for pattern in expanded(str(place)):
        found = sorted(glob.glob(pattern, recursive=True))
        if not found:
            raise InputError(f"data '{path}': no file matches {pattern}")
        matches += map(Path, found)
    return matches


def expanded(pattern: str) -> list[str]:
    """All patterns that ranges stand for: `a-{08..10}.tar` → `a-08.tar`, `a-09.tar`, `a-10.tar`.

    Raises:
        InputError: more than a million.
    """
    counts = [int(last) - int(first) + 1 for first, last in _RANGE.findall(pattern)]
    if min(counts, default=1) < 1:
        raise InputError(f"data '{pattern}': expected a range that goes up, for example {{000..012}}")
    if math.prod(counts) > _MOST:
        raise InputError(f"data '{pattern}': its ranges stand for more than {_MOST:,} names")
    found = _RANGE.search(pattern)
    if found is None:
        return [pattern]
    first, last = found[1], found[2]
    numbers = [f"{number:0{len(first)}d}" for number in range(int(first), int(last) + 1)]
    head, tail = pattern[: found.start()], pattern[found.end() :]
    return [f"{head}{number}{rest}" for number in numbers for rest in expanded(tail)]


def _nearest_entry(place: Path) -> str:
    """Ending of the error line: what in the deepest existing parent is spelled most like the missing part."""
    missing = place
    while missing.parent != missing and not os.path.exists(missing.parent):
        missing = missing.parent
    if not os.path.isdir(missing.parent):
        return ""
    close = nearest(missing.name, (entry.name for entry in missing.parent.iterdir() if entry.name[0] != "."))
    return close if "did you mean" in close else ""  # a list of every file that happens to be there helps nobody
