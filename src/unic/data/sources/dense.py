"""Images with a target for every pixel: pairs of files, and the layouts of folders in which they are found.

A folder is read without code if it holds `images` and, beside it, `masks` or `annotations` (PNG, a pixel is a class
index) or `depth` (16-bit PNG in millimetres, or .npy in metres), a target named as its image but for the ending. Parts
are folders around both (`train/images`, `train/masks`) or inside each (`images/train`, `masks/train`). Beside them may
lie `classes.txt` or `classes.json` with the names of the classes, and `depth_scale.txt` with the steps in a metre where
PNGs are not in millimetres.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from unic.data.decode import decode
from unic.data.sources import _links, _splits
from unic.data.sources._targets import IGNORED, MILLIMETRES, MisfitError, check_fit, class_names, read_depth, read_mask
from unic.data.sources.base import DamagedImageError, Source
from unic.data.sources.folder import Folder
from unic.data.sources.listed import Listed
from unic.digest import sha256_of_value
from unic.errors import InputError

TargetKind = Literal["masks", "depth"]

_KINDS: dict[str, TargetKind] = {"masks": "masks", "annotations": "masks", "depth": "depth"}  # by name of the folder
_ENDINGS = {"masks": (".png",), "depth": (".png", ".npy")}
_CHECKED = 16  # pairs that are read when a set is opened
_COUNTED = 2000  # masks that are read to count classes without names: some seconds


class PixelPairs(Source):
    """Files of images and their targets.

    An image whose target is damaged or does not fit is damaged itself: `read` looks at both, since what is measured
    later needs both. A few pairs are read at once, so that a layout that is wrong everywhere is an error.

    Args:
        path: as the user wrote it.
        root: the folder that holds everything. Links that lead out of it count as missing files, see `Listed`.
        pairs: names of image and target below `root`.
        pixels: what the targets are.
        classes: names of the classes of masks; None: as many as the masks hold, which are all read for it.
        adapt: what is done to every target that was read, a function of a module (it is sent to worker processes).
        depth_scale: steps of a depth PNG in a metre.

    Raises:
        InputError: a file is missing, one of the first pairs does not fit, or classes cannot be counted.
    """

    def __init__(
        self,
        path: str,
        root: Path,
        pairs: Sequence[tuple[str, str]],
        pixels: TargetKind,
        *,
        classes: list[str] | None = None,
        adapt: Callable[[np.ndarray], np.ndarray] | None = None,
        depth_scale: float = MILLIMETRES,
    ) -> None:
        self.path, self.pixels = path, pixels
        self._root, self._adapt, self._scale = root, adapt, depth_scale
        # Their labels mean nothing: lists that were checked are what is wanted.
        self._images, self._targets = (
            Listed(path, root, [pair[part] for pair in pairs], np.zeros(len(pairs)), [""]) for part in (0, 1)
        )
        if pixels == "masks":
            self.classes = classes or self._count_classes()
        self._check_some()

    def __len__(self) -> int:
        return len(self._images)

    def read(self, index: int) -> Image.Image:
        image = decode(self._images.encoded(index), whole=True)
        check_fit(image, self.target(index), self.classes)
        return image

    def stored(self, index: int) -> Path:
        return self._images.encoded(index)

    def label(self, index: int) -> None:
        return None

    def target(self, index: int) -> np.ndarray:
        file = self._root / self._targets.name(index)
        target = read_mask(file) if self.pixels == "masks" else read_depth(file, self._scale)
        return target if self._adapt is None else self._adapt(target)

    def name(self, index: int) -> str:
        return self._images.name(index)

    def fingerprint(self) -> str:
        """Hash of names, sizes and modification times of images and targets, and of how targets are read."""
        return self._digest(self._images.fingerprint(), self._targets.fingerprint())

    def portable_fingerprint(self) -> str:
        return self._digest(self._images.portable_fingerprint(), self._targets.portable_fingerprint())

    def _digest(self, *parts: str) -> str:
        adapt = "" if self._adapt is None else f"{self._adapt.__module__}.{self._adapt.__qualname__}"
        return sha256_of_value((*parts, self.pixels, self.classes, adapt, self._scale))[:16]

    def _count_classes(self) -> list[str]:
        if len(self) > _COUNTED:
            raise InputError(f"data '{self.path}': no classes.txt or classes.json that names the classes of the masks")
        largest = 0
        for index in range(len(self)):
            with self._misfits_are_errors(index):
                target = self.target(index)
                largest = max(largest, int(target.max(initial=0, where=target != IGNORED)))
        if largest == 0:
            raise InputError(f"data '{self.path}': its masks hold a single class ({IGNORED} means: not asked about)")
        return [str(number) for number in range(largest + 1)]

    def _check_some(self) -> None:
        for index in np.linspace(0, len(self) - 1, min(_CHECKED, len(self))).astype(int).tolist():
            with self._misfits_are_errors(index):
                self.read(index)

    @contextmanager
    def _misfits_are_errors(self, index: int) -> Iterator[None]:
        """A damaged image passes: it is skipped and listed when it is wanted, like any other."""
        try:
            yield
        except MisfitError as error:
            raise InputError(f"data '{self.path}': {self.name(index)}: {error}") from None
        except DamagedImageError:
            pass


def open_folder(path: str, place: Path, split: str | None) -> PixelPairs | None:
    """A part of a folder in one of the layouts above; None if it is in none of them.

    Args:
        path: what the user wrote, for messages and for the source's own name.
        place: the folder.
        split: a part; None: the training part, or all images where the folder has no parts.

    Raises:
        InputError: the split, a target or a name is missing, or images or targets are a link out of the folder.
    """
    wanted = split or _splits.TRAIN
    outer = _spelt(path, wanted, place)
    for name in _KINDS:
        inner = _spelt(path, wanted, place / "images")
        for images, targets in ((f"{outer}/images", f"{outer}/{name}"), (f"images/{inner}", f"{name}/{inner}")):
            if (place / images).is_dir() and (place / targets).is_dir():
                return _open(path, place, place / images, place / targets, _KINDS[name])
        if (place / "images").is_dir() and (place / name).is_dir():
            inside = (part for part in os.listdir(place / name) if (place / "images" / part).is_dir())
            parts = set(filter(_splits.kind_of, inside))
            if parts or split is not None:
                raise _splits.missing(path, wanted, parts, f"images and {name} have no train/ and test/ subfolders")
            return _open(path, place, place / "images", place / name, _KINDS[name])
    return None


def _spelt(path: str, split: str, folder: Path) -> str:
    names = filter(_splits.kind_of, _splits.subfolders(folder)) if folder.is_dir() else ()
    return _splits.spelt(path, split, names) or split


def _open(path: str, place: Path, images: Path, targets: Path, pixels: TargetKind) -> PixelPairs:
    for folder in (images, targets):
        if not _links.stays(folder, place.resolve()):
            raise InputError(f"data '{path}': {folder} leads out of the folder; {_links.HINT}")
    listed, endings = Folder(path, images), _ENDINGS[pixels]
    image_part, target_part = (folder.relative_to(place).as_posix() for folder in (images, targets))
    pairs = []
    for name in (listed.name(index) for index in range(len(listed))):
        stem = name.rpartition(".")[0]
        ending = next((ending for ending in endings if (targets / f"{stem}{ending}").is_file()), endings[0])
        pairs.append((f"{image_part}/{name}", f"{target_part}/{stem}{ending}"))
    if pixels == "masks":
        return PixelPairs(path, place, pairs, pixels, classes=class_names(path, place, images.parent))
    return PixelPairs(path, place, pairs, pixels, depth_scale=_depth_scale(path, place / "depth_scale.txt"))


def _depth_scale(path: str, file: Path) -> float:
    """Steps of a depth PNG in a metre: from a file with the number alone, else millimetres."""
    if not file.is_file():
        return MILLIMETRES
    try:
        scale = float(file.read_text(encoding="utf-8"))
    except ValueError:
        scale = math.nan
    if not 0 < scale < math.inf:
        raise InputError(f"data '{path}': {file}: expected a positive number, the steps of a depth PNG in a metre")
    return scale
