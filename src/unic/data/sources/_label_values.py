"""Labels of a column (numbers or words) as class indices and class names, with one list of names for all splits.

A number below 0, an empty text and null mean that a row has no label. Words are compared in Unicode's composed form
(NFC), because the same letters can be stored in two ways.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Int

from unic.data.sources._names import composed
from unic.errors import InputError

_NUMBER = re.compile(r"-?[0-9]{1,18}")


class Values(NamedTuple):
    """A column of labels.

    Attributes:
        texts: its different values as text.
        rows: for each row the index of its value in `texts`.
    """

    texts: list[str]
    rows: Int[np.ndarray, " n"]


def of_texts(texts: Sequence[str]) -> Values:
    """The values of a list; an empty text means no label."""
    indices: dict[str, int] = {}
    rows = np.array([indices.setdefault(text, len(indices)) for text in texts], np.int64)
    return Values(list(indices), rows)


def of_arrow(column: pa.ChunkedArray) -> Values:
    """The values of a column of whole numbers, words or booleans.

    Raises:
        ValueError: the column holds something else; the text says what.
    """
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_floating(column.type):  # pandas stores whole numbers as floats if one is missing
        try:
            column = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
            column = column.cast(pa.int64())
        except pa.ArrowInvalid:
            raise ValueError("numbers that are not whole") from None
    if not is_label(column.type):
        raise ValueError(str(column.type))
    encoded = column.cast(pa.large_string()).combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    texts = [*encoded.dictionary.to_pylist(), ""]
    return Values(texts, encoded.indices.fill_null(len(texts) - 1).to_numpy(zero_copy_only=False).astype(np.int64))


def is_label(kind: pa.DataType) -> bool:
    """Whether values of this type can be classes."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    tests: tuple[Any, ...] = (
        pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_string, pa.types.is_large_string,
    )  # fmt: skip
    return any(test(kind) for test in tests)


def class_list(columns: Iterable[Values]) -> list[str]:
    """Names of the classes in the columns of all splits: sorted as numbers if all are numbers, else as text."""
    texts = {composed(text) for column in columns for text in column.texts if text}
    if all(map(_NUMBER.fullmatch, texts)):
        return sorted({text for text in texts if int(text) >= 0}, key=lambda text: (int(text), text))
    return sorted(texts)


def class_indices(values: Values, classes: Sequence[str]) -> Int[np.ndarray, " n"]:
    """The class index of each row; -1: the row has no class."""
    indices = {name: index for index, name in enumerate(classes)}
    of_texts = np.array([indices.get(composed(text), -1) for text in values.texts], np.int64)
    return of_texts[values.rows] if len(of_texts) else np.zeros(0, np.int64)


class ClassLabels(NamedTuple):
    """The labels of a set.

    Attributes:
        classes: names of the classes; None: the set has no labels.
        labels: class index of each row, -1 for none; None: the set has no labels.
        why_unlabelled: the reason why the set has no labels, see `Source`.
    """

    classes: list[str] | None
    labels: Int[np.ndarray, " n"] | None
    why_unlabelled: str = ""


def class_labels(column: str, own: pa.ChunkedArray, others: Iterable[pa.ChunkedArray]) -> ClassLabels:
    """The labels of a column of Arrow.

    Args:
        column: name of the column.
        own: its values in the split that is opened.
        others: its values in the other splits, whose classes are added.
    """
    try:
        values, *rest = [of_arrow(split) for split in (own, *others)]
    except InputError:
        raise
    except ValueError as error:
        return ClassLabels(None, None, f"its column '{column}' holds {error}")
    classes = class_list([values, *rest])
    return ClassLabels(classes, class_indices(values, classes))
