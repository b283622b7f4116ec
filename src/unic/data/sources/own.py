"""Images from your own code: `py:PACKAGE.MODULE:FACTORY[?option=…]`. The factory, function or class, makes a `Source`.

Options are keyword arguments of the factory, of the type of their defaults; without a default they are texts. A factory
that takes `split` is called for each split; of other factories the images have no splits.
"""

from __future__ import annotations

import inspect
import pickle
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int
from PIL import Image
from torch import Tensor

from unic import lookup
from unic.data.sources._call_options import read_options, value_of
from unic.data.sources._splits import TRAIN
from unic.data.sources.base import Source
from unic.digest import sha256
from unic.errors import InputError, in_one_line, nearest
from unic.own_code import own_code

PREFIX = "py:"


class OwnSource(Source):
    """A source made by code from outside unic. Its fingerprint includes that code, which may decide the pixels.

    Args:
        path: as the user wrote it.
        source: what the factory made.
        code: hash of the factory's code.
    """

    def __init__(self, path: str, source: Source, code: str) -> None:
        self.path, self.classes, self.pixels = path, source.classes, source.pixels
        self.why_unlabelled, self.in_pieces = source.why_unlabelled, source.in_pieces
        self._source, self._code = source, code

    def __len__(self) -> int:
        return len(self._source)

    def read(self, index: int) -> Image.Image:
        image = self._source.read(index)
        if not isinstance(image, Image.Image) or image.mode != "RGB":
            found = f"image of mode {image.mode}" if isinstance(image, Image.Image) else type(image).__name__
            raise InputError(f"data '{self.path}': read({index}) returns {found}, expected an RGB image of Pillow")
        return image

    def encoded(self, index: int) -> bytes | Path | None:
        return self._source.encoded(index)

    def stored(self, index: int) -> bytes | Path:
        return self._source.stored(index)

    def label(self, index: int) -> int | None:
        label = self._source.label(index)
        is_index = isinstance(label, int | np.integer) and not isinstance(label, bool)
        if label is None or (is_index and 0 <= label < len(self.classes or [])):
            return label
        raise InputError(
            f"data '{self.path}': label({index}) returns {label!r}, expected an index of `classes` "
            f"({len(self.classes or [])}) or None"
        )

    def target(self, index: int) -> np.ndarray | None:
        return self._source.target(index)

    def order(self, *keys: int) -> Int[Tensor, " n"]:
        return self._source.order(*keys)

    def expect(self, indices: Int[Tensor, " m"]) -> None:
        self._source.expect(indices)

    def name(self, index: int) -> str:
        return self._source.name(index)

    def fingerprint(self) -> str:
        return sha256(f"{self._source.fingerprint()} {self._code}")[:16]

    def portable_fingerprint(self) -> str:
        """Hash without code, so that a run can be resumed after an edit that changes no image."""
        return self._source.portable_fingerprint()

    def label_fingerprint(self) -> str:
        return self._source.label_fingerprint()


def open_own(path: str, split: str | None) -> OwnSource:
    """Calls the factory that a path names.

    Args:
        path: `py:PACKAGE.MODULE:FACTORY[?option=…]`.
        split: name of a split; None: the training split, if the factory has splits.

    Raises:
        InputError: no such module, factory, option or split; or the factory makes no source, or one without images.
        UntrustedError: neither the path nor the module is trusted.
    """
    named, _, query = path.partition("?")
    factory = lookup.factory(f"data '{path}'", path)
    given = read_options(path, query)
    parameters = inspect.signature(factory).parameters
    taken = [name for name, one in parameters.items() if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]
    takes_all = any(one.kind is one.VAR_KEYWORD for one in parameters.values())
    for key in given:
        if key not in taken and not takes_all:
            raise InputError(f"data '{path}': unknown option '{key}'{nearest(key, taken)}")
    options: dict[str, Any] = {key: value_of(path, factory, key, text) for key, text in given.items()}
    options |= _split_of(path, split, given, "split" in taken)
    for key in taken:
        if parameters[key].default is inspect.Parameter.empty and key not in options:
            raise InputError(f"data '{path}': {named.rpartition(':')[2]} needs the option '{key}'")
    try:
        source = factory(**options)
    except InputError as error:
        raise InputError(f"data '{path}': {error}") from None
    except Exception as error:
        raise InputError(f"data '{path}': {named.rpartition(':')[2]} fails: {in_one_line(error)}") from error
    if not isinstance(source, Source):
        found = type(source).__name__
        raise InputError(f"data '{path}': the factory returns a {found}, expected a unic.data.sources.Source")
    if not len(source):
        raise InputError(f"data '{path}': the source has no images")
    try:
        pickle.dumps(source)
    except Exception as error:
        raise InputError(
            f"data '{path}': the source cannot be pickled, as data workers need ({in_one_line(error)}); open files in "
            "read()"
        ) from error
    return OwnSource(path, source, _code(source, factory, named))


def _split_of(path: str, split: str | None, given: dict[str, str], has_splits: bool) -> dict[str, str]:
    """The keyword argument `split`, where it is not an option of the path."""
    if split is None:
        return {"split": TRAIN} if has_splits and "split" not in given else {}
    if "split" in given:
        raise InputError(f"data '{path}': the path names the split '{given['split']}' already, so leave out '{split}'")
    if not has_splits:
        raise InputError(f"data '{path}': no split '{split}'; its factory does not take split")
    return {"split": split}


def _code(source: Source, factory: Callable[..., Any], named: str) -> str:
    """Hash of the code behind a source. Code that is not known in full never has the same hash."""
    modules = {named.removeprefix(PREFIX).partition(":")[0], factory.__module__, type(source).__module__}
    own = own_code(modules)
    return own.digest + (secrets.token_hex(8) if own.unknown else "")
