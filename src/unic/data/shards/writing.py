"""`unic shard`: any source of images as WebDataset shards, with their stored bytes, an index, names and a manifest.

The order is a fixed random one unless asked otherwise: a set sorted by class would make shards of one class each, which
no shuffle of a few shards at a time undoes.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from unic import rng
from unic._regular_files import read_bytes, read_json
from unic.arguments import argument
from unic.data._bounds import MOST_BYTES
from unic.data.decode import suffixes
from unic.data.shards.index import INDEX, MANIFEST, read_manifest, save, scan
from unic.data.shards.tar import TarWriter, members
from unic.data.sources import DamagedImageError, Source
from unic.digest import sha256_of_file
from unic.errors import InputError, reason_of
from unic.files import write_text, written
from unic.outputs import check_writable
from unic.quantities import num_bytes

NAMES = "names.jsonl"
_PROGRESS = ".progress.json"


def write_shards(
    source: Source,
    out: Path,
    *,
    size: str = "1GB",
    samples: int | None = None,
    keep_order: bool = False,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Writes `000000.tar …`, `index.bin`, `names.jsonl`, `classes.json` if labelled, and at last `manifest.json`.

    A sample is `000000012.jpg` and, if labelled, `000000012.cls`. Bytes are those of the source; only where it holds
    pixels are they encoded, as PNG. The same source gives the same bytes. A folder whose writing was stopped is gone
    on with, from the last whole shard. Masks and depths are left behind. A line of `names.jsonl` is a sample, in the
    order of the shards: `key`, its name in the shard; `index`, its number in the source; `name`, its name there.

    Args:
        source: the images.
        out: absent, empty, or begun by the same call.
        size: of a shard at most, unless one image alone is larger; with a unit (kB, MB, GB).
        samples: of a shard at most.
        keep_order: of the source.
        report: called with images done and images in all.

    Returns:
        The manifest: `images`, `classes`, `shards` (file, samples, bytes, SHA-256), `skipped` (images without bytes).

    Raises:
        InputError: the folder holds something else or cannot be written, or a size that is none.
        StoppedError: its disk is full.
    """
    check_writable(out, named=argument("out"), kind="folder")
    largest = _bytes(size)
    if samples is not None and samples < 1:
        raise InputError(f"{argument('samples')} {samples}: expected at least 1")
    identity = {"source": source.fingerprint(), "size": largest, "samples": samples, "keep_order": keep_order}
    state = _begin(out, identity)
    if state is None:
        return read_manifest(read_bytes(out / MANIFEST))
    order = torch.arange(len(source)) if keep_order else source.order(rng.stream("shard"))
    images = _Images(source, order, state["next"], state["skipped"])
    while images.peek() is not None:
        number = len(state["shards"])
        shard = _write_shard(images, out / f"{number:06d}.tar", largest, samples)
        state = {**state, "next": images.place, "skipped": images.skipped, "shards": [*state["shards"], shard]}
        _write(out / _PROGRESS, state)
        report(images.place, len(source))
    if not state["shards"]:
        raise InputError(f"data '{source.path}': no image could be read")
    return _finish(source, order, out, state, images.skipped)


class _Images:
    """What is still to be written, in order; an image without bytes is noted and passed over."""

    def __init__(self, source: Source, order: torch.Tensor, place: int, skipped: list[list[str]]) -> None:
        self.source, self.order, self.place, self.skipped = source, order, place, list(skipped)
        self._next: list[tuple[str, bytes]] | None = None

    def peek(self) -> list[tuple[str, bytes]] | None:
        """The members of the sample at `place`; None at the end."""
        while self._next is None and self.place < len(self.order):
            index = int(self.order[self.place])
            try:
                self._next = self._members(index)
            except (DamagedImageError, OSError, ValueError) as error:
                self.skipped.append([self.source.name(index), reason_of(error)])
                self.place += 1
        return self._next

    def take(self) -> None:
        self._next = None
        self.place += 1

    def _members(self, index: int) -> list[tuple[str, bytes]]:
        stored = self.source.encoded(index)
        if stored is None:  # a source that holds pixels: encoded here, without loss
            stream = io.BytesIO()
            self.source.read(index).save(stream, "PNG")
            stored = stream.getvalue()
        data = read_bytes(stored, MOST_BYTES) if isinstance(stored, Path) else stored
        key = f"{self.place:09d}"
        found = [(f"{key}{_suffix(data, self.source.name(index))}", data)]
        label = self.source.label(index)
        return found if label is None else [*found, (f"{key}.cls", str(label).encode())]


