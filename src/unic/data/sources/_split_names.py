"""The splits of a set, by the names of its folders and files: to say so where one of several is taken."""

from __future__ import annotations

import os
from pathlib import Path

from unic.data.sample_images import placed
from unic.data.sources._hub_names import is_hub_name
from unic.data.sources._path_options import split_off
from unic.data.sources._splits import TEST, TRAIN, kind_of, split_of_file, splits_in, subfolders

_TARGETS = ("masks", "annotations", "depth")


def splits_of(path: str) -> list[str]:
    """Names of the splits that a set has; empty for a set without any, and for a path that names files.

    It looks at names and, of a list of images, at its column `split`, as `open_source` does to find a split. A set of
    the Hugging Face hub is asked there.
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
        return sorted(set(label_list.Labelled.read(path, place, options.columns).splits))
    name = path.removeprefix("stream:")
    is_on_the_hub = is_hub_name(name) and (name != path or not place.parent.exists())
    return sorted(on_the_hub(name)) if is_on_the_hub else []


def _in_folder(place: Path) -> set[str]:
    from unic.data.sources import saved

    if any((place / "images").is_dir() and (place / targets).is_dir() for targets in _TARGETS):
        return set(filter(kind_of, subfolders(place / "images")))
    names = filter(kind_of, subfolders(place))
    saved_parts = saved.parts_of(place)
    if saved_parts is not None:
        return set(saved_parts)
    pairs = {name for name in names for targets in _TARGETS if {"images", targets} <= set(subfolders(place / name))}
    return pairs or _of_files(place) or set(splits_in(place))


def _of_files(place: Path) -> set[str]:
    """Splits of Parquet files or shards: the beginnings of their names, or else their folders."""
    files = [Path(at) / name for at, _, names in os.walk(place) for name in names]
    for suffix in (".parquet", ".tar"):
        chosen = [file for file in files if file.suffix == suffix]
        if chosen:
            return {split_of_file(file) for file in chosen} - {""}
    return set()


def on_the_hub(name: str) -> set[str]:
    """Splits of a data set of the hub; empty where it cannot be asked."""
    from datasets import load_dataset_builder

    repository, _, config = name.partition(":")
    try:
        return set(map(str, load_dataset_builder(repository, config or None).config.data_files or {}))
    except Exception:  # a set that was opened from the cache; what else it has is not known here
        return set()
