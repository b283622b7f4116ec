"""Evaluation sets by name, one file each; a set that is given by its path needs no file. A file holds

- `load(root, *, download=False, **options) -> DataPair`: opens the set below `root`, which has a folder for each set.
  With `download` it may fetch the images first. If they are missing, it raises an `InputError` that says what to put
  where.
- `load_train(root) -> Source`, optional: opens the training part alone, without the test part.
- `COUNTS`: published numbers `(train, test, classes)`, which are verified when the set is opened; None if nothing is
  published.
- `OVERLAPS`: True if the training and test part may share images; otherwise shared images are refused. In the sets of
  this package they are not searched for: the publishers' parts are used as they are.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from unic import lookup
from unic.arguments import argument
from unic.data.sources import Source, allows_overlap, open_source
from unic.data.sources._path_options import COMPUTED
from unic.errors import InputError, nearest
from unic.eval.datasets._overlap import refuse_overlap
from unic.eval.datasets.base import DataPair, limited, open_pair

__all__ = ["DataPair", "check_name", "data_root", "open_pair", "open_train", "resolve"]

_TITLE = "without slashes, line breaks or outer spaces"


def data_root() -> Path:
    """Folder of the data sets: `$UNIC_DATA`, else `data/` in the working folder."""
    return Path(os.environ.get("UNIC_DATA") or "data").expanduser()


def check_name(spec: str) -> None:
    """Refuses a text that names no set, or a set in a module that is not trusted. Does not look for images.

    Args:
        spec: see `resolve`.

    Raises:
        InputError: unknown set.
        UntrustedError: the module of the set is not trusted.
    """
    if _own(spec):
        return
    name = spec.partition("?")[0]
    if name not in _shipped() and "." not in name:
        raise InputError(f"unknown evaluation set '{name}'{nearest(name, _shipped())}; use NAME=PATH for your own")
    lookup.check_name(__name__, name)


def resolve(
    spec: str,
    *,
    max_train: int | None = None,
    max_test: int | None = None,
    root: Path | None = None,
    download: bool = False,
    opens_images: bool = True,
) -> DataPair:
    """The set that `spec` stands for.

    Args:
        spec: the name of a set in this package with its options (`cog?level=3`), `NAME=PATH` with a path for
            `open_pair`, or a dotted module.
        max_train, max_test: largest number of images of each part; larger parts are replaced by a fixed random subset.
        root: folder of the sets, default `data_root()`.
        download: fetch missing images if the publisher allows it.
        opens_images: compare the stored bytes of training and test images. False: only names and labels are read.

    Raises:
        InputError: no such set, its images are missing or not labelled, their number is not the published one, or a
            test image of a user's own set is a training image too.
    """
    if own := _own(spec):
        pair = open_pair(*own).limited(max_train, max_test)
        if opens_images and not allows_overlap(own[1]):
            is_computed = own[1].startswith(COMPUTED)  # its options are arguments of a function
            remedy = "use an evaluation set with OVERLAPS = True" if is_computed else "add ?overlap=allow to the path"
            refuse_overlap(pair, remedy)
        return pair
    pair = _load(spec, root or data_root(), download).limited(max_train, max_test)
    name = spec.partition("?")[0]
    if opens_images and not getattr(lookup.module(__name__, name), "OVERLAPS", name in _shipped()):
        refuse_overlap(pair, f"set OVERLAPS = True in {name}")
    return pair


def open_train(spec: str, *, limit: int | None = None, root: Path | None = None) -> tuple[str, Source]:
    """The name of a set and its training part. No test image is read. For a set with `load_train`, and for `NAME=PATH`,
    the test part is not opened either.

    Args:
        spec, root: see `resolve`.
        limit: largest number of images; a larger part is replaced by a fixed random subset.

    Raises:
        InputError: as `resolve`.
    """
    if own := _own(spec):
        name, path = own
        return name, limited(open_source(path, split="train"), limit)
    root = root or data_root()
    load_train = getattr(lookup.module(__name__, spec), "load_train", None) if spec in _shipped() else None
    if load_train is not None:
        return spec, limited(load_train(root), limit)
    pair = _load(spec, root, download=False)
    return pair.name, limited(pair.train, limit)


def _own(spec: str) -> tuple[str, str] | None:
    """Name and path where `spec` is `NAME=PATH`."""
    name, equals, path = spec.partition("=")
    if not equals or "?" in name:
        return None
    if not name or not path:
        raise InputError(f"data '{spec}': expected NAME=PATH")
    if not _is_title(name):
        raise InputError(f"data {spec!r}: expected NAME=PATH with a name {_TITLE}")
    return name, path


def _is_title(name: str) -> bool:
    """Whether a name may stand in the titles of rows, which are SET/TASK."""
    return bool(name) and "/" not in name and name.isprintable() and name == name.strip()


def _shipped() -> list[str]:
    return [entry for entry in lookup.names(__name__) if entry != "base"]


def _load(spec: str, root: Path, download: bool) -> DataPair:
    name, _, query = spec.partition("?")
    check_name(name)
    load = lookup.entry(__name__, name, "load")
    options: dict[str, Any] = dict(parse_qsl(query, keep_blank_values=True))
    if "download" in options:
        raise InputError(f"data '{spec}': 'download' is no option of a set; use {argument('download', True)}")
    lookup.check_options(load, options, f"data '{name}'", passed=["download"])
    pair: DataPair = load(root, download=download, **options)
    if not _is_title(pair.name):
        raise InputError(f"data '{spec}': its module names the set {pair.name!r}; expected a name {_TITLE}")
    counts = getattr(lookup.module(__name__, name), "COUNTS", None)
    if counts is not None:
        _verify(pair, counts)
    return pair


def _verify(pair: DataPair, counts: tuple[int, int, int]) -> None:
    found = (len(pair.train), len(pair.test), len(pair.classes))
    if found != counts:
        wanted = "expected {} training and {} test images of {} classes".format(*counts)
        raise InputError(f"data '{pair.name}': {wanted}, not {found[0]}, {found[1]} and {found[2]}")
