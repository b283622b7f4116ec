"""Images that are drawn when they are read: `generated:dead_leaves?images=100000&size=256&seed=0`.

Families are the modules of `unic.data.generated`. An image is a function of (family, options, seed, index). So the
source needs no disk, is the same in every process, and can be resumed like any other.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType

import numpy as np
import PIL
from jaxtyping import UInt8
from PIL import Image

from unic import lookup, rng
from unic.data.sources._call_options import read_options, value_of
from unic.data.sources.base import Source
from unic.digest import sha256
from unic.errors import InputError, nearest
from unic.own_code import own_code

PREFIX = "generated:"
PACKAGE = "unic.data.generated"
_IMAGES, _SIZE, _SEED = 100_000, 256, 0
_MOST = 1_000_000_000  # images
_LARGEST = 2048  # pixels of a side

Draw = Callable[[np.random.Generator, int], UInt8[np.ndarray, "s s 3"]]


class Generated(Source):
    """Images of one family.

    Args:
        path: as the user wrote it.
        draw: takes a generator and the size, returns an image `(size, size, 3)`.
        identity: family, size and options, as text; keys the images.
        code: hash of the family's code and of the libraries with which it draws.
        images: number of images.
        size: side in pixels.
        seed: seed of the images.
    """

    def __init__(self, path: str, draw: Draw, identity: str, code: str, *, images: int, size: int, seed: int) -> None:
        self.path = path
        self._draw, self._identity, self._code = draw, identity, code
        self._images, self._size, self._seed = images, size, seed
        self._key = rng.seed_of(rng.stream(identity), seed)

    def __len__(self) -> int:
        return self._images

    def read(self, index: int) -> Image.Image:
        assert 0 <= index < self._images, index
        random = np.random.Generator(np.random.Philox(key=[self._key, index]))
        return Image.fromarray(self._draw(random, self._size))

    def label(self, index: int) -> None:
        return None

    def name(self, index: int) -> str:
        return f"{self.path}[{index}]"

    def fingerprint(self) -> str:
        return sha256(f"{self.portable_fingerprint()} {self._code}")[:16]

    def portable_fingerprint(self) -> str:
        """Hash without code and versions of libraries, so that a run can be resumed with a newer numpy."""
        return sha256(f"{self._identity} {self._images} {self._seed}")[:16]


def open_generated(path: str) -> Generated:
    """Opens a path such as `generated:FAMILY?images=N&size=S&seed=K`, which may have further options of the family.

    Raises:
        InputError: a family or option is unknown, or an option has an invalid value.
        UntrustedError: the family is the user's own module, and its code is not trusted.
    """
    family, _, query = path.removeprefix(PREFIX).partition("?")
    module = lookup.module(PACKAGE, family)
    draw = lookup.entry(PACKAGE, family, "draw")
    given = read_options(path, query)
    images = _whole(path, "images", given.pop("images", str(_IMAGES)), 1, _MOST)
    size = _whole(path, "size", given.pop("size", str(_SIZE)), 8, _LARGEST)
    seed = _whole(path, "seed", given.pop("seed", str(_SEED)), 0, (1 << 62))
    valid = ["images", "size", "seed", *lookup.options_of(draw)]
    for key in given:
        if key not in valid:
            raise InputError(f"data '{path}': unknown option '{key}'{nearest(key, valid)}")
    lookup.check_needed(draw, given, f"data '{path}'")
    options = {key: value_of(path, draw, key, text) for key, text in sorted(given.items())}
    identity = " ".join([family, str(size), *(f"{key}={value!r}" for key, value in options.items())])
    source = Generated(path, partial(draw, **options), identity, _code(module), images=images, size=size, seed=seed)
    try:
        source.read(0)  # a family checks its options when it draws
    except InputError as error:
        raise InputError(f"data '{path}': {error}") from None
    return source


def _code(module: ModuleType) -> str:
    """Hash of the code of a family, and the versions of the libraries.

    A shipped family counts with all files of its package, comments included: an edit there gives the features of every
    generated set new keys.
    """
    libraries = f"numpy {np.__version__} pillow {PIL.__version__}"
    if module.__name__.startswith(f"{PACKAGE}."):
        files = sorted(Path(str(module.__file__)).parent.glob("*.py"))
        return f"{sha256(*(file.read_bytes() for file in files))} {libraries}"
    own = own_code([module.__name__])
    unknown = secrets.token_hex(8) if own.unknown else ""  # code that is not known in full never has the same key
    return f"{own.digest}{unknown} {libraries}"


def _whole(path: str, key: str, text: str, least: int, most: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20 and least <= int(text) <= most):
        raise InputError(f"data '{path}': {key}={text}; expected a whole number from {least} to {most:,}")
    return int(text)
