"""Data sets of the Hugging Face hub by name, and local Parquet files too large for memory, through `datasets`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from unic.data.decode import decode
from unic.data.sources import _image_paths, _label_values, _splits
from unic.data.sources._columns import MASK, SAMPLE, choose, mask_classes
from unic.data.sources._parquet_files import check_parquet, read_column, schema_of
from unic.data.sources._path_options import UNNAMED, ColumnNames
from unic.data.sources._split_names import on_the_hub
from unic.data.sources._targets import check_fit, read_mask
from unic.data.sources.base import DamagedImageError, Source
from unic.data.sources.parquet import Parquet
from unic.errors import InputError, reason_of

IN_MEMORY = 4 << 30  # bytes of Parquet above which `datasets` converts the files to a memory map, once


def open_files(path: str, files: Sequence[Path], named: ColumnNames = UNNAMED, every: Sequence[Path] = ()) -> Source:
    """Local Parquet files; for the arguments see `Parquet`."""
    if sum(file.stat().st_size for file in files) <= IN_MEMORY:
        return Parquet(path, files, named, every)
    from datasets import Dataset

    def others(column: str) -> Iterator[pa.ChunkedArray]:
        for file in every:
            if file not in files and column in schema_of(file).names:
                check_parquet(path, file)
                yield read_column(path, file, column).column(0)

    return HuggingFace(path, Dataset.from_parquet([str(file) for file in files]), files[0].parent, named, others)


def open_hub(name: str, split: str | None, named: ColumnNames = UNNAMED) -> Source:
    """A data set of the hub, `ORG/NAME` or `ORG/NAME:CONFIG`; downloaded once into the cache of `datasets`.

    Args:
        name: on the hub.
        split: a part; None: the training part.
        named: columns that the user has named.

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
        reason = reason_of(error, 200)
        raise InputError(
            f"data '{name}': no such file or folder here, and not from the Hugging Face hub either ({reason})"
        ) from None

    def others(column: str) -> Iterator[pa.ChunkedArray]:
        for part in sorted(on_the_hub(name) - {str(dataset.split)}):
            try:
                found = load_dataset(repository, config or None, split=part)
            except Exception as error:  # as above
                reason = reason_of(error, 200)
                raise InputError(f"data '{name}': its part {part} cannot be read ({reason})") from None
            if column in found.column_names:
                yield found.select_columns([column]).with_format("arrow")[:][column]

    return HuggingFace(name, dataset, None, named, others)


class HuggingFace(Source):
    """A `datasets.Dataset` on a memory map. Images stay encoded: decoding here is what finds the damaged ones.

    Args:
        path: as the user wrote it.
        dataset: with a split chosen.
        folder: of a set on this machine: where the names of the classes of its masks may stand, and relative paths of
            images start. Of a set of the hub masks are left alone, and paths are those of the cache.
        named: columns that the user has named.
        others: the values of a column in the other parts, which together are the classes where none are declared.
    """

    def __init__(
        self,
        path: str,
        dataset: Any,
        folder: Path | None = None,
        named: ColumnNames = UNNAMED,
        others: Callable[[str], Iterable[pa.ChunkedArray]] = lambda column: (),
    ) -> None:
        from datasets import Image as ImageFeature

        self.path = path
        features, schema = dataset.features.to_dict(), dataset.features.arrow_schema
        first = dataset.select(range(min(SAMPLE, len(dataset)))).with_format("arrow")
        found = choose(path, schema, features, named, lambda names: first.select_columns(names)[:].to_pydict())
        self._column, label, self.classes, self.why_unlabelled, _ = found
        masks = mask_classes(path, folder, features, found, named) if folder else None
        if masks is not None:
            self.classes, self.pixels, label = masks, "masks", None
        kept = [self._column, MASK] if self.pixels else [self._column]
        self._dataset = dataset.select_columns(kept)
        for column in kept:
            self._dataset = self._dataset.cast_column(column, ImageFeature(decode=False))
        self._labels: np.ndarray | None = None
        if label is not None:
            labels = dataset.select_columns([label])
            if self.classes is not None:
                self._labels = labels.with_format("numpy")[:][label]
            else:
                own = labels.with_format("arrow")[:][label]
                self.classes, self._labels, self.why_unlabelled = _label_values.class_labels(label, own, others(label))
        self._folders = None if folder is None else _image_paths.search_order(folder / "any")
        if self._folders is not None:
            values = first.select_columns([self._column])[:].to_pydict()[self._column]
            _image_paths.check_some(path, self._column, values, self._folders)
        self._fingerprint = str(dataset._fingerprint)  # of the files it was built from; it has no public name

    def __len__(self) -> int:
        return len(self._dataset)

    def read(self, index: int) -> Image.Image:
        row = self._dataset[index]
        image = decode(self._encoded(row[self._column]), whole=self.pixels is not None)
        if self.pixels:
            check_fit(image, read_mask(self._encoded(row[MASK])), self.classes)
        return image

    def encoded(self, index: int) -> bytes | Path | None:
        return None if self.pixels else self._encoded(self._dataset[index][self._column])

    def stored(self, index: int) -> bytes | Path:
        return self._encoded(self._dataset[index][self._column])

    def target(self, index: int) -> np.ndarray | None:
        return read_mask(self._encoded(self._dataset[index][MASK])) if self.pixels else None

    def label(self, index: int) -> int | None:
        return None if self._labels is None or self._labels[index] < 0 else int(self._labels[index])

    def name(self, index: int) -> str:
        return f"{self.path}[{index}]"

    def fingerprint(self) -> str:
        return f"{self._fingerprint}{self.classes}" if self.pixels else self._fingerprint

    def _encoded(self, value: dict[str, Any] | None) -> bytes | Path:
        if value is None or (value["bytes"] is None and value["path"] is None):
            raise DamagedImageError("the row holds no image")
        if value["bytes"] is not None:
            return value["bytes"]
        if self._folders is None:
            return Path(value["path"])  # image repositories: files in the cache of `datasets`
        return _image_paths.checked(_image_paths.find(value["path"], self._folders))
