"""NYU Depth v2 with 24,231 frames of its videos to train on, and the 654 official test images (Eigen et al.; BTS).

This is the layout of BTS (arXiv 1907.10326) and of the published depth protocols: two lists of pairs, see `PairList`.
Frames have a white border, which is cut off in training.
"""

from __future__ import annotations

from pathlib import Path

from unic.data.sources.pair_list import Box, PairList
from unic.eval.datasets._files import Origin
from unic.eval.datasets.base import DataPair
from unic.eval.datasets.nyud import eigen_crop

COUNTS = (24_231, 654, 0)
_ORIGIN = Origin(
    "nyud_frames",
    "nyu_train.txt and nyu_test.txt with lines 'IMAGE DEPTH FOCAL_LENGTH', and the files that they name",
    "https://github.com/cleinc/bts (its sync.zip of frames, its test images, and the lists in train_test_inputs/)",
)


def load(root: Path, *, download: bool = False) -> DataPair:
    return DataPair("nyud_frames", load_train(root), PairList(*_list(root, "nyu_test.txt"), adapt=eigen_crop))


def load_train(root: Path) -> PairList:
    return PairList(*_list(root, "nyu_train.txt"), box=without_border)


def without_border(height: int, width: int) -> Box:
    """Rows 45 … 471 and columns 43 … 607 of 480 × 640, and the same parts of other sizes."""
    return round(45 / 480 * height), round(472 / 480 * height), round(43 / 640 * width), round(608 / 640 * width)


def _list(root: Path, name: str) -> tuple[str, Path]:
    folder = _ORIGIN.folder(root)
    if not (folder / name).is_file():
        raise _ORIGIN.error(root, f"no {folder / name}" if folder.is_dir() else None)
    return str(folder), folder / name
