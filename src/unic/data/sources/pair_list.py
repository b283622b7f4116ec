"""Images and depths from a list file, as BTS (arXiv 1907.10326) and later code read NYUd.

A line holds an image, its depth and the focal length of the camera, separated by spaces:
`/kitchen_0028b/rgb_00045.jpg /kitchen_0028b/sync_depth_00045.png 518.8579`. Files lie below the folder of the list; a
leading slash is left out. Depths are 16-bit PNGs in millimetres. A pair whose depth is called `None` is left out. The
focal length is checked and not used.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from unic.data.sources.dense import PixelPairs
from unic.errors import InputError, reason_of

Box = tuple[int, int, int, int]
"""First row, row after the last, first column, column after the last."""


class PairList(PixelPairs):
    """The pairs of a list file.

    Args:
        path: as the user wrote it.
        file: the list.
        adapt: see `PixelPairs`.
        box: function that gives the part of an image to keep, from its height and width; it must be importable. The
            rest of image and depth is cut off. None: nothing is.

    Raises:
        InputError: the list cannot be read or is empty, a line has another form, a file is missing, or one of the
            checked pairs does not fit. The message has the number of the line.
    """

    def __init__(
        self,
        path: str,
        file: Path,
        *,
        adapt: Callable[[np.ndarray], np.ndarray] | None = None,
        box: Callable[[int, int], Box] | None = None,
    ) -> None:
        self._file, self._box = file, box
        found = list(_pairs(path, file))
        self._lines = np.array([number for number, _ in found], np.int32)
        super().__init__(path, file.parent, [pair for _, pair in found], "depth", adapt=adapt)

    def read(self, index: int) -> Image.Image:
        image = super().read(index)
        if self._box is None:
            return image
        top, bottom, left, right = self._box(image.height, image.width)
        return image.crop((left, top, right, bottom))

    def target(self, index: int) -> np.ndarray:
        target = super().target(index)
        if self._box is None:
            return target
        top, bottom, left, right = self._box(*target.shape)
        return target[top:bottom, left:right]

    def name(self, index: int) -> str:
        return f"{self._file.name}, line {self._lines[index]}: {super().name(index)}"

    def _digest(self, *parts: str) -> str:
        box = "" if self._box is None else f"{self._box.__module__}.{self._box.__qualname__}"
        return super()._digest(*parts, box)


def _pairs(path: str, file: Path) -> Iterator[tuple[int, tuple[str, str]]]:
    """Number of the line, image and depth of every pair."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise InputError(f"data '{path}': {file} cannot be read ({reason_of(error)})") from None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"data '{path}': {file}, line {number}"
        fields = line.split()
        if len(fields) != 3 or not _is_positive(fields[2]):
            raise InputError(f"{where}: expected 'IMAGE DEPTH FOCAL_LENGTH', not '{line.strip()[:200]}'")
        image, depth = (name.lstrip("/\\") for name in fields[:2])
        if depth == "None":
            continue
        for name in (image, depth):
            if not (file.parent / name).is_file():
                raise InputError(f"{where}: no file {file.parent / name}")
        if not depth.endswith(".png"):
            raise InputError(f"{where}: expected a depth in a PNG file, not {depth}")
        yield number, (image, depth)


def _is_positive(text: str) -> bool:
    try:
        return 0 < float(text) < math.inf
    except ValueError:
        return False
