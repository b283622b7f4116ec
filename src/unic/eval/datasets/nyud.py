"""NYU Depth v2, indoor rooms with the depths of a Kinect; the official labelled split (Silberman et al., ECCV 2012).

Images are JPEG files and depths 16-bit PNG files in millimetres, 0 for unknown, as the preparation script of BTS (arXiv
1907.10326) writes them from the published archive.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from unic.data.sources.dense import PixelPairs
from unic.eval.datasets._files import Origin
from unic.eval.datasets.base import DataPair

COUNTS = (795, 654, 0)
_ORIGIN = Origin(
    "nyud",
    "official_splits/train/ and official_splits/test/ with SCENE/rgb_*.jpg and SCENE/sync_depth_*.png",
    "http://horatio.cs.nyu.edu/mit/silberman/nyu_depth_v2/nyu_depth_v2_labeled.mat, written as files by "
    "utils/extract_official_train_test_set_from_mat.py of https://github.com/cleinc/bts",
)


def load(root: Path, *, download: bool = False) -> DataPair:
    return DataPair("nyud", load_train(root), _part(root, "test"))


def load_train(root: Path) -> PixelPairs:
    return _part(root, "train")


def eigen_crop(depth: np.ndarray) -> np.ndarray:
    """Depths with unknown values outside rows 45 … 470 and columns 41 … 600 of 480 × 640.

    The sensor measures little near the border, so papers since Eigen et al. (arXiv 1406.2283) leave it out.
    """
    height, width = depth.shape
    top, bottom = round(45 / 480 * height), round(471 / 480 * height)
    left, right = round(41 / 640 * width), round(601 / 640 * width)
    cropped = np.zeros_like(depth)
    cropped[top:bottom, left:right] = depth[top:bottom, left:right]
    return cropped


def _part(root: Path, part: str) -> PixelPairs:
    folder = _ORIGIN.folder(root) / "official_splits"
    with _ORIGIN.reading(root):
        if not folder.is_dir():
            raise _ORIGIN.error(root)
        images = sorted(file.relative_to(folder) for file in (folder / part).glob("*/rgb_*.jpg"))
        names = [
            (image.as_posix(), (image.parent / f"sync_depth_{image.stem.removeprefix('rgb_')}.png").as_posix())
            for image in images
        ]
        return PixelPairs(str(folder), folder, names, "depth", adapt=eigen_crop)
