"""What may end a path: `all.parquet?test=0.2&seed=0`. Any other `?` in a path is part of a pattern or of a URL."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import unquote

from unic.errors import InputError, nearest

_KEYS = ("test", "seed", "overlap", "image", "label")
_OPTIONS = re.compile(rf"\?(?=(?:{'|'.join(_KEYS)})=)(?P<options>[^?/]*)\Z")
_SEED = re.compile(r"[0-9]{1,18}")  # fits into 63 bits


class ColumnNames(NamedTuple):
    """Columns of a table that the user has named; None: to be found."""

    image: str | None = None
    label: str | None = None

    def refuse(self, path: str) -> None:
        """Raises `InputError` if a column is named: of a set that is no table."""
        for option, name in self._asdict().items():
            if name is not None:
                raise InputError(f"data '{path}': {option}={name} names a column, and this set has no columns")


UNNAMED = ColumnNames()


class PathOptions(NamedTuple):
    """`test`: the share of the images that a random test part takes, between 0 and 1; None: the set has its own parts.
    `seed`: of that draw. `allows_overlap`: whether a test image may be a training image too. `columns`: of a table."""

    test: float | None = None
    seed: int = 0
    allows_overlap: bool = False
    columns: ColumnNames = UNNAMED


def split_off(path: str) -> tuple[str, PathOptions]:
    """The path without its options, and these. In the name of a column `%2F` stands for a slash, as in URLs.

    Raises:
        InputError: an unknown option, one given twice, or a value that it does not take.
    """
    found = _OPTIONS.search(path)
    if found is None:
        return path, PathOptions()
    given: dict[str, str] = {}
    for part in found["options"].split("&"):
        key, _, value = part.partition("=")
        if key not in _KEYS:
            raise InputError(f"data '{path}': unknown option '{key}'{nearest(key, _KEYS)}")
        if key in given:
            raise InputError(f"data '{path}': the option '{key}' is given twice")
        given[key] = value
    if "seed" in given and "test" not in given:
        raise InputError(f"data '{path}': 'seed' is of a random test part; expected 'test' beside it, such as test=0.2")
    if given.get("overlap", "allow") != "allow":
        raise InputError(f"data '{path}': overlap={given['overlap']}; expected overlap=allow")
    names = {key: unquote(given[key]) for key in ColumnNames._fields if key in given}
    if "" in names.values():
        raise InputError(f"data '{path}': expected the name of a column behind image= and label=")
    share = _share(path, given["test"]) if "test" in given else None
    seed = _seed(path, given.get("seed", "0"))
    return path[: found.start()], PathOptions(share, seed, "overlap" in given, ColumnNames(**names))


def _share(path: str, text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = 0.0
    if not 0 < share < 1:
        raise InputError(f"data '{path}': test={text}; expected the share of the images, between 0 and 1, such as 0.2")
    return share


def _seed(path: str, text: str) -> int:
    if not _SEED.fullmatch(text):
        raise InputError(f"data '{path}': seed={text}; expected a whole number from 0 on, of at most 18 digits")
    return int(text)
