"""Options at the end of a path: `all.parquet?test=0.2&seed=0`. Any other `?` is part of a pattern or of a URL."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import unquote

from unic.errors import InputError, nearest

_KEYS = ("test", "seed", "overlap", "image", "label")
_OPTIONS = re.compile(rf"\?(?=(?:{'|'.join(_KEYS)})=)(?P<options>[^?/]*)\Z")
COMPUTED = ("generated:", "py:")  # beginnings of paths that name a function, whose arguments the options are
_SEED = re.compile(r"[0-9]{1,18}")  # fits into 63 bits


class ColumnNames(NamedTuple):
    """Columns of a table that the user has named; None: the column is chosen."""

    image: str | None = None
    label: str | None = None

    def refuse(self, path: str) -> None:
        """For a set that is not a table: raises `InputError` if the user has named a column."""
        for option, name in self._asdict().items():
            if name is not None:
                raise InputError(f"data '{path}': {option}={name} names a column, but this set has no columns")


UNNAMED = ColumnNames()


class PathOptions(NamedTuple):
    """The options of a path.

    Attributes:
        test: share of the images in a random test split, between 0 and 1; None: the set is not split at random.
        seed: seed of the random split.
        allows_overlap: whether test images may also be training images.
        columns: columns of a table that the user has named.
    """

    test: float | None = None
    seed: int = 0
    allows_overlap: bool = False
    columns: ColumnNames = UNNAMED


def split_off(path: str) -> tuple[str, PathOptions]:
    """The path without its options, and the options. In the name of a column `%2F` stands for a slash, as in URLs.

    Raises:
        InputError: an option is unknown, given twice, or has an invalid value.
    """
    match = None if path.startswith(COMPUTED) else _OPTIONS.search(path)
    if match is None:
        return path, PathOptions()
    given: dict[str, str] = {}
    for part in match["options"].split("&"):
        key, _, value = part.partition("=")
        if key not in _KEYS:
            raise InputError(f"data '{path}': unknown option '{key}'{nearest(key, _KEYS)}")
        if key in given:
            raise InputError(f"data '{path}': the option '{key}' is given twice")
        given[key] = value
    if "seed" in given and "test" not in given:
        raise InputError(f"data '{path}': 'seed' needs 'test', the share of a random test split, such as test=0.2")
    if given.get("overlap", "allow") != "allow":
        raise InputError(f"data '{path}': overlap={given['overlap']}; expected overlap=allow")
    names = {key: unquote(given[key]) for key in ColumnNames._fields if key in given}
    if "" in names.values():
        raise InputError(f"data '{path}': expected the name of a column after image= and label=")
    share = _share(path, given["test"]) if "test" in given else None
    seed = _seed(path, given.get("seed", "0"))
    return path[: match.start()], PathOptions(share, seed, "overlap" in given, ColumnNames(**names))


def _share(path: str, text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = 0.0
    if not 0 < share < 1:
        raise InputError(f"data '{path}': test={text}; expected a share of the images between 0 and 1, such as 0.2")
    return share


def _seed(path: str, text: str) -> int:
    if not _SEED.fullmatch(text):
        raise InputError(f"data '{path}': seed={text}; expected a whole number of at most 18 digits, at least 0")
    return int(text)
