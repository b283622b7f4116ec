"""Labels as they stand in a column (numbers, words) → class numbers and names, one list for all parts of a set.

A number below 0, an empty text and null mean: no label. Words are compared in Unicode's composed form (NFC), for the
same letters can be stored in two ways.
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
    """A column: its different texts, and for each row the number of its own among them."""

    texts: list[str]
    rows: Int[np.ndarray, " n"]


def of_texts(texts: Sequence[str]) -> Values:
    """The column of a list; an empty text is no label."""
    numbers: dict[str, int] = {}
    rows = np.array([numbers.setdefault(text, len(numbers)) for text in texts], np.int64)
    return Values(list(numbers), rows)


def of_arrow(column: pa.ChunkedArray) -> Values:
    """A column of numbers, words or truth values.

    Raises:
        ValueError: it holds something else; the text says what.
    """
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_floating(column.type):  # pandas stores numbers so where one is missing
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
    """Names of the classes in all parts of a set, in the order of numbers if all are numbers, else of the alphabet."""
    texts = {composed(text) for column in columns for text in column.texts if text}
    if all(map(_NUMBER.fullmatch, texts)):
        return sorted({text for text in texts if int(text) >= 0}, key=lambda text: (int(text), text))
    return sorted(texts)


def class_indices(values: Values, classes: Sequence[str]) -> Int[np.ndarray, " n"]:
    """The number of each row's class; -1: it has none."""
    numbers = {name: number for number, name in enumerate(classes)}
    found = np.array([numbers.get(composed(text), -1) for text in values.texts], np.int64)
    return found[values.rows] if len(found) else np.zeros(0, np.int64)


class ClassLabels(NamedTuple):
    """The classes of a set and the number of each row's; both None where there are none, and why (see `Source`)."""

    classes: list[str] | None
    numbers: Int[np.ndarray, " n"] | None
    why_unlabelled: str = ""


def class_labels(column: str, own: pa.ChunkedArray, others: Iterable[pa.ChunkedArray]) -> ClassLabels:
    """Class numbers of a column of Arrow.

    Args:
        column: its name.
        own: its values in the part that is opened.
        others: its values in the other parts, whose classes count too.
    """
    try:
        values, *rest = [of_arrow(part) for part in (own, *others)]
    except InputError:
        raise
    except ValueError as error:
        return ClassLabels(None, None, f"its column '{column}' holds {error}")
    classes = class_list([values, *rest])
    return ClassLabels(classes, class_indices(values, classes))
