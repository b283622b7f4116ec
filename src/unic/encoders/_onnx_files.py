"""The files that an ONNX model consists of: its graph, and those in which the graph says that its weights are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from unic.digest import sha256, sha256_of_file


def content_of(path: Path) -> str:
    """Hash of the graph and of its files of weights, whatever they are called; one that is not there counts as none."""
    import onnx

    names = sorted(set(_locations(onnx.load(path, load_external_data=False))))
    files = [path, *(file for file in (path.parent / name for name in names) if file.is_file())]
    return sha256(*(bytes.fromhex(sha256_of_file(file)) for file in files))


def _locations(message: Any) -> Iterator[str]:
    """Names of external files, of all tensors anywhere in the model (`TensorProto.external_data`)."""
    if message.DESCRIPTOR.name == "TensorProto":
        yield from (entry.value for entry in message.external_data if entry.key == "location")
        return
    for field, value in message.ListFields():
        if field.message_type is not None:
            for inner in value if hasattr(value, "add") else (value,):
                yield from _locations(inner)
