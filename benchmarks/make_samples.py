"""Builds `samples/` from raw shards: the same test files, and train files without duplicates of test images.

    python benchmarks/make_samples.py SOURCE samples

An image of a train file is dropped if it is a duplicate of a test image **of any set** (distillation trains on all of
them together), or of any image of a set that is never trained on. Train files are thinned instead of test files, so
that earlier measurements stay comparable. A set that is never trained on stays whole.

Two images are duplicates if, both reduced to 16 × 16 RGB, they differ by less than a tenth of their own contrast:
`Σ|a − b| < 0.1 · ½ (Σ|a − median(a)| + Σ|b − median(b)|)`. A plain mean difference would not do: a thin letter on
black differs little from every other thin letter. The threshold comes from looking at pairs. Below 0.1 are copies, the
same letter of a sister font (round or square corners), and the same flag or face with one small change. Different
drawings begin at 0.1 to 0.15.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image

from unic.data.sources import open_source

SIDE = 16
THRESHOLD = 0.1
CHUNK = 512  # rows of one distance matrix
UNSEEN = ("stamps",)  # never trained on, labelled or not


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="folder with SET/train.parquet and SET/test.parquet")
    parser.add_argument("target", type=Path)
    arguments = parser.parse_args()
    tests = sorted(arguments.source.glob("*/test.parquet"))
    tests += [arguments.source / name / "train.parquet" for name in UNSEEN]
    shown = torch.cat([small(file) for file in tests])
    for file in sorted(arguments.source.glob("*/*.*")):
        target = arguments.target / file.relative_to(arguments.source)
        target.parent.mkdir(parents=True, exist_ok=True)
        if file.name != "train.parquet" or file.parent.name in UNSEEN:
            shutil.copyfile(file, target)
            continue
        distance = nearest(small(file), shown)
        keep = distance >= THRESHOLD
        table = pq.read_table(file)
        kept = table.filter(pa.array(keep.numpy()))  # the schema keeps the Hugging Face features
        pq.write_table(kept, target, compression="zstd")
        exact = int((distance < 1e-6).sum())
        print(f"{file.parent.name}: {len(table)} - {exact} exact - {len(table) - len(kept) - exact} near = {len(kept)}")
    size = sum(file.stat().st_size for file in arguments.target.glob("*/*.*"))
    print(f"{size / 1e6:.1f} MB")


def small(file: Path) -> torch.Tensor:
    """All images of a file, `(n, 3 * SIDE * SIDE)` in [0, 255]."""
    source = open_source(str(file))
    images = [source.read(index).resize((SIDE, SIDE), Image.Resampling.BOX) for index in range(len(source))]
    return torch.from_numpy(np.stack([np.asarray(image, dtype=np.float32) for image in images])).flatten(1)


def nearest(train: torch.Tensor, test: torch.Tensor) -> torch.Tensor:
    """Distance of every train image to the closest test image, in units of their contrast: `(n,)`."""
    best = []
    contrast = _contrast(test)
    for rows in train.split(CHUNK):
        scale = (_contrast(rows)[:, None] + contrast) / 2
        best.append((torch.cdist(rows, test, p=1) / scale.clamp(min=1)).amin(dim=1))
    return torch.cat(best)


def _contrast(images: torch.Tensor) -> torch.Tensor:
    return (images - images.median(dim=1, keepdim=True).values).abs().sum(dim=1)


if __name__ == "__main__":
    main()
