"""A folder of images in any format and depth; labelled when every image lies in a class subfolder."""

from __future__ import annotations

import hashlib
import logging
import os
from pathlib import Path

import numpy as np
from PIL import Image

from unic.data.decode import SUFFIXES, decode
from unic.data.sources import _links
from unic.data.sources.base import Source
from unic.errors import InputError

log = logging.getLogger("unic")


class Folder(Source):
    """Images below `root`, in the order of their names.

    The names of the first level are the classes if no image lies outside one. Hidden files are left out, and so are
    links that lead out of the folder (see `_links`), with a warning.
    """

    def __init__(self, path: str, root: Path) -> None:
        self.path = path
        self._root = root
        names, outside = _image_names(root)
        names.sort()
        if not names:
            kinds = " ".join(sorted(SUFFIXES))
            raise InputError(f"data '{path}': no images in this folder (looked for {kinds}; {_links.HINT})")
        if outside:
            log.warning(
                "data '%s': %d links left out, the first is %s; %s", path, len(outside), min(outside), _links.HINT
            )
        # One block of bytes instead of a list of strings: a million names cost a worker process one copy, not a
        # million objects whose reference counts unshare every page after a fork.
        encoded = [os.fsencode(name) for name in names]
        self._names = b"".join(encoded)
        self._ends = np.cumsum([len(name) for name in encoded])
        self._labels: np.ndarray | None = None
        if all("/" in name for name in names):
            classes, self._labels = np.unique([name.partition("/")[0] for name in names], return_inverse=True)
            self.classes = classes.tolist()
        elif beside := _strays(names):
            log.warning(
                "data '%s': no labels, because %s outside the class folders; move or remove what lies there",
                path,
                beside,
            )

    def __len__(self) -> int:
        return len(self._ends)

    def read(self, index: int) -> Image.Image:
        return decode(self.encoded(index))

    def encoded(self, index: int) -> Path:
        return self._root / self.name(index)

    def label(self, index: int) -> int | None:
        return None if self._labels is None else int(self._labels[index])

    def name(self, index: int) -> str:
        start = self._ends[index - 1] if index > 0 else 0
        return os.fsdecode(self._names[start : self._ends[index]])

    def fingerprint(self) -> str:
        """Hash of names, sizes and modification times: reading every byte of a large folder takes too long."""
        return self._digest(with_times=True)

    def portable_fingerprint(self) -> str:
        return self._digest(with_times=False)

    def _digest(self, *, with_times: bool) -> str:
        digest = hashlib.sha256()
        for index in range(len(self)):
            name = self.name(index)
            try:
                status = (self._root / name).stat()
            except OSError:  # a link to nothing: damaged, like any other
                status = (self._root / name).lstat()
            time = f"{status.st_mtime_ns} " if with_times else ""
            digest.update(f"{status.st_size} {time}".encode() + os.fsencode(name) + b"\n")
        return digest.hexdigest()[:16]


def _strays(names: list[str]) -> str:
    """Images beside folders of images, as the middle of a sentence, where they are few: a mistake, most likely."""
    strays = [name for name in names if "/" not in name]
    if len(strays) == len(names) or len(strays) > max(1, len(names) // 10):
        return ""
    return f"{strays[0]} lies" if len(strays) == 1 else f"{len(strays)} images, the first is {strays[0]}, lie"


def _image_names(root: Path) -> tuple[list[str], list[str]]:
    """Paths below `root`, with `/` between parts: images, and links that are left out."""
    inside = root.resolve()
    found: list[str] = []
    outside: list[str] = []
    follow = _links.are_followed()
    for at, subfolders, files in os.walk(root, followlinks=follow):
        folder = Path(at)
        for name in [name for name in subfolders if (folder / name).is_symlink()]:
            if not _links.stays(folder / name, inside):
                outside.append((folder / name).relative_to(root).as_posix())
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        if follow:
            subfolders[:] = [name for name in subfolders if not _links.is_cycle(folder / name, root)]
        for name in files:
            file = folder / name
            if name.startswith(".") or file.suffix.lower() not in SUFFIXES:
                continue
            kept = found if not file.is_symlink() or _links.stays(file, inside) else outside
            kept.append(file.relative_to(root).as_posix())
    return found, outside
