"""ImageNet-1K's training part, and test sets that were made for classifiers trained on it."""

from __future__ import annotations

from pathlib import Path

from unic.data.sources.listed import Listed
from unic.errors import InputError
from unic.eval.datasets._files import Origin, class_folders
from unic.eval.datasets.base import DataPair

ORIGIN = Origin(
    "imagenet",
    "train/WNID/*.JPEG and val/WNID/*.JPEG",
    "https://image-net.org/download-images.php",
    archives="ILSVRC2012_img_train.tar, ILSVRC2012_img_val.tar and ILSVRC2012_devkit_t12.tar.gz",
)


def training(root: Path) -> Listed:
    """ImageNet-1K's training images; the classes are WordNet's numbers ("n01440764"), sorted."""
    with ORIGIN.reading(root):
        return class_folders(ORIGIN.folder(root) / "train")


def borrowed(name: str, root: Path) -> Listed:
    """`training` for the set `name`, whose own folder does not have them."""
    try:
        return training(root)
    except InputError as error:
        raise InputError(f"data '{name}' needs the training images of {error}") from None


def shifted(
    origin: Origin, folder: str, num_classes: int, root: Path, archive: tuple[str, str] | None = None
) -> DataPair:
    """ImageNet-1K's training part with another set's images, in folders named after some of its classes.

    Args:
        folder: what holds the class folders, in the set's own one.
        num_classes: how many the test part has.
        archive: URL and MD5 of what to fetch if it is not there.

    Raises:
        InputError: one of the two is not there, or the number of test classes is not the published one.
    """
    train = borrowed(origin.name, root)
    if archive and not (origin.folder(root) / folder).exists():
        origin.fetch(root, [archive])
    with origin.reading(root):
        test = class_folders(origin.folder(root) / folder)
    if len(test.classes) != num_classes:
        raise InputError(f"data '{origin.name}': expected {num_classes} test classes, found {len(test.classes)}")
    return DataPair(origin.name, train, test, is_shifted=True)
