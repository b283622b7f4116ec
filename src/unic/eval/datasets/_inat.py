"""The yearly iNaturalist challenges: all images in one folder, train and val as annotation files in COCO's format."""

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
    """The training and validation images of a year.

    Args:
        year: the year.
        md5: MD5 of the archives of images, training annotations and validation annotations.
        size: size of the three archives together.
        root: folder of the sets.
        download: fetch the archives if they are missing.
    """
    archives = (f"train_val{year}.tar.gz", f"train{year}.json.tar.gz", f"val{year}.json.tar.gz")
    origin = Origin(
        f"inat{year}",
        f"train_val{year}/, train{year}.json and val{year}.json",
        f"https://github.com/visipedia/inat_comp/tree/master/{year}",
        size,
    )
    folder = origin.folder(root)
    if download and not (folder / f"val{year}.json").exists():  # the file that is unpacked last
        origin.fetch(root, [(f"{_BUCKET}/{year}/{name}", md5) for name, md5 in zip(archives, md5, strict=True)])
    with origin.reading(root):
        train, test = (_part(folder / f"{part}{year}.json") for part in ("train", "val"))
    return DataPair(origin.name, train, test)


def _part(file: Path) -> Listed:
    content: dict[str, Any] = json.loads(file.read_bytes())
    categories = sorted(content["categories"], key=lambda category: category["id"])
    index_of = {category["id"]: index for index, category in enumerate(categories)}
    classes = [str(category["name"]) for category in categories]
    if len(set(classes)) < len(classes):
        classes = [str(category["id"]) for category in categories]
    category_of = {annotation["image_id"]: annotation["category_id"] for annotation in content["annotations"]}
    names = [image["file_name"] for image in content["images"]]
    labels = [index_of[category_of[image["id"]]] for image in content["images"]]
    return Listed(str(file), file.parent, names, labels, classes)
