"""Where every image of some tar shards lies: 28 bytes each in one plain file, memory-mapped and shared by processes.

Ten million samples would be gigabytes as Python objects, copied into every worker. The index is read from beside the
shards (`unic shard` writes one), else from the cache, else made from the headers once.
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
"""Of a sample: number of the shard, class (-1: none), bytes from the image's header to its content, place and size of
this content."""

MANIFEST, INDEX = "manifest.json", "index.bin"  # beside shards of ours
MAX_CLASS = 1 << 20  # a larger number is no class: a name is made for each
_MAX_LABEL = 1 << 16  # bytes of a `.cls` or `.json` member; more is no label
_KEPT_FROM = 50_000  # samples from which reading the headers again takes seconds


class Index:
    """Rows of `ROW`. A memory-mapped one travels to other processes as the name of its file."""

    def __init__(self, rows: np.ndarray, file: Path | None = None) -> None:
        self.rows, self._file = rows, file

    @classmethod
    def load(cls, file: Path) -> Index:
        """Raises `ValueError` or `OSError` if the file is no whole number of rows."""
        return cls(np.memmap(file, ROW, "r"), file)

    def __getstate__(self) -> dict[str, Any]:
        return {"rows": None if self._file else self.rows, "_file": self._file}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._file = state["_file"]
        self.rows = Index.load(self._file).rows if self._file else state["rows"]


def open_index(path: str, files: Sequence[Path]) -> Index:
    """The index of some shards, in their order.

    Raises:
        InputError: a file is no tar archive, is compressed or damaged.
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
    rows = np.concatenate([scan(path, file, number, unread) for number, file in enumerate(files)])
    for package, count in sorted(unread.items()):
        log.warning("data '%s': left out: %d images can be read after pip install %s", path, count, package)
    if len(rows) < _KEPT_FROM:
        return Index(rows)
    try:
        save(rows, kept)
        return Index.load(kept)
    except (OSError, ValueError):  # a disk that is full or read-only: the memory holds it, too
        return Index(rows)


def _state(file: Path) -> bytes:
    state = file.stat()
    return f"{file.resolve()} {state.st_size} {state.st_mtime_ns}\n".encode(errors="surrogateescape")


def scan(path: str, file: Path, number: int = 0, unread: Counter[str] | None = None) -> np.ndarray:
    """Rows of one shard, from its headers. Raises `InputError` as `open_index` does.

    Args:
        number: of the shard.
        unread: counts, by package, the images that need one that is not installed.
    """
    try:
        with file.open("rb") as archive:
            return np.array([(number, *row) for row in _samples(archive, Counter() if unread is None else unread)], ROW)
    except (BrokenTarError, OSError) as error:
        reason = reason_of(error)
        raise InputError(f"data '{path}': {file.name} is not an uncompressed tar archive ({reason})") from None


def save(rows: np.ndarray, file: Path) -> None:
    """Writes an index whole or not at all."""
    with written(file) as partial:
        rows.tofile(partial)


def read_manifest(text: str | bytes) -> dict[str, Any]:
    """What `unic shard` wrote beside its shards. Raises `ValueError` for anything else.

    Of strangers' manifests nothing is believed but plain names and counts: a name cannot lead out of the folder.
    """
    try:
        found = json.loads(text)
        classes = found["classes"]
        is_sound = found["format"] == "unic shards" and found["shards"] and all(map(_is_plain, found["shards"]))
        is_sound = is_sound and (classes is None or all(isinstance(name, str) for name in classes))
    except (AttributeError, KeyError, TypeError, RecursionError, ValueError):
        is_sound = False
    if not is_sound:
        raise ValueError(f"not a {MANIFEST} of unic shard")
    return found


def _is_plain(shard: dict[str, Any]) -> bool:
    counts = [shard["samples"], shard["bytes"]]
    return (
        shard["file"] == Path(shard["file"]).name
        and shard["file"].endswith(".tar")
        and all(isinstance(count, int) and count > 0 for count in counts)
        and isinstance(shard["sha256"], str)
    )


def _beside(files: Sequence[Path]) -> Index | None:
    """The index that lies beside the shards, if it is of exactly these files."""
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
    """Label, header, place and size of every image of a shard; members of a sample lie side by side."""
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
            found = _label(archive.read(member.size), suffix.lower())
            label = found if found is not None else label
    if image:
        yield (label, *image)


def _label(data: bytes, suffix: str) -> int | None:
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
