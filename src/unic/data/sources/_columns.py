"""Choice of the columns of a table that hold the images and the classes.

The user may name them. Else the image column is one that the table declares (`Image` of Hugging Face features), or one
that holds images or paths of images; of several, the one called `image`. The label column is one that the table
declares (`ClassLabel`), or one called `label`.

An unclear image column is an error. An unclear label column is not, because training needs no labels:
`Source.why_unlabelled` then tells how to name it.
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

MASK = "mask"  # name of the column with the class of every pixel
SAMPLE = 16  # first rows that tell what a column holds
_IMAGE, _LABEL = "image", "label"

Peek = Callable[[list[str]], dict[str, list[Any]]]
"""The first values of some columns, by name."""


class TableColumns(NamedTuple):
    """The chosen columns of a table.

    Attributes:
        image: name of the image column.
        label: name of the label column; None: the table has no labels.
        classes: names of the classes, if the column holds class indices; None: it holds the names themselves.
        why_unlabelled: the reason why `label` is None, see `Source`.
        are_values: the column holds names, although `classes` is known.
    """

    image: str
    label: str | None = None
    classes: list[str] | None = None
    why_unlabelled: str = ""
    are_values: bool = False


def choose(path: str, schema: pa.Schema, features: dict[str, Any], named: ColumnNames, peek: Peek) -> TableColumns:
    """Chooses the columns of a table.

    Args:
        path: as the user wrote it.
        schema: schema of the table.
        features: the Hugging Face feature of each column; empty: the table declares none.
        named: columns that the user has named.
        peek: reads first values, if the types of the columns do not tell what they hold.

    Raises:
        InputError: the image column is unclear or missing, or a named column does not exist or cannot hold what it is
            named for.
    """
    for option, name in named._asdict().items():
        if name is not None and name not in schema.names:
            raise InputError(f"data '{path}': {option}={name}: no column '{name}'{nearest(name, schema.names)}")
    image = named.image or _image(path, schema, features, peek)
    if image in schema.names and not (_holds_bytes(kind := schema.field(image).type) or is_text(kind)):
        raise InputError(f"data '{path}': its column '{image}' holds {kind}, neither images nor paths of images")
    columns = _with_label(path, schema, features, named.label, image)
    if image not in schema.names:
        raise InputError(f"data '{path}': its metadata declare a column '{image}', which does not exist")
    return columns


def features_of(schema: pa.Schema) -> dict[str, Any]:
    """The Hugging Face feature of each column, from the metadata of the schema; empty if it has none."""
    try:
        features = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
    except (ValueError, KeyError, TypeError, RecursionError):  # missing or damaged
        return {}
    return features if isinstance(features, dict) else {}


def mask_classes(
    path: str, folder: Path, features: dict[str, Any], columns: TableColumns, named: ColumnNames
) -> list[str] | None:
    """Names of the classes of a mask column; None: the table has no masks, or its labels are used instead.

    Labels are used if the table declares them, or if the user has named their column.

    Args:
        path: as the user wrote it.
        folder: in which a file names the classes; without this file masks are ignored.
        features: the Hugging Face feature of each column.
        columns: the chosen columns.
        named: columns that the user has named.

    Raises:
        InputError: the file with the names is damaged.
    """
    has_labels = columns.label is not None and (columns.classes is not None or named.label is not None)
    if has_labels or columns.image == MASK or _kind(features.get(MASK)) != "Image":
        return None
    return class_names(path, folder)


def _image(path: str, schema: pa.Schema, features: dict[str, Any], peek: Peek) -> str:
    """Name of the image column, if the user has not named it."""
    declared = [name for name, feature in features.items() if _kind(feature) == "Image" and name != MASK]
    if declared:
        return _only(path, schema, declared)
    stored = [field.name for field in schema if _holds_bytes(field.type) and field.name != MASK]
    texts = [field.name for field in schema if is_text(field.type)]
    if _IMAGE in stored or (len(stored) == 1 and not texts):
        return _only(path, schema, stored)
    values = peek([*stored, *texts]) if stored or texts else {}
    for candidates in (stored, texts):
        names = [name for name in candidates if _shows_images(values[name])]
        if names:
            return _only(path, schema, names)
    return _only(path, schema, stored)  # its first images are damaged, which is reported when they are read


def _only(path: str, schema: pa.Schema, names: Sequence[str]) -> str:
    """The one image column among some; raises `InputError` if none or several may be meant."""
    if not names:
        raise InputError(f"data '{path}': no image column; its columns are {', '.join(schema.names)}")
    called = [name for name in names if name.lower() == _IMAGE]
    if _IMAGE in names or len(names) == 1 or len(called) == 1:
        return _IMAGE if _IMAGE in names else (called or names)[0]
    raise InputError(
        f"data '{path}': several columns hold images: {', '.join(names)}; name one at the end of the path, such as "
        f"?image={names[0]}"
    )


def _with_label(path: str, schema: pa.Schema, features: dict[str, Any], named: str | None, image: str) -> TableColumns:
    """The columns, for an image column that is chosen."""
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
        raise InputError(f"data '{path}': its metadata do not describe its columns '{image}' and '{label}'")
    return TableColumns(image, label, [str(name) for name in names])


def _choice(names: Sequence[str]) -> str:
    """Ending of a message: how to name the label column."""
    if not names:
        return ""
    return f"; name one of {', '.join(names)} at the end of the path, such as ?label={names[0]}"


def _shows_images(values: Sequence[Any]) -> bool:
    """Whether most of the values that are not empty are images, or paths of images."""
    filled = [value for value in values if value not in (None, "", b"")]
    return bool(filled) and 2 * sum(map(_shows_image, filled)) > len(filled)


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
