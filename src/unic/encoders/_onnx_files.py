"""The files of an ONNX model: its graph, and the weight files that the graph names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from unic.digest import sha256, sha256_of_file


def content_of(path: Path) -> str:
    """Hash of the content of the graph and of its weight files. Names do not count, and missing files are skipped."""
    import onnx

    names = sorted(set(_locations(onnx.load(path, load_external_data=False))))
    files = [path, *(file for file in (path.parent / name for name in names) if file.is_file())]
    return sha256(*(bytes.fromhex(sha256_of_file(file)) for file in files))


def _locations(message: Any) -> Iterator[str]:
    """Names of the external files of all tensors, anywhere in the model (`TensorProto.external_data`)."""
    if message.DESCRIPTOR.name == "TensorProto":
        yield from (entry.value for entry in message.external_data if entry.key == "location")
        return
    for field, value in message.ListFields():
        if field.message_type is not None:
            for inner in value if hasattr(value, "add") else (value,):
                yield from _locations(inner)