def _write_shard(images: _Images, file: Path, largest: int, samples: int | None) -> dict[str, Any]:
    count = 0
    with written(file, alone=True, synced=True) as partial:
        with TarWriter(partial) as tar:
            while count != samples and (found := images.peek()) is not None:  # a full shard reads no further image
                if count and tar.tell() + sum(1024 + len(data) for _, data in found) > largest:
                    break
                for name, data in found:
                    tar.add(name, data)
                images.take()
                count += 1
        digest = sha256_of_file(partial)
    return {"file": file.name, "samples": count, "bytes": file.stat().st_size, "sha256": digest}


def _begin(out: Path, identity: dict[str, Any]) -> dict[str, Any] | None:
    """Where to go on; None if all is done. Raises `InputError` for a folder of something else."""
    fresh = {**identity, "next": 0, "skipped": [], "shards": []}
    if not out.exists() or not any(out.iterdir()):
        out.mkdir(parents=True, exist_ok=True)
        _write(out / _PROGRESS, fresh)
        return fresh
    done = out / MANIFEST
    try:
        state = read_json(done if done.is_file() else out / _PROGRESS)
        is_same = all(state[key] == value for key, value in identity.items())
        is_whole = all((out / shard["file"]).stat().st_size == shard["bytes"] for shard in state["shards"])
    except (OSError, ValueError, KeyError, TypeError):
        is_same = is_whole = False
    if not is_same or not is_whole:
        raise InputError(
            f"{argument('out')} {out}: the folder is not empty, and not a part of these shards; name another one"
        )
    return None if done.is_file() else state


def _finish(
    source: Source, order: torch.Tensor, out: Path, state: dict[str, Any], skipped: list[list[str]]
) -> dict[str, Any]:
    files = [out / shard["file"] for shard in state["shards"]]
    save(np.concatenate([scan(str(out), file, number) for number, file in enumerate(files)]), out / INDEX)
    _write_names(source, order, files, out / NAMES)
    if source.classes is not None:
        _write(out / "classes.json", source.classes)
    identity = {key: state[key] for key in ("source", "size", "samples", "keep_order")}
    manifest = {
        "format": "unic shards",
        "images": sum(shard["samples"] for shard in state["shards"]),
        "classes": source.classes,
        **identity,
        "index": sha256_of_file(out / INDEX),
        "skipped": skipped,
        "shards": state["shards"],
    }
    _write(out / MANIFEST, manifest)
    (out / _PROGRESS).unlink()
    return manifest


def _write_names(source: Source, order: torch.Tensor, files: list[Path], target: Path) -> None:
    """Whole or not at all. What was skipped has no member, so the shards themselves say which images they hold."""
    with written(target, alone=True, synced=True) as partial, partial.open("w", encoding="utf-8") as stream:
        for key in _keys(files):
            index = int(order[int(key)])
            row = {"key": key, "index": source.number(index), "name": source.name(index)}
            stream.write(f"{json.dumps(row)}\n")


def _keys(files: list[Path]) -> Iterator[str]:
    """Of every sample; the members of one, its image and its label, share it."""
    for file in files:
        with file.open("rb") as archive:
            yield from dict.fromkeys(member.name.partition(".")[0] for member in members(archive))


def _suffix(data: bytes, name: str) -> str:
    """By the name, else by the first bytes; what is neither keeps `.png` and is found damaged by who reads it."""
    suffix = Path(name).suffix.lower()
    if suffix in suffixes():
        return suffix
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")) as image:
            return {"JPEG": ".jpg"}.get(image.format or "", f".{(image.format or 'png').lower()}")
    except Exception:  # decoders raise every kind
        return ".png"


def _bytes(size: str) -> int:
    with suppress(ValueError):
        if (found := num_bytes(size)) > 0:
            return found
    raise InputError(f"{argument('size')} '{size}': expected a number with a unit, for example 500MB or 1GB")


def _write(file: Path, content: Any) -> None:
    write_text(file, json.dumps(content, indent=1), alone=True, synced=True)
