"""SUN397, 397 kinds of scenes; the first of its ten published splits (Xiao et al., 2010)."""

from __future__ import annotations

from pathlib import Path

from unic.eval.datasets._files import Origin, from_list
from unic.eval.datasets.base import DataPair

COUNTS = (19_850, 19_850, 397)
_ORIGIN = Origin(
    "sun397",
    "SUN397/ and, of Partitions.zip, Training_01.txt and Testing_01.txt",
    "https://vision.princeton.edu/projects/2010/SUN/",
    "39 GB",
)
_SPLITS = (
    "https://vision.princeton.edu/projects/2010/SUN/download/Partitions.zip",
    "29a205c0a0129d21f36cbecfefe81881",
)


def load(root: Path, *, download: bool = False) -> DataPair:
    folder = _ORIGIN.folder(root)
    if download and not (folder / "Testing_01.txt").exists():
        _ORIGIN.fetch(root, [_SPLITS])
    if download and not (folder / "SUN397").exists():
        from torchvision.datasets import SUN397

        with _ORIGIN.reading(root, download):
            SUN397(folder, download=True)
    with _ORIGIN.reading(root):
        train, test = (
            from_list(folder / f"{part}_01.txt", folder / "SUN397", _class) for part in ("Training", "Testing")
        )
    return DataPair("sun397", train, test)


def _class(name: str) -> str:
    """The class in a path such as `a/abbey/sun_xyz.jpg`: its first letter, the class of one or two levels, the file."""
    return name.rpartition("/")[0][2:]
