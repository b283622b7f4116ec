"""Images with a target for every pixel: pairs of files, and the folders that hold them.

A folder holds `images` and, beside it, `masks` or `annotations` (PNG, a pixel is a class index) or `depth` (16-bit PNG
in millimetres, or .npy in metres). A target has the name of its image, with its own suffix. Splits are folders around
both (`train/images`, `train/masks`) or inside each (`images/train`, `masks/train`). Beside them may be `classes.txt` or
`classes.json` with the names of the classes, and `depth_scale.txt` with the steps in a metre of PNGs that are not in
millimetres.
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
_COUNTED = 2000  # most masks that are read, in some seconds, to count classes without names


class PixelPairs(Source):
    """Files of images and their targets.

    Later work needs both, so `read` checks the target, too: an image with a damaged or misfitting target is damaged
    itself. A few pairs are read when the set is opened, so that a wrong layout is an error at once.

    Args:
        path: as the user wrote it.
        root: the folder of all files. Links that lead out of it count as missing files, see `Listed`.
        pairs: names of image and target, relative to `root`.
        pixels: kind of the targets.
        classes: names of the classes of masks; None: all masks are read to count the classes.
        adapt: function on every target that is read. Its module and name are part of the fingerprint, and it is sent to
            worker processes, so it must be importable.
        depth_scale: steps of a depth PNG in a metre.

    Raises:
        InputError: a file is missing, one of the checked pairs does not fit, or classes cannot be counted.
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
        # `Listed` checks that the files exist; it needs labels, which are not used.
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
        check_fit(image, self._stored_target(index), self.classes)
        return image

    def stored(self, index: int) -> Path:
        return self._images.encoded(index)

    def label(self, index: int) -> None:
        return None

    def target(self, index: int) -> np.ndarray:
        return self._stored_target(index)

    def _stored_target(self, index: int) -> np.ndarray:
        """The target of the whole stored image, adapted."""
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
            raise InputError(f"data '{self.path}': no classes.txt or classes.json names the classes of its masks")
        largest = 0
        for index in range(len(self)):
            with self._misfits_are_errors(index):
                target = self.target(index)
                largest = max(largest, int(target.max(initial=0, where=target != IGNORED)))
        if largest == 0:
            raise InputError(f"data '{self.path}': its masks hold a single class ({IGNORED} means: ignored)")
        return [str(label) for label in range(largest + 1)]

    def _check_some(self) -> None:
        for index in np.linspace(0, len(self) - 1, min(_CHECKED, len(self))).astype(int).tolist():
            with self._misfits_are_errors(index):
                self.read(index)

    @contextmanager
    def _misfits_are_errors(self, index: int) -> Iterator[None]:
        """Turns a misfit into an `InputError`. A damaged image is no error here: it is left out when it is read."""
        try:
            yield
        except MisfitError as error:
            raise InputError(f"data '{self.path}': {self.name(index)}: {error}") from None
        except DamagedImageError:
            pass


def open_folder(path: str, place: Path, split: str | None) -> PixelPairs | None:
    """Opens a folder in one of the layouts above; None if it has none of them.

    Args:
        path: as the user wrote it.
        place: the folder.
        split: name of a split; None: the training split, or all images if the folder has no splits.

    Raises:
        InputError: the split, a target or the names of the classes are missing, or the folder of the images or targets
            is a link out of `place`.
    """
    wanted = split or _splits.TRAIN
    outer = _spelt(path, wanted, place)
    for name in _KINDS:
        inner = _spelt(path, wanted, place / "images")
        for images, targets in ((f"{outer}/images", f"{outer}/{name}"), (f"images/{inner}", f"{name}/{inner}")):
            if (place / images).is_dir() and (place / targets).is_dir():
                return _open(path, place, place / images, place / targets, _KINDS[name])
        if (place / "images").is_dir() and (place / name).is_dir():
            inside = (folder for folder in os.listdir(place / name) if (place / "images" / folder).is_dir())
            splits = set(filter(_splits.kind_of, inside))
            if splits or split is not None:
                raise _splits.missing(path, wanted, splits, f"images and {name} have no train/ and test/ subfolders")
            return _open(path, place, place / "images", place / name, _KINDS[name])
    return None


def _spelt(path: str, split: str, folder: Path) -> str:
    """The name of a split as the subfolders of a folder spell it; the name itself if none of them is the split."""
    names = filter(_splits.kind_of, _splits.subfolders(folder)) if folder.is_dir() else ()
    return _splits.spelt(path, split, names) or split


def _open(path: str, place: Path, images: Path, targets: Path, pixels: TargetKind) -> PixelPairs:
    for folder in (images, targets):
        if not _links.stays(folder, place.resolve()):
            raise InputError(f"data '{path}': the link {folder} leads out of the folder; {_links.HINT}")
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
    """Steps of a depth PNG in a metre, from a file that holds this number; without the file, millimetres."""
    if not file.is_file():
        return MILLIMETRES
    try:
        scale = float(file.read_text(encoding="utf-8"))
    except ValueError:
        scale = math.nan
    if not 0 < scale < math.inf:
        raise InputError(f"data '{path}': {file}: expected a positive number: the steps of a depth PNG in a metre")
    return scale
