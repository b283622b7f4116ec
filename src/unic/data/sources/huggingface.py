"""Sets that the library `datasets` reads: sets of the Hugging Face hub, and Parquet files too large for memory."""

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

IN_MEMORY = 4 << 30  # bytes of Parquet files above which `datasets` converts them, once, to a memory map


def open_files(path: str, files: Sequence[Path], named: ColumnNames = UNNAMED, every: Sequence[Path] = ()) -> Source:
    """Opens local Parquet files. The arguments are those of `Parquet`."""
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
    """Opens a set of the Hugging Face hub, which is downloaded once into the cache of `datasets`.

    Args:
        name: `ORG/NAME` or `ORG/NAME:CONFIG`.
        split: name of a split; None: the training split.
        named: columns that the user has named.

    Raises:
        InputError: the hub has no such set or split, or cannot be reached.
    """
    from datasets import load_dataset

    repository, _, config = name.partition(":")
    wanted = split or _splits.TRAIN
    try:
        try:
            dataset = load_dataset(repository, config or None, split=wanted)
        except ValueError:  # no such split: only now, because it takes a while, ask for the names of all splits
            other = _splits.spelt(name, wanted, on_the_hub(name))
            if other in (None, wanted):
                raise
            dataset = load_dataset(repository, config or None, split=other)
    except InputError:
        raise
    except Exception as error:  # network, authorisation, missing split or config: the user sees each in one line
        reason = reason_of(error, 200)
        raise InputError(
            f"data '{name}': no such file or folder, and it cannot be opened on the Hugging Face hub ({reason})"
        ) from None

    def others(column: str) -> Iterator[pa.ChunkedArray]:
        for other in sorted(on_the_hub(name) - {str(dataset.split)}):
            try:
                loaded = load_dataset(repository, config or None, split=other)
            except Exception as error:  # as above
                reason = reason_of(error, 200)
                raise InputError(f"data '{name}': its split '{other}' cannot be read ({reason})") from None
            if column in loaded.column_names:
                yield loaded.select_columns([column]).with_format("arrow")[:][column]

    return HuggingFace(name, dataset, None, named, others)


class HuggingFace(Source):
    """A `datasets.Dataset` on a memory map. `read` decodes the images, not `datasets`, to notice damaged ones.

    Args:
        path: as the user wrote it.
        dataset: a split of a `datasets.DatasetDict`.
        folder: folder of a local set, for the file that names the classes of masks and for relative paths of images;
            None: a set of the hub, whose masks are ignored and whose paths lead into the cache of `datasets`.
        named: columns that the user has named.
        others: gives the values of a column in the other splits; they are classes, too, if the set declares none.

    Raises:
        InputError: a column is missing or unclear, or no image can be read.
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
        columns = choose(path, schema, features, named, lambda names: first.select_columns(names)[:].to_pydict())
        self._column, label, self.classes, self.why_unlabelled, _ = columns
        masks = mask_classes(path, folder, features, columns, named) if folder else None
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
        self._fingerprint = str(dataset._fingerprint)  # hash of the files of the set; `datasets` has no public name

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
            return Path(value["path"])  # repositories of image files: a file in the cache of `datasets`
        return _image_paths.checked(_image_paths.find(value["path"], self._folders))
