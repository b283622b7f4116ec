"""Names of the splits of a set, for the line that says which of them is read."""

from __future__ import annotations

import os
from pathlib import Path

from unic.data.sample_images import placed
from unic.data.sources._hub_names import is_hub_name
from unic.data.sources._path_options import split_off
from unic.data.sources._splits import TEST, TRAIN, kind_of, split_of_file, splits_in, subfolders

_TARGETS = ("masks", "annotations", "depth")


def splits_of(path: str) -> list[str]:
    """Names of the splits of a set, sorted; empty if it has none, or if the path names files.

    Splits are found as by `open_source`: from names of folders and files, from the column `split` of a list of images,
    or from the Hugging Face hub.
    """
    from unic.data.sources import label_list

    path, options = split_off(path)
    if options.test is not None:
        return [TEST[0], TRAIN]
    path = placed(path)
    place = Path(path).expanduser()
    if place.is_dir():
        return sorted(_in_folder(place))
    if place.is_file() and place.suffix.lower() in label_list.SUFFIXES:
        return sorted(set(label_list.ListContent.read(path, place, options.columns).splits))
    name = path.removeprefix("stream:")
    is_on_the_hub = is_hub_name(name) and (name != path or not place.parent.exists())
    return sorted(on_the_hub(name)) if is_on_the_hub else []


def _in_folder(place: Path) -> set[str]:
    from unic.data.sources import saved

    if any((place / "images").is_dir() and (place / targets).is_dir() for targets in _TARGETS):
        return set(filter(kind_of, subfolders(place / "images")))
    names = filter(kind_of, subfolders(place))
    kept = saved.saved_splits(place)
    if kept is not None:
        return set(kept)
    pairs = {name for name in names for targets in _TARGETS if {"images", targets} <= set(subfolders(place / name))}
    return pairs or _of_files(place) or set(splits_in(place))


def _of_files(place: Path) -> set[str]:
    """Splits of Parquet files or shards, from the beginnings of their names, or from their folders."""
    files = [Path(at) / name for at, _, names in os.walk(place) for name in names]
    for suffix in (".parquet", ".tar"):
        chosen = [file for file in files if file.suffix == suffix]
        if chosen:
            return {split_of_file(file) for file in chosen} - {""}
    return set()


def on_the_hub(name: str) -> set[str]:
    """Splits of a set on the Hugging Face hub; empty if the hub cannot be reached."""
    from datasets import load_dataset_builder

    repository, _, config = name.partition(":")
    try:
        return set(map(str, load_dataset_builder(repository, config or None).config.data_files or {}))
    except Exception:  # offline: the set was opened from the cache, which does not tell its other splits
        return set()
