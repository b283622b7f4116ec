"""Which column of a table holds the images and which the classes: known, named by the user, or asked for in one line.

Known is what Hugging Face features declare (`Image`, `ClassLabel`), what images and paths of images show themselves to
be, and a column called `label`. Of several that hold images one called `image` is meant. Training needs no labels, so a
table without a known column of classes can be opened; what is missing is said where labels are needed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from unic.data.decode import is_image
from unic.data.sources import _label_values
from unic.data.sources._image_paths import is_image_name
from unic.data.sources._path_options import ColumnNames
from unic.data.sources._targets import class_names
from unic.errors import InputError, nearest

MASK = "mask"  # the column with the class of every pixel
SAMPLE = 16  # rows that are looked at
_IMAGE, _LABEL = "image", "label"

Peek = Callable[[list[str]], dict[str, list[Any]]]
"""The first values of some columns, by name."""


class TableColumns(NamedTuple):
    """`classes`: names of the numbers in `label`; None: the values are the names. `why_unlabelled`: where `label` is
    None, the reason, see `Source`. `are_values`: `classes` are known, and the values are still the names."""

    image: str
    label: str | None = None
    classes: list[str] | None = None
    why_unlabelled: str = ""
    are_values: bool = False


def choose(path: str, schema: pa.Schema, features: dict[str, Any], named: ColumnNames, peek: Peek) -> TableColumns:
    """The columns of a table.

    Args:
        path: as the user wrote it.
        schema: of the table.
        features: the Hugging Face feature of each column; empty: none is declared.
        named: by the user.
        peek: called where the type of a column does not say what it holds.

    Raises:
        InputError: no column, or several of them, may hold the images, or one that the user has named is not there.
    """
    for option, name in named._asdict().items():
        if name is not None and name not in schema.names:
            raise InputError(f"data '{path}': no column '{name}' for {option}={name}{nearest(name, schema.names)}")
    image = named.image or _image(path, schema, features, peek)
    if image in schema.names and not (_holds_bytes(kind := schema.field(image).type) or is_text(kind)):
        raise InputError(f"data '{path}': its column '{image}' holds {kind}, neither images nor paths of images")
    found = _with_label(path, schema, features, named.label, image)
    if image not in schema.names:
        raise InputError(f"data '{path}': what is stored of its column '{image}' does not fit it")
    return found


def features_of(schema: pa.Schema) -> dict[str, Any]:
    """The Hugging Face feature of each column, as stored in the metadata of the schema; empty without it."""
    try:
        features = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
    except (ValueError, KeyError, TypeError, RecursionError):  # none, or damaged ones
        return {}
    return features if isinstance(features, dict) else {}


def mask_classes(
    path: str, folder: Path, features: dict[str, Any], found: TableColumns, named: ColumnNames
) -> list[str] | None:
    """Names of the classes of the masks beside the images; None: there are no masks, or labels count in place of them.

    Args:
        path: as the user wrote it.
        folder: where the names stand, without which masks are left alone.
        features: the Hugging Face feature of each column.
        found: the columns that were chosen. Labels count if they are declared or if the user has named them.
        named: by the user.

    Raises:
        InputError: the file with the names is damaged.
    """
    labels_count = found.label is not None and (found.classes is not None or named.label is not None)
    if labels_count or found.image == MASK or _kind(features.get(MASK)) != "Image":
        return None
    return class_names(path, folder)


def _image(path: str, schema: pa.Schema, features: dict[str, Any], peek: Peek) -> str:
    declared = [name for name, feature in features.items() if _kind(feature) == "Image" and name != MASK]
    if declared:
        return _only(path, schema, declared)
    stored = [field.name for field in schema if _holds_bytes(field.type) and field.name != MASK]
    texts = [field.name for field in schema if is_text(field.type)]
    if _IMAGE in stored or (len(stored) == 1 and not texts):
        return _only(path, schema, stored)
    values = peek([*stored, *texts]) if stored or texts else {}
    for candidates in (stored, texts):
        found = [name for name in candidates if _shows_images(values[name])]
        if found:
            return _only(path, schema, found)
    return _only(path, schema, stored)  # none of its first images can be read, which is told when they are


def _only(path: str, schema: pa.Schema, found: Sequence[str]) -> str:
    if not found:
        raise InputError(f"data '{path}': no image column; its columns are {', '.join(schema.names)}")
    called = [name for name in found if name.lower() == _IMAGE]
    if _IMAGE in found or len(found) == 1 or len(called) == 1:
        return _IMAGE if _IMAGE in found else (called or found)[0]
    raise InputError(
        f"data '{path}': several columns hold images: {', '.join(found)}; write ?image={found[0]} or another of them "
        "at the end of the path"
    )


def _with_label(path: str, schema: pa.Schema, features: dict[str, Any], named: str | None, image: str) -> TableColumns:
    declared = [name for name, feature in features.items() if _kind(feature) == "ClassLabel"]
    others = [field.name for field in schema if field.name != image and _label_values.is_label(field.type)]
    offered = [name for name in others if name and not name.startswith("__index_level_")]  # pandas' row numbers
    if named is not None:
        if named == image or named not in others:
            kind = "the images" if named == image else f"{schema.field(named).type}, not a class for each row"
            raise InputError(f"data '{path}': its column '{named}' holds {kind}{_choice(offered)}")
        label = named
    elif _LABEL in declared or len(declared) == 1:
        label = _LABEL if _LABEL in declared else declared[0]
    elif declared:
        return TableColumns(image, None, None, f"several of its columns hold classes{_choice(declared)}")
    else:
        called = [name for name in others if name.lower() == _LABEL]
        if _LABEL not in called and len(called) != 1:
            reason = f"it has no column '{_LABEL}'{_choice(offered)}" if offered else ""
            return TableColumns(image, None, None, reason)
        label = _LABEL if _LABEL in called else called[0]
    if label not in declared:
        return TableColumns(image, label)
    names = features[label].get("names")
    if not isinstance(names, list) or label not in schema.names or image not in schema.names:
        raise InputError(f"data '{path}': what is stored of its columns '{image}' and '{label}' does not fit them")
    return TableColumns(image, label, [str(name) for name in names])


def _choice(names: Sequence[str]) -> str:
    """Ending of a line: how to name the column of classes."""
    if not names:
        return ""
    return f"; write ?label={names[0]} at the end of the path, or another of its columns: {', '.join(names)}"


def _shows_images(values: Sequence[Any]) -> bool:
    """Whether most of some values are images, or paths of images."""
    found = [value for value in values if value not in (None, "", b"")]
    return bool(found) and 2 * sum(map(_shows_image, found)) > len(found)


def _shows_image(value: Any) -> bool:
    if isinstance(value, dict):
        stored, place = value.get("bytes"), value.get("path")
        return _shows_image(place) if stored is None else isinstance(stored, bytes) and is_image(stored)
    return is_image_name(value) if isinstance(value, str) else isinstance(value, bytes) and is_image(value)


def _kind(feature: Any) -> str | None:
    return feature.get("_type") if isinstance(feature, dict) else None


def is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _holds_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return any(field.name == "bytes" for field in kind)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))
