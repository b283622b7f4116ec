"""`unic shard`: writes any source of images as WebDataset shards, with an index, names and a manifest.

The images are shuffled in a fixed way by default: a set sorted by class would give shards of one class each, and a
streamed set, which mixes a few shards at a time, could not undo that.
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

    A sample is `000000012.jpg` and, if labelled, `000000012.cls`. Images keep their stored bytes; a source that holds
    pixels is encoded as PNG. Masks and depths are not written. The same source gives the same bytes. An interrupted
    call is resumed after its last complete shard.

    A line of `names.jsonl` is a sample, in the order of the shards: `key`, its name in the shard; `index`, its index in
    the source; `name`, its name in the source.

    Args:
        source: any source.
        out: output folder: missing, empty, or from an interrupted call with the same arguments.
        size: largest size of a shard, with a unit (kB, MB, GB). A single larger image gets a larger shard.
        samples: largest number of samples of a shard; None: no limit.
        keep_order: keep the order of the source; False: shuffle.
        report: called after every shard with the number of images done and of all images.

    Returns:
        The manifest: `images`, `classes`, `shards` (file, samples, bytes, SHA-256), `skipped` (names and reasons of
        the images that could not be read).

    Raises:
        InputError: the folder holds something else or cannot be written, a size or a number of samples is invalid, or
            no image can be read.
        StoppedError: the disk is full.
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
        file = out / f"{len(state['shards']):06d}.tar"
        shard = _write_shard(images, file, largest, samples)
        state = {**state, "next": images.place, "skipped": images.skipped, "shards": [*state["shards"], shard]}
        _write(out / _PROGRESS, state)
        report(images.place, len(source))
    if not state["shards"]:
        raise InputError(f"data '{source.path}': no image can be read")
    return _finish(source, order, out, state, images.skipped)


class _Images:
    """The images that are not yet written, in order. An image that cannot be read is skipped and listed.

    Args:
        source: any source.
        order: indices of all images, in the order of writing.
        place: position in `order` of the next image.
        skipped: name and reason of each image skipped so far.
    """

    def __init__(self, source: Source, order: torch.Tensor, place: int, skipped: list[list[str]]) -> None:
        self.source, self.order, self.place, self.skipped = source, order, place, list(skipped)
        self._next: list[tuple[str, bytes]] | None = None

    def peek(self) -> list[tuple[str, bytes]] | None:
        """Names and bytes of the members of the next sample; None at the end."""
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
        if stored is None:  # the source holds pixels
            stream = io.BytesIO()
            self.source.read(index).save(stream, "PNG")
            stored = stream.getvalue()
        data = read_bytes(stored, MOST_BYTES) if isinstance(stored, Path) else stored
        key = f"{self.place:09d}"
        image = (f"{key}{_suffix(data, self.source.name(index))}", data)
        label = self.source.label(index)
        return [image] if label is None else [image, (f"{key}.cls", str(label).encode())]


def _write_shard(images: _Images, file: Path, largest: int, samples: int | None) -> dict[str, Any]:
    count = 0
    with written(file, alone=True, synced=True) as partial:
        with TarWriter(partial) as tar:
            while count != samples and (sample := images.peek()) is not None:  # a full shard reads no further image
                if count and tar.tell() + sum(1024 + len(data) for _, data in sample) > largest:
                    break
                for name, data in sample:
                    tar.add(name, data)
                images.take()
                count += 1
        digest = sha256_of_file(partial)
    return {"file": file.name, "samples": count, "bytes": file.stat().st_size, "sha256": digest}


def _begin(out: Path, identity: dict[str, Any]) -> dict[str, Any] | None:
    """State of the work in a folder; None if it is done. Raises `InputError` if the folder holds something else.

    Args:
        out: the output folder.
        identity: source and arguments, which a resumed call must share.
    """
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
            f"{argument('out')} {out}: the folder is neither empty nor a part of these shards; name another folder"
        )
    return None if done.is_file() else state


def _finish(
    source: Source, order: torch.Tensor, out: Path, state: dict[str, Any], skipped: list[list[str]]
) -> dict[str, Any]:
    files = [out / shard["file"] for shard in state["shards"]]
    save(np.concatenate([scan(str(out), file, shard) for shard, file in enumerate(files)]), out / INDEX)
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
    """Writes `names.jsonl`, whole or not at all. The shards tell which images they hold: skipped ones are missing."""
    with written(target, alone=True, synced=True) as partial, partial.open("w", encoding="utf-8") as stream:
        for key in _keys(files):
            index = int(order[int(key)])
            row = {"key": key, "index": source.number(index), "name": source.name(index)}
            stream.write(f"{json.dumps(row)}\n")


def _keys(files: list[Path]) -> Iterator[str]:
    """The key of every sample; its members, image and label, share it."""
    for file in files:
        with file.open("rb") as archive:
            yield from dict.fromkeys(member.name.partition(".")[0] for member in members(archive))


def _suffix(data: bytes, name: str) -> str:
    """Suffix for the member: from the image's name, else from its format; `.png` for a file that is not an image."""
    suffix = Path(name).suffix.lower()
    if suffix in suffixes():
        return suffix
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")) as image:
            return {"JPEG": ".jpg"}.get(image.format or "", f".{(image.format or 'png').lower()}")
    except Exception:  # decoders raise every kind; the image will count as damaged when the shard is read
        return ".png"


def _bytes(size: str) -> int:
    with suppress(ValueError):
        if (parsed := num_bytes(size)) > 0:
            return parsed
    raise InputError(f"{argument('size')} '{size}': expected a number with a unit, for example 500MB or 1GB")


def _write(file: Path, content: Any) -> None:
    write_text(file, json.dumps(content, indent=1), alone=True, synced=True)
