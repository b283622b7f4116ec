"""Data sets of the Hugging Face hub by name, and local Parquet files too large for memory, through `datasets`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from unic.data.decode import decode
from unic.data.sources import _splits
from unic.data.sources._pixels import check_fit, class_names, read_mask
from unic.data.sources._split_names import on_the_hub
from unic.data.sources.base import DamagedImageError, Source
from unic.data.sources.parquet import MASK, Parquet, columns, has_masks
from unic.errors import InputError

IN_MEMORY = 4 << 30  # bytes of Parquet above which `datasets` converts the files to a memory map, once


def open_files(path: str, files: Sequence[Path]) -> Source:
    """Local Parquet files with Hugging Face features."""
    if sum(file.stat().st_size for file in files) <= IN_MEMORY:
        return Parquet(path, files)
    from datasets import Dataset

    return HuggingFace(path, Dataset.from_parquet([str(file) for file in files]), files[0].parent)


def open_hub(name: str, split: str | None) -> Source:
    """A data set of the hub, `ORG/NAME` or `ORG/NAME:CONFIG`; downloaded once into the cache of `datasets`.

    Args:
        name: on the hub.
        split: a part; None: the training part.

    Raises:
        InputError: the hub has no such data set or split, or cannot be reached.
    """
    from datasets import load_dataset

    repository, _, config = name.partition(":")
    wanted = split or _splits.TRAIN
    try:
        try:
            dataset = load_dataset(repository, config or None, split=wanted)
        except ValueError:  # no such split; what its splits are called is asked only now, for that takes a while
            other = _splits.spelt(name, wanted, on_the_hub(name))
            if other in (None, wanted):
                raise
            dataset = load_dataset(repository, config or None, split=other)
    except InputError:
        raise
    except Exception as error:  # network, authorisation, missing split or config: all the user's to see, in one line
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"data '{name}': no such file or folder here, and not from the Hugging Face hub either ({reason})"
        ) from None
    return HuggingFace(name, dataset)


class HuggingFace(Source):
    """A `datasets.Dataset` on a memory map. Images stay encoded: decoding here is what finds the damaged ones.

    Args:
        path: as the user wrote it.
        dataset: with a split chosen.
        folder: where the names of the classes of its masks may stand; without them masks are left alone, as those of
            the hub are.
    """

    def __init__(self, path: str, dataset: Any, folder: Path | None = None) -> None:
        from datasets import Image as ImageFeature

        self.path = path
        features = dataset.features.to_dict()
        self._column, label, self.classes = columns(path, features, dataset.features.arrow_schema)
        if label is None and folder and has_masks(features, self._column):
            self.classes = class_names(path, folder)
            self.pixels = "masks" if self.classes else None
        kept = [self._column, MASK] if self.pixels else [self._column]
        self._dataset = dataset.select_columns(kept)
        for column in kept:
            self._dataset = self._dataset.cast_column(column, ImageFeature(decode=False))
        self._labels = None if label is None else dataset.select_columns([label]).with_format("numpy")[:][label]
        self._fingerprint = str(dataset._fingerprint)  # of the files it was built from; it has no public name

    def __len__(self) -> int:
        return len(self._dataset)

    def read(self, index: int) -> Image.Image:
        row = self._dataset[index]
        image = decode(_encoded(row[self._column]), whole=self.pixels is not None)
        if self.pixels:
            check_fit(image, read_mask(_encoded(row[MASK])), self.classes)
        return image

    def encoded(self, index: int) -> bytes | Path | None:
        return None if self.pixels else _encoded(self._dataset[index][self._column])

    def stored(self, index: int) -> bytes | Path:
        return _encoded(self._dataset[index][self._column])

    def target(self, index: int) -> np.ndarray | None:
        return read_mask(_encoded(self._dataset[index][MASK])) if self.pixels else None

    def label(self, index: int) -> int | None:
        return None if self._labels is None or self._labels[index] < 0 else int(self._labels[index])

    def name(self, index: int) -> str:
        return f"{self.path}[{index}]"

    def fingerprint(self) -> str:
        return f"{self._fingerprint}{self.classes}" if self.pixels else self._fingerprint


def _encoded(value: dict[str, Any] | None) -> bytes | Path:
    if value is None or (value["bytes"] is None and value["path"] is None):
        raise DamagedImageError("the row holds no image")
    if value["bytes"] is not None:
        return value["bytes"]
    return Path(value["path"])  # image repositories: files in the cache of `datasets`
