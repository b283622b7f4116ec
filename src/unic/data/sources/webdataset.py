"""WebDataset shards (uncompressed tar files) as a set with random access, through an index of the places of members.

The members of a sample share their name up to its first dot: an image, and maybe its class index as `.cls` or as
`label` or `cls` in a `.json`. `classes.txt` or `classes.json` beside the shards names the classes.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from unic._regular_files import read_text
from unic.data._bounds import MOST_BYTES
from unic.data.decode import decode
from unic.data.shards.index import open_index
from unic.data.shards.tar import BrokenTarError, members
from unic.data.sources._targets import json_names
from unic.data.sources.base import DamagedImageError, Source
from unic.digest import sha256
from unic.errors import InputError


class WebDataset(Source):
    """All samples of some shards, in the order of the shards and of their members.

    Headers and labels are read once, for the index; an image is read when `read` asks for it. Nothing is unpacked to
    the disk.

    Args:
        path: as the user wrote it.
        files: at least one shard.

    Raises:
        InputError: a file is not a tar archive, is compressed or damaged, or no file holds an image.
    """

    def __init__(self, path: str, files: Sequence[Path]) -> None:
        self.path = path
        self._files = list(files)
        self._index = open_index(path, self._files)
        if not len(self):
            raise InputError(f"data '{path}': no images in its {len(self._files)} shards")
        self.classes = _classes(path, self._files[0].parent, self._index.rows["label"])
        if self.classes is None:
            count = int((self._index.rows["label"] < 0).sum())
            self.why_unlabelled = (
                f"{count} of its {len(self)} samples have no class index (a number in .cls, or label in .json; names "
                "of the classes belong in classes.txt)"
            )

    def __len__(self) -> int:
        return len(self._index.rows)

    def read(self, index: int) -> Image.Image:
        return decode(self.encoded(index))

    def encoded(self, index: int) -> bytes:
        shard, _, _, place, size = self._index.rows[index].tolist()
        with self._files[shard].open("rb") as stream:
            if not 0 <= place <= place + size <= os.fstat(stream.fileno()).st_size:
                raise DamagedImageError("the shard ends within it")
            if size > MOST_BYTES:
                raise DamagedImageError(f"a file of {size} bytes, more than {MOST_BYTES}")
            stream.seek(place)
            return stream.read(size)

    def label(self, index: int) -> int | None:
        return None if self.classes is None else self.stored_label(index)

    def stored_label(self, index: int) -> int | None:
        """Class index of a sample, even if other samples have none; None: this sample has none."""
        label = int(self._index.rows["label"][index])
        return None if label < 0 else label

    def name(self, index: int) -> str:
        shard, _, header, place, _ = self._index.rows[index].tolist()
        file = self._files[shard]
        try:
            with file.open("rb") as stream:
                return f"{file.name}/{next(members(stream, place - header)).name}"
        except (BrokenTarError, OSError, ValueError, StopIteration):
            return f"{file.name}/byte {place}"

    def fingerprint(self) -> str:
        """Hash of the places and labels of all samples, and of the names, sizes and times of the shards."""
        return self._digest(with_times=True)

    def portable_fingerprint(self) -> str:
        return self._digest(with_times=False)

    def _digest(self, *, with_times: bool) -> str:
        states = [(file.name, file.stat()) for file in self._files]
        return sha256(
            np.ascontiguousarray(self._index.rows).view(np.uint8).data,
            *(f"{name} {state.st_size}{f' {state.st_mtime_ns}' if with_times else ''}" for name, state in states),
        )[:16]


def _classes(path: str, folder: Path, labels: np.ndarray) -> list[str] | None:
    """Names of the classes: from a file beside the shards, else the indices; None if a sample has no label."""
    if labels.min() < 0:
        return None
    count = int(labels.max()) + 1
    names = [str(label) for label in range(count)]
    file = next((file for name in ("classes.json", "classes.txt") if (file := folder / name).is_file()), None)
    if file is not None:
        try:
            names = json_names(file) if file.suffix == ".json" else read_text(file).splitlines()
        except (OSError, ValueError) as error:
            raise InputError(f"data '{path}': {file} cannot be read ({error})") from None
    if len(names) < count:
        raise InputError(f"data '{path}': {count} classes in the shards, but {len(names)} names in {folder}")
    return names
