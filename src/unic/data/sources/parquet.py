"""Local Parquet files with a column of images, as bytes or as paths, and maybe a label column (`_columns`).

Instead of labels, a second `Image` column, `mask`, may hold the class of every pixel; `classes.json` or `classes.txt`
beside the files then names the classes. If a table has both, the labels are used and the masks are ignored.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from unic.data.decode import decode
from unic.data.sources import _image_paths, _label_values
from unic.data.sources._columns import MASK, TableColumns, choose, features_of, mask_classes
from unic.data.sources._parquet_files import check_parquet, holds_nulls, peek, read_column, schema_of
from unic.data.sources._path_options import UNNAMED, ColumnNames
from unic.data.sources._targets import check_fit, read_mask
from unic.data.sources.base import DamagedImageError, Source
from unic.digest import blocks_of, sha256_of_each
from unic.errors import InputError


class Parquet(Source):
    """The rows of one or more Parquet files with the same columns, in the order given.

    The encoded images are in memory (`huggingface.open_files` opens larger sets on a memory map). A worker process gets
    the names of the files and reads them itself.

    Args:
        path: as the user wrote it.
        files: at least one file.
        named: columns that the user has named.
        every: the files of all splits, whose labels together are the classes if none are declared; empty: `files`.

    Raises:
        InputError: a file is damaged or has other columns, a column is missing or unclear, or no image can be read.
    """

    def __init__(
        self, path: str, files: Sequence[Path], named: ColumnNames = UNNAMED, every: Sequence[Path] = ()
    ) -> None:
        self.path = path
        self._files = list(files)
        for file in self._files:
            check_parquet(path, file)
        schema = schema_of(self._files[0])
        columns = self._choose(self._files[0], named)
        self._column, label, self.classes, self.why_unlabelled, _ = columns
        for file in self._files[1:]:
            if self._choose(file, named) != columns:
                raise InputError(f"data '{path}': {file.name} has other columns or classes than {self._files[0].name}")
        self._counts = np.cumsum([pq.read_metadata(file).num_rows for file in self._files])
        if self._counts[-1] == 0:
            raise InputError(f"data '{path}': the set has no rows")
        self._folder = os.getcwd()  # a worker process may have another one
        self._labels: np.ndarray | None = None
        masks = mask_classes(path, self._files[0].parent, features_of(schema), columns, named)
        if masks is not None:
            self.classes, self.pixels = masks, "masks"
        elif label is not None and self.classes is not None:
            self._labels = self._read_labels(label)
        elif label is not None:
            others = [file for file in every if file not in self._files and label in schema_of(file).names]
            values = (self._read_column(label, [file]) for file in others)
            own = self._read_column(label)
            self.classes, self._labels, self.why_unlabelled = _label_values.class_labels(label, own, values)
        self._encoded: dict[str, pa.ChunkedArray] = {}
        self._fingerprint: str | None = None
        self._has_paths: bool | None = None
        if self._may_name_files():
            cells = peek(path, self._files[0], [self._column])[self._column]
            _image_paths.check_some(path, self._column, cells, _image_paths.search_order(self._files[0]))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_encoded": {}}

    def __len__(self) -> int:
        return int(self._counts[-1])

    def read(self, index: int) -> Image.Image:
        image = decode(self._stored(self._column, index), whole=self.pixels is not None)
        if self.pixels:  # later work needs both, so an image with a damaged mask is damaged
            check_fit(image, read_mask(self._stored(MASK, index)), self.classes)
        return image

    def encoded(self, index: int) -> bytes | Path | None:
        return None if self.pixels else self._stored(self._column, index)

    def stored(self, index: int) -> bytes | Path:
        return self._stored(self._column, index)

    def target(self, index: int) -> np.ndarray | None:
        return read_mask(self._stored(MASK, index)) if self.pixels else None

    def label(self, index: int) -> int | None:
        if self._labels is None or not self._labels[index] >= 0:  # -1 and null mean no label, as on the hub
            return None
        return int(self._labels[index])

    def name(self, index: int) -> str:
        file = int(np.searchsorted(self._counts, index, side="right"))
        first = int(self._counts[file - 1]) if file else 0
        return f"{self._files[file].name}[{index - first}]"

    def fingerprint(self) -> str:
        """Hash of the bytes of all files, of the names of the classes of masks, and of the sizes and times of image
        files that rows name."""
        if self._fingerprint is None:
            self._fingerprint = self._digest(with_times=True)
        return self._fingerprint

    def portable_fingerprint(self) -> str:
        return self._digest(with_times=False) if self._names_files else self.fingerprint()

    def _digest(self, *, with_times: bool) -> str:
        return sha256_of_each(self._described(with_times=with_times))[:16]

    def _described(self, *, with_times: bool) -> Iterator[str | bytes]:
        yield repr(self.classes) if self.pixels else b""
        for file in self._files:
            yield from blocks_of(file)
        for index in range(len(self)) if self._names_files else ():
            try:
                stored = self.stored(index)
            except DamagedImageError:
                continue
            if isinstance(stored, Path):
                yield b"%d " % index + _image_paths.state(stored, with_times=with_times)

    @property
    def _names_files(self) -> bool:
        """Whether some rows hold a path instead of bytes."""
        if self._has_paths is None:
            values = self._values(self._column) if self._may_name_files() else ()
            self._has_paths = any(_image_paths.path_of(value.as_py()) for value in values)
        return self._has_paths

    def _may_name_files(self) -> bool:
        kind = schema_of(self._files[0]).field(self._column).type
        if pa.types.is_struct(kind):
            return any(holds_nulls(file, f"{self._column}.bytes") for file in self._files)
        return not (pa.types.is_binary(kind) or pa.types.is_large_binary(kind))

    def _choose(self, file: Path, named: ColumnNames) -> TableColumns:
        schema = schema_of(file)
        return choose(self.path, schema, features_of(schema), named, lambda names: peek(self.path, file, names))

    def _values(self, column: str) -> pa.ChunkedArray:
        if column not in self._encoded:
            self._encoded[column] = self._read_column(column)
        return self._encoded[column]

    def _stored(self, column: str, index: int) -> bytes | Path:
        value = self._values(column)[index].as_py()
        data = value.get("bytes") if isinstance(value, dict) else value
        if isinstance(data, bytes):
            return data
        place = _image_paths.path_of(value)
        if place is None:
            raise DamagedImageError(f"the row holds no {'mask' if column == MASK else 'image'} bytes")
        file = self._files[int(np.searchsorted(self._counts, index, side="right"))]
        return _image_paths.checked(_image_paths.find(place, _image_paths.search_order(file, self._folder)))

    def _read_labels(self, column: str) -> np.ndarray:
        labels = self._read_column(column)
        if not pa.types.is_integer(labels.type):
            raise InputError(f"data '{self.path}': its column '{column}' holds {labels.type}, not class indices")
        indices = labels.fill_null(-1).to_numpy()
        if self.classes is not None and indices.max(initial=-1) >= len(self.classes):
            raise InputError(
                f"data '{self.path}': its column '{column}' holds class index {indices.max()}, but only "
                f"{len(self.classes)} classes have names"
            )
        return indices

    def _read_column(self, column: str, files: Sequence[Path] = ()) -> pa.ChunkedArray:
        tables = [read_column(self.path, file, column) for file in files or self._files]
        return pa.concat_tables(tables, promote_options="permissive").column(0)
