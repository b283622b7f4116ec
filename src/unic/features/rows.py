"""Arrays that grow on the disk: .npy files of equal length in one folder, rows appended batch by batch.

Rows are appended, not assigned to a memory map of the final size: there, a full disk ends the process with a signal.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np


class RowFiles:
    """The .npy files of a folder, open for writing until the end of a `with` block.

    numpy pads a header to the same length for any number of rows, so the final header can overwrite the first.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open = ExitStack()
        self._files: dict[str, tuple[BinaryIO, dict[str, Any]]] = {}  # by name: the file and its header

    def __enter__(self) -> RowFiles:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):  # the recorded rows were synced; after an error, unsynced ones may not fit on the disk
            self._open.close()

    @property
    def headers(self) -> dict[str, str]:
        """Type and row shape of each file, by name, for `resume`."""
        return {name: _text(header) for name, (_, header) in self._files.items()}

    def resume(self, rows: int, headers: Mapping[str, str] | None) -> None:
        """Opens the existing files and truncates each to `rows` rows.

        Args:
            rows: number of rows to keep.
            headers: `headers` when these rows were written; None: unknown (entries of earlier versions).

        Raises:
            ValueError: a file has fewer rows, or a damaged header.
        """
        try:
            for path in self._folder.glob("*.npy"):
                file = self._open.enter_context(path.open("r+b"))
                np.lib.format.read_magic(file)
                shape, _, dtype = np.lib.format.read_array_header_1_0(file)
                end = file.tell() + rows * math.prod(shape[1:]) * dtype.itemsize
                if path.stat().st_size < end:
                    raise ValueError(f"{path} has fewer than {rows} rows")
                file.truncate(end)
                file.seek(end)
                self._files[path.stem] = file, _header(shape, dtype)
                if headers is not None and headers.get(path.stem) != _text(_header(shape, dtype)):
                    raise ValueError(f"{path}: its header is damaged")
        except Exception:  # numpy raises many kinds for a damaged header
            self._open.close()
            self._files.clear()
            raise

    def append(self, arrays: Mapping[str, np.ndarray]) -> None:
        for name, values in arrays.items():
            if name not in self._files:
                file = self._open.enter_context((self._folder / f"{name}.npy").open("w+b"))
                self._files[name] = file, _header(values.shape, values.dtype)
                np.lib.format.write_array_header_1_0(*self._files[name])
            self._files[name][0].write(np.ascontiguousarray(values).data)

    def sync(self, rows: int) -> None:
        """Writes headers for `rows` rows and waits until all is on the disk."""
        for file, header in self._files.values():
            file.seek(0)
            np.lib.format.write_array_header_1_0(file, {**header, "shape": (rows, *header["shape"][1:])})
            file.seek(0, os.SEEK_END)
            file.flush()
            os.fsync(file.fileno())


def _text(header: dict[str, Any]) -> str:
    return f"{header['descr']} {header['shape'][1:]}"


def _header(shape: tuple[int, ...], dtype: np.dtype) -> dict[str, Any]:
    return {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
