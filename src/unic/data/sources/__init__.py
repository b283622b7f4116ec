"""Image sources: `open_source(path)` picks the file of this package that can read it."""

from __future__ import annotations

import glob
import math
import os
import re
from pathlib import Path

from unic.data.sources import _splits
from unic.data.sources._path_options import split_off
from unic.data.sources._splits import TEST, TRAIN
from unic.data.sources.base import DamagedImageError, Source
from unic.errors import InputError, nearest

__all__ = ["TEST", "TRAIN", "DamagedImageError", "Source", "allows_overlap", "open_source"]

_FILES = (".parquet", ".tar")  # sets that come as files, in a folder of them
_RANGE = re.compile(r"\{(\d{1,9})\.\.(\d{1,9})\}")
_MOST = 1_000_000  # names that ranges may stand for
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+(:[\w.-]+)?")


def open_source(path: str, limit: int | None = None, split: str | None = None, window: int = 16) -> Source:
    """Opens images by path or hub name.

    Args:
        path: a folder of images, with masks or depths beside them or not (see `dense`), a Parquet file, WebDataset
            shards (.tar), a folder or pattern of these (`*`, `{000..012}`), or `ORG/NAME[:CONFIG]` on the Hugging Face
            hub; with `stream:` before it, or as a URL of shards, it stays there (`streamed`); `generated:FAMILY` draws
            images (`generated`). `{split}` stands for the name of the part. With `?test=0.2&seed=0` at its end a test
            part is drawn at random (`random_split`).
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
    if "{split}" in path:
        if options.test is not None:
            raise InputError(f"data '{given}': expected either {{split}}, the name of a part, or test=, a random one")
        path, split = _splits.filled(path, split or TRAIN), None
    if options.test is not None:
        from unic.data.sources.random_split import drawn_part

        whole = open_source(path, window=window)
        source: Source = drawn_part(given, whole, split or TRAIN, share=options.test, seed=options.seed)
    elif path.startswith("stream:") or "://" in path or path.startswith("pipe:"):
        from unic.data.sources.streamed import open_streamed

        return open_streamed(path, [path] if path.startswith("stream:") else expanded(path), split, window, limit)
    else:
        source = _open(path, split)
    return _limited(source, limit)


def _limited(source: Source, limit: int | None) -> Source:
    if limit is None or limit >= len(source):
        return source
    from unic.data.sources.subset import Subset

    return Subset(source, limit)


def allows_overlap(path: str) -> bool:
    """Whether a path ends in `?overlap=allow`: a test image may then be a training image too."""
    return split_off(path)[1].allows_overlap


def _open(path: str, split: str | None) -> Source:
    from unic.data.sources import dense, folder, huggingface

    place = Path(os.path.expanduser(path))  # these of `os.path` answer for impossible names too
    if os.path.isdir(place):
        pairs = dense.open_folder(path, place, split)
        if pairs is not None:
            return pairs
        named = (Path(at) / name for at, _, names in os.walk(place) for name in names if name.endswith(_FILES))
        files = sorted(file for file in named if file.is_file())
        for suffix in _FILES:
            chosen = [file for file in files if file.suffix == suffix]
            if chosen:
                return _open_files(path, _splits.files_of(path, chosen, split))
        return folder.Folder(path, _splits.folder_of(path, place, split))
    if os.path.isfile(place):
        return _open_named(path, [place], split)
    if glob.has_magic(path) or _RANGE.search(path):
        patterns = expanded(str(place))
        matches: list[Path] = []
        for pattern in patterns:
            found = sorted(glob.glob(pattern, recursive=True))
            if not found:
                raise InputError(f"data '{path}': no file matches {pattern}")
            matches += map(Path, found)
        return _open_named(path, matches, split)
    if _HUB_NAME.fullmatch(path) and not os.path.exists(Path(path).parent):
        return huggingface.open_hub(path, split)
    raise InputError(f"data '{path}': no such file or folder{_nearest_entry(place)}")


def _open_named(path: str, files: list[Path], split: str | None) -> Source:
    """Files that the user has named are all wanted, unless a part of them is asked for."""
    return _open_files(path, files if split is None else _splits.files_of(path, files, split))


def _open_files(path: str, files: list[Path]) -> Source:
    from unic.data.sources import huggingface, webdataset

    suffixes = {file.suffix for file in files}
    if suffixes == {".parquet"}:
        return huggingface.open_files(path, files)
    if suffixes == {".tar"}:
        return webdataset.WebDataset(path, files)
    raise InputError(f"data '{path}': expected a folder of images, .parquet files or .tar shards")


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
