"""Local Parquet files with Hugging Face features: an `Image` column and, if labelled, a `ClassLabel` column.

In place of labels a second `Image` column, `mask`, may hold the class of every pixel; the names of these classes stand
in `classes.json` or `classes.txt` beside the files. With both, the labels count and masks are left alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from unic.data.decode import decode
from unic.data.sources._pixels import check_fit, class_names, read_mask
from unic.data.sources.base import DamagedImageError, Source
from unic.errors import InputError, in_one_line

MASK = "mask"  # the column
_ROWS = 1024  # that are read at a time at most
_ROOM, _INFLATED = 1 << 30, 20  # bytes that any file may become in memory, and how many times its size a larger one


class Parquet(Source):
    """The rows of one or more Parquet files with the same columns, in the order given.

    The encoded images are held in memory (`huggingface.open_files` sends larger sets to a memory map). A worker process
    gets the file names only and reads the files itself.

    Args:
        path: as the user wrote it.
        files: at least one file.
    """

    def __init__(self, path: str, files: Sequence[Path]) -> None:
        self.path = path
        self._files = list(files)
        for file in self._files:
            check_parquet(path, file)
        schema = _schema(self._files[0])
        self._column, label, self.classes = columns(path, features_of(schema), schema)
        for file in self._files[1:]:
            if columns(path, features_of(_schema(file)), _schema(file)) != (self._column, label, self.classes):
                raise InputError(f"data '{path}': {file.name} has other columns or classes than {self._files[0].name}")
        self._counts = np.cumsum([pq.read_metadata(file).num_rows for file in self._files])
        if self._counts[-1] == 0:
            raise InputError(f"data '{path}': it has no rows")
        self._labels = None if label is None else self._read_labels(label)
        if label is None and has_masks(features_of(schema), self._column):
            self.classes = class_names(path, self._files[0].parent)
            self.pixels = "masks" if self.classes else None
        self._encoded: dict[str, pa.ChunkedArray] = {}
        self._fingerprint: str | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_encoded": {}}

    def __len__(self) -> int:
        return int(self._counts[-1])

    def read(self, index: int) -> Image.Image:
        image = decode(self._bytes(self._column, index), whole=self.pixels is not None)
        if self.pixels:  # whoever measures this image later needs both
            check_fit(image, read_mask(self._bytes(MASK, index)), self.classes)
        return image

    def encoded(self, index: int) -> bytes | None:
        return None if self.pixels else self._bytes(self._column, index)

    def stored(self, index: int) -> bytes:
        return self._bytes(self._column, index)

    def target(self, index: int) -> np.ndarray | None:
        return read_mask(self._bytes(MASK, index)) if self.pixels else None

    def label(self, index: int) -> int | None:
        if self._labels is None or not self._labels[index] >= 0:  # -1 and null: unlabelled rows, as on the hub
            return None
        return int(self._labels[index])

    def name(self, index: int) -> str:
        file = int(np.searchsorted(self._counts, index, side="right"))
        first = int(self._counts[file - 1]) if file else 0
        return f"{self._files[file].name}[{index - first}]"

    def fingerprint(self) -> str:
        """Hash of the bytes of all files, and of the names of classes that stand outside them."""
        if self._fingerprint is None:
            digest = hashlib.sha256(repr(self.classes).encode() if self.pixels else b"")
            for file in self._files:
                with file.open("rb") as stream:
                    while block := stream.read(1 << 20):
                        digest.update(block)
            self._fingerprint = digest.hexdigest()[:16]
        return self._fingerprint

    def _bytes(self, column: str, index: int) -> bytes:
        if column not in self._encoded:
            self._encoded[column] = self._read_column(column)
        value = self._encoded[column][index].as_py()
        data = value.get("bytes") if isinstance(value, dict) else value
        if data is None:
            raise DamagedImageError(f"the row holds no {'mask' if column == MASK else 'image'} bytes")
        return data

    def _read_labels(self, column: str) -> np.ndarray:
        labels = self._read_column(column)
        if not pa.types.is_integer(labels.type):
            raise InputError(f"data '{self.path}': its column '{column}' holds {labels.type}, not numbers of classes")
        found = labels.fill_null(-1).to_numpy()
        if self.classes is not None and found.max(initial=-1) >= len(self.classes):
            raise InputError(
                f"data '{self.path}': a label is {found.max()}, and {len(self.classes)} classes have names"
            )
        return found

    def _read_column(self, column: str) -> pa.ChunkedArray:
        return pa.concat_tables([read_column(self.path, file, column) for file in self._files]).column(0)


def check_parquet(path: str, file: Path) -> None:
    """Refuses a file that would fill the memory with rows that are not there: a byte on the disk for each at least.

    Raises:
        InputError: so many rows, or no Parquet file.
    """
    try:
        rows = pq.read_metadata(file).num_rows
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(f"data '{file}': not a Parquet file ({in_one_line(error)})") from None
    if rows > (size := file.stat().st_size):
        raise InputError(f"data '{path}': {file.name} claims {rows} rows in {size} bytes")


def read_column(path: str, file: Path, column: str) -> pa.Table:
    """A column of a file, read in small pieces, so that a file that inflates is noticed in time.

    Raises:
        InputError: its pages are damaged, or it holds much more than an archive of images does.
    """
    most = max(_ROOM, _INFLATED * file.stat().st_size)
    batches, size = [], 0
    try:
        with pq.ParquetFile(file) as opened:
            # No threads: a pool of threads must not exist before worker processes are forked.
            for batch in opened.iter_batches(rows_at_once(opened.metadata, most), columns=[column], use_threads=False):
                size += batch.nbytes
                batches.append(batch)
                if size > most:
                    break
            schema = batches[0].schema if batches else opened.schema_arrow
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(f"data '{path}': {file.name} is damaged ({in_one_line(error)})") from None
    if size > most:
        text = f"its column '{column}' grows from {file.stat().st_size} bytes to more than {most}"
        raise InputError(f"data '{path}': {file.name}: {text}")
    return pa.Table.from_batches(batches, schema) if batches else opened.schema_arrow.empty_table().select([column])


def rows_at_once(metadata: Any, most: int) -> int:
    """Rows that are read at a time: any of them may be as large as the largest page of the file."""
    groups = (metadata.row_group(number) for number in range(metadata.num_row_groups))
    chunks = (group.column(number) for group in groups for number in range(group.num_columns))
    largest = max((chunk.total_uncompressed_size for chunk in chunks), default=1)
    return max(1, min(_ROWS, most // max(1, largest)))


def features_of(schema: pa.Schema) -> dict[str, Any]:
    """The Hugging Face feature of each column, as stored in the metadata of the schema; empty without it."""
    try:
        features = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
    except (ValueError, KeyError, TypeError, RecursionError):  # none, or damaged ones
        return {}
    return features if isinstance(features, dict) else {}


def columns(path: str, features: dict[str, Any], schema: pa.Schema) -> tuple[str, str | None, list[str] | None]:
    """Finds the image column, the label column and the class names by the type of the features.

    Files without features are accepted if a column has the layout of an image: bytes, or a struct with `bytes`.
    Of several candidates one called `image` or `label` wins, else the first.

    Raises:
        InputError: there is no image column.
    """
    images = [name for name, feature in features.items() if _kind(feature) == "Image" and name != MASK]
    labels = [name for name, feature in features.items() if _kind(feature) == "ClassLabel"]
    images = images or [field.name for field in schema if _holds_bytes(field.type)]
    if not images:
        raise InputError(f"data '{path}': no image column; its columns are {', '.join(schema.names)}")
    image = "image" if "image" in images else images[0]
    if not labels:
        return image, None, None
    label = "label" if "label" in labels else labels[0]
    names = features[label].get("names")
    if not isinstance(names, list) or label not in schema.names or image not in schema.names:
        raise InputError(f"data '{path}': what is stored of its columns '{image}' and '{label}' does not fit them")
    return image, label, [str(name) for name in names]


def has_masks(features: dict[str, Any], image: str) -> bool:
    """Whether there is a column of masks beside the column of images."""
    return image != MASK and _kind(features.get(MASK)) == "Image"


def _schema(file: Path) -> pa.Schema:
    try:
        return pq.read_schema(file)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(f"data '{file}': not a Parquet file ({in_one_line(error)})") from None


def _kind(feature: Any) -> str | None:
    return feature.get("_type") if isinstance(feature, dict) else None


def _holds_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return any(field.name == "bytes" for field in kind)
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
