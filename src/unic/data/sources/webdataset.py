"""WebDataset shards (uncompressed tar files) as an indexed set: members are found once, then read by their place.

A sample is the members that share a name up to its first dot: an image, and its class as `.cls` (a number), `.json`
(`label` or `cls`) or not at all. Class names stand in `classes.txt` or `classes.json` beside the shards.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from unic.data.decode import SUFFIXES, decode
from unic.data.sources.base import DamagedImageError, Source
from unic.errors import InputError

_MAX_LABEL = 1 << 16  # bytes of a `.cls` or `.json` member; more is no label


class WebDataset(Source):
    """All samples of some shards, in the order of the shards and of the members in them.

    Headers are read once, content only of labels and of what `read` is asked for. Nothing is unpacked to the disk.

    Args:
        path: as the user wrote it.
        files: at least one shard.

    Raises:
        InputError: a file is no tar archive, is compressed, or holds no image.
    """

    def __init__(self, path: str, files: Sequence[Path]) -> None:
        self.path = path
        self._files = list(files)
        shards, places, sizes, labels, names = [], [], [], [], []
        for number, file in enumerate(self._files):
            for name, offset, size, label in _samples(path, file):
                shards.append(number)
                places.append(offset)
                sizes.append(size)
                labels.append(label)
                names.append(name.encode())
        if not shards:
            raise InputError(f"data '{path}': no images in its {len(self._files)} shards")
        self._shards, self._labels = np.array(shards, np.int32), np.array(labels, np.int64)
        self._places, self._sizes = np.array(places, np.int64), np.array(sizes, np.int64)
        self._names, self._ends = b"".join(names), np.cumsum([len(name) for name in names])
        self.classes = _classes(path, self._files[0].parent, self._labels)

    def __len__(self) -> int:
        return len(self._shards)

    def read(self, index: int) -> Image.Image:
        return decode(self.encoded(index))

    def encoded(self, index: int) -> bytes:
        with self._files[self._shards[index]].open("rb") as shard:
            shard.seek(int(self._places[index]))
            data = shard.read(int(self._sizes[index]))
        if len(data) < self._sizes[index]:
            raise DamagedImageError("the shard ends within it")
        return data

    def label(self, index: int) -> int | None:
        return None if self.classes is None or self._labels[index] < 0 else int(self._labels[index])

    def name(self, index: int) -> str:
        start = int(self._ends[index - 1]) if index else 0
        return f"{self._files[self._shards[index]].name}/{self._names[start : int(self._ends[index])].decode()}"

    def fingerprint(self) -> str:
        """Hash of the names and places of all samples and of the shards' names, sizes and times."""
        digest = hashlib.sha256(self._names)
        for array in (self._shards, self._places, self._sizes, self._labels):
            digest.update(array.tobytes())
        for file in self._files:
            state = file.stat()
            digest.update(f"{file.name} {state.st_size} {state.st_mtime_ns}".encode())
        return digest.hexdigest()[:16]


def _samples(path: str, file: Path) -> Iterator[tuple[str, int, int, int]]:
    """Name, place, size and label (-1: none) of every image of a shard; members of a sample lie side by side."""
    try:
        with tarfile.open(file, "r:") as archive:
            image: tuple[str, int, int] | None = None
            key, label = ("", ""), -1
            for member in archive:
                if not member.isfile():
                    continue
                folder, _, file_name = member.name.rpartition("/")
                base, _, suffix = file_name.partition(".")
                if (folder, base) != key:
                    if image:
                        yield (*image, label)
                    key, image, label = (folder, base), None, -1
                if image is None and f".{suffix.rpartition('.')[2].lower()}" in SUFFIXES:
                    image = (member.name, member.offset_data, member.size)
                elif suffix.lower() in ("cls", "json") and member.size <= _MAX_LABEL:
                    stream = archive.extractfile(member)
                    found = _label(stream.read() if stream else b"", suffix.lower())
                    label = found if found is not None else label
            if image:
                yield (*image, label)
    except (tarfile.TarError, OSError, EOFError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"data '{path}': {file.name} is not an uncompressed tar archive ({reason})") from None


def _label(data: bytes, suffix: str) -> int | None:
    try:
        if suffix == "cls":
            return int(data)
        content = json.loads(data)
        value = content.get("label", content.get("cls")) if isinstance(content, dict) else None
        return value if isinstance(value, int) and not isinstance(value, bool) else None
    except ValueError:
        return None


def _classes(path: str, folder: Path, labels: np.ndarray) -> list[str] | None:
    """Class names: from a file beside the shards, else the numbers. None if not every sample has a label."""
    if (labels < 0).any():
        return None
    count = int(labels.max()) + 1
    names = [str(number) for number in range(count)]
    if (folder / "classes.json").is_file():
        names = [str(name) for name in json.loads((folder / "classes.json").read_text(encoding="utf-8"))]
    elif (folder / "classes.txt").is_file():
        names = (folder / "classes.txt").read_text(encoding="utf-8").splitlines()
    if len(names) < count:
        raise InputError(f"data '{path}': {count} classes in the shards, {len(names)} names in {folder}")
    return names
