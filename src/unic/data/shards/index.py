"""Index of tar shards: the place of every image in 28 bytes of a plain file, memory-mapped and shared by processes.

As Python objects, ten million samples would take gigabytes in every worker. The index is read from beside the shards
(`unic shard` writes one), else from the cache, else built from the headers once.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from unic._regular_files import read_bytes
from unic.data._plugins import PACKAGES
from unic.data.cache_dir import default_cache_dir
from unic.data.decode import suffixes
from unic.data.shards.tar import BrokenTarError, members
from unic.digest import sha256_of_each, sha256_of_file
from unic.errors import InputError, reason_of
from unic.files import written

log = logging.getLogger("unic")

ROW = np.dtype([("shard", "<i4"), ("label", "<i4"), ("header", "<i4"), ("place", "<i8"), ("size", "<i8")])
"""A sample: index of its shard, class index (-1: none), bytes from the image's header to its content, and the content's
place (byte in the shard) and size."""

MANIFEST, INDEX = "manifest.json", "index.bin"  # beside the shards that `unic shard` writes
MAX_CLASS = 1 << 20  # class indices are smaller; a name is made for each
_MAX_LABEL = 1 << 16  # bytes of a `.cls` or `.json` member; a larger one is not read
_KEPT_FROM = 50_000  # samples from which building the index again would take seconds


class Index:
    """Rows of type `ROW`. A memory-mapped index is pickled as the name of its file."""

    def __init__(self, rows: np.ndarray, file: Path | None = None) -> None:
        self.rows, self._file = rows, file

    @classmethod
    def load(cls, file: Path) -> Index:
        """Memory-maps a file. Raises `ValueError` or `OSError` if it is not a whole number of rows."""
        return cls(np.memmap(file, ROW, "r"), file)

    def __getstate__(self) -> dict[str, Any]:
        return {"rows": None if self._file else self.rows, "_file": self._file}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._file = state["_file"]
        self.rows = Index.load(self._file).rows if self._file else state["rows"]


def open_index(path: str, files: Sequence[Path]) -> Index:
    """The index of some shards, in their order.

    Args:
        path: as the user wrote it, for messages.
        files: the shards.

    Raises:
        InputError: a file is not a tar archive, is compressed, or is damaged.
    """
    beside = _beside(files)
    if beside:
        return beside
    kept = default_cache_dir() / "shards" / f"{sha256_of_each(map(_state, files))[:32]}.index"
    try:
        return Index.load(kept)
    except (OSError, ValueError):
        pass
    unread: Counter[str] = Counter()
    rows = np.concatenate([scan(path, file, shard, unread) for shard, file in enumerate(files)])
    for package, count in sorted(unread.items()):
        log.warning("data '%s': %d images left out; to read them: pip install %s", path, count, package)
    if len(rows) < _KEPT_FROM:
        return Index(rows)
    try:
        save(rows, kept)
        return Index.load(kept)
    except (OSError, ValueError):  # a full or read-only disk: the index stays in memory
        return Index(rows)


def _state(file: Path) -> bytes:
    state = file.stat()
    return f"{file.resolve()} {state.st_size} {state.st_mtime_ns}\n".encode(errors="surrogateescape")


def scan(path: str, file: Path, shard: int = 0, unread: Counter[str] | None = None) -> np.ndarray:
    """Rows of one shard, from its headers.

    Args:
        path: as the user wrote it, for messages.
        file: the shard.
        shard: index of the shard.
        unread: is increased, by package, by the number of images that need a package that is not installed.

    Raises:
        InputError: the file is not a tar archive, is compressed, or is damaged.
    """
    try:
        with file.open("rb") as archive:
            return np.array([(shard, *row) for row in _samples(archive, Counter() if unread is None else unread)], ROW)
    except (BrokenTarError, OSError) as error:
        reason = reason_of(error)
        raise InputError(f"data '{path}': {file.name} is not an uncompressed tar archive ({reason})") from None


def save(rows: np.ndarray, file: Path) -> None:
    """Writes an index whole or not at all."""
    with written(file) as partial:
        rows.tofile(partial)


def read_manifest(text: str | bytes) -> dict[str, Any]:
    """The content of a `manifest.json` of `unic shard`. Raises `ValueError` for anything else.

    A manifest may come from a stranger, so its shards must have plain names, which cannot lead out of the folder.
    """
    try:
        manifest = json.loads(text)
        classes, shards = manifest["classes"], manifest["shards"]
        is_sound = manifest["format"] == "unic shards" and shards and all(map(_is_sound, shards))
        is_sound = is_sound and (classes is None or all(isinstance(name, str) for name in classes))
    except (AttributeError, KeyError, TypeError, RecursionError, ValueError):
        is_sound = False
    if not is_sound:
        raise ValueError(f"not a {MANIFEST} of unic shard")
    return manifest


def _is_sound(shard: dict[str, Any]) -> bool:
    counts = [shard["samples"], shard["bytes"]]
    return (
        shard["file"] == Path(shard["file"]).name
        and shard["file"].endswith(".tar")
        and all(isinstance(count, int) and count > 0 for count in counts)
        and isinstance(shard["sha256"], str)
    )


def _beside(files: Sequence[Path]) -> Index | None:
    """The index beside the shards; None if there is none, it is damaged, or it is not of exactly these files."""
    folder = files[0].parent
    try:
        manifest = read_manifest(read_bytes(folder / MANIFEST))
        if not (folder / INDEX).is_file():
            return None
        listed = [(folder / shard["file"], shard["bytes"]) for shard in manifest["shards"]]
        if [(file, file.stat().st_size) for file in files] != listed:
            return None
        index = Index.load(folder / INDEX)
        digest = sha256_of_file(folder / INDEX)
        shards, labels = index.rows["shard"], index.rows["label"]
        is_sound = digest == manifest["index"] and 0 <= shards.min() <= shards.max() < len(files)
        is_sound = is_sound and -1 <= labels.min() <= labels.max() < MAX_CLASS
        return index if is_sound else None
    except (OSError, ValueError, KeyError):
        return None


def _samples(archive: BinaryIO, unread: Counter[str]) -> Iterator[tuple[int, int, int, int]]:
    """Label, header, place and size (see `ROW`) of every image of a shard. Members of a sample follow one another."""
    image: tuple[int, int, int] | None = None
    key, label, readable = ("", ""), -1, suffixes()
    for member in members(archive):
        folder, _, file_name = member.name.rpartition("/")
        base, _, suffix = file_name.partition(".")
        if (folder, base) != key:
            if image:
                yield (label, *image)
            key, image, label = (folder, base), None, -1
        ending = f".{suffix.rpartition('.')[2].lower()}"
        if ending in PACKAGES and ending not in readable:
            unread[PACKAGES[ending]] += 1
        elif image is None and ending in readable:
            image = (member.offset_data - member.offset, member.offset_data, member.size)
        elif suffix.lower() in ("cls", "json") and member.size <= _MAX_LABEL:
            archive.seek(member.offset_data)
            stored = _label(archive.read(member.size), suffix.lower())
            label = label if stored is None else stored
    if image:
        yield (label, *image)


def _label(data: bytes, suffix: str) -> int | None:
    """The class index in a `.cls` or `.json` member; None if it has none."""
    try:
        if suffix == "cls":
            value: Any = int(data)
        else:
            content = json.loads(data)
            value = content.get("label", content.get("cls")) if isinstance(content, dict) else None
        is_class = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < MAX_CLASS
        return value if is_class else None
    except (ValueError, RecursionError):
        return None
