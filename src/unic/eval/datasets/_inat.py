"""The yearly iNaturalist challenges: images in one tree, train and val as annotations in the format of COCO."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unic.data.sources.listed import Listed
from unic.eval.datasets._files import Origin
from unic.eval.datasets.base import DataPair

_BUCKET = "https://ml-inat-competition-datasets.s3.amazonaws.com"


def open_year(year: int, md5: Sequence[str], size: str, root: Path, download: bool) -> DataPair:
    """One year's training and validation images.

    Args:
        md5: of the archives of images, training and validation annotations.
        size: of all three.
    """
    archives = (f"train_val{year}.tar.gz", f"train{year}.json.tar.gz", f"val{year}.json.tar.gz")
    origin = Origin(
        f"inat{year}",
        f"train_val{year}/, train{year}.json and val{year}.json",
        f"https://github.com/visipedia/inat_comp/tree/master/{year}",
        size,
    )
    folder = origin.folder(root)
    if download and not (folder / f"val{year}.json").exists():  # the last to be unpacked
        origin.fetch(root, [(f"{_BUCKET}/{year}/{name}", md5) for name, md5 in zip(archives, md5, strict=True)])
    with origin.reading(root):
        train, test = (_part(folder / f"{part}{year}.json") for part in ("train", "val"))
    return DataPair(origin.name, train, test)


def _part(file: Path) -> Listed:
    content: dict[str, Any] = json.loads(file.read_bytes())
    categories = sorted(content["categories"], key=lambda category: category["id"])
    number = {category["id"]: index for index, category in enumerate(categories)}
    classes = [str(category["name"]) for category in categories]
    if len(set(classes)) < len(classes):
        classes = [str(category["id"]) for category in categories]
    category_of = {annotation["image_id"]: annotation["category_id"] for annotation in content["annotations"]}
    names = [image["file_name"] for image in content["images"]]
    labels = [number[category_of[image["id"]]] for image in content["images"]]
    return Listed(str(file), file.parent, names, labels, classes)
