"""Local Parquet files with Hugging Face features: an `Image` column and, if labelled, a `ClassLabel` column."""

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
from unic.data.sources.base import DamagedImageError, Source
from unic.errors import InputError


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
        schema = _schema(self._files[0])
        self._column, label, self.classes = columns(path, features_of(schema), schema)
        for file in self._files[1:]:
            if columns(path, features_of(_schema(file)), _schema(file)) != (self._column, label, self.classes):
                raise InputError(f"data '{path}': {file.name} has other columns or classes than {self._files[0].name}")
        self._counts = np.cumsum([pq.read_metadata(file).num_rows for file in self._files])
        if self._counts[-1] == 0:
            raise InputError(f"data '{path}': it has no rows")
        self._labels = None if label is None else self._read_column(label).to_numpy()
        self._images: pa.ChunkedArray | None = None
        self._fingerprint: str | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_images": None}

    def __len__(self) -> int:
        return int(self._counts[-1])

    def read(self, index: int) -> Image.Image:
        if self._images is None:
            self._images = self._read_column(self._column)
        value = self._images[index].as_py()
        data = value.get("bytes") if isinstance(value, dict) else value
        if data is None:
            raise DamagedImageError("the row holds no image bytes")
        return decode(data)

    def label(self, index: int) -> int | None:
        if self._labels is None or not self._labels[index] >= 0:  # -1 and null: unlabelled rows, as on the hub
            return None
        return int(self._labels[index])

    def name(self, index: int) -> str:
        file = int(np.searchsorted(self._counts, index, side="right"))
        first = int(self._counts[file - 1]) if file else 0
        return f"{self._files[file].name}[{index - first}]"

    def fingerprint(self) -> str:
        """Hash of the bytes of all files."""
        if self._fingerprint is None:
            digest = hashlib.sha256()
            for file in self._files:
                with file.open("rb") as stream:
                    while block := stream.read(1 << 20):
                        digest.update(block)
            self._fingerprint = digest.hexdigest()[:16]
        return self._fingerprint

    def _read_column(self, column: str) -> pa.ChunkedArray:
        # No threads: a pool of threads must not exist before worker processes are forked.
        tables = [pq.read_table(file, columns=[column], use_threads=False) for file in self._files]
        return pa.concat_tables(tables).column(0)


def features_of(schema: pa.Schema) -> dict[str, Any]:
    """The Hugging Face feature of each column, as stored in the metadata of the schema; empty without it."""
    stored = (schema.metadata or {}).get(b"huggingface", b"{}")
    features = json.loads(stored).get("info", {}).get("features")
    return features if isinstance(features, dict) else {}


def columns(path: str, features: dict[str, Any], schema: pa.Schema) -> tuple[str, str | None, list[str] | None]:
    """Finds the image column, the label column and the class names by the type of the features.

    Files without features are accepted if a column has the layout of an image: bytes, or a struct with `bytes`.
    Of several candidates one called `image` or `label` wins, else the first.

    Raises:
        InputError: there is no image column.
    """
    images = [name for name, feature in features.items() if _kind(feature) == "Image"]
    labels = [name for name, feature in features.items() if _kind(feature) == "ClassLabel"]
    images = images or [field.name for field in schema if _holds_bytes(field.type)]
    if not images:
        raise InputError(f"data '{path}': no image column; its columns are {', '.join(schema.names)}")
    image = "image" if "image" in images else images[0]
    if not labels:
        return image, None, None
    label = "label" if "label" in labels else labels[0]
    return image, label, list(features[label]["names"])


def _schema(file: Path) -> pa.Schema:
    try:
        return pq.read_schema(file)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"data '{file}': not a Parquet file ({' '.join(str(error).split())})") from None


def _kind(feature: Any) -> str | None:
    return feature.get("_type") if isinstance(feature, dict) else None


def _holds_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return any(field.name == "bytes" for field in kind)
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
