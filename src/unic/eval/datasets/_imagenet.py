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
    """ImageNet-1K's training images; classes are WordNet numbers ("n01440764"), sorted."""
    with ORIGIN.reading(root):
        return class_folders(ORIGIN.folder(root) / "train")


def borrowed(name: str, root: Path) -> Listed:
    """`training` for the set `name`, which has no training images of its own."""
    try:
        return training(root)
    except InputError as error:
        raise InputError(f"data '{name}' needs the training images of {error}") from None


def shifted(
    origin: Origin, folder: str, num_classes: int, root: Path, archive: tuple[str, str] | None = None
) -> DataPair:
    """ImageNet-1K's training part with the test images of another set, whose folders have the names of its classes.

    Args:
        origin: publisher of the other set.
        folder: name of the folder with the class folders, in the folder of the other set.
        num_classes: number of classes of the test part.
        root: folder of the sets.
        archive: URL and MD5 of an archive to fetch if the folder is missing.

    Raises:
        InputError: a part is missing, or the number of test classes is not the published one.
    """
    train = borrowed(origin.name, root)
    if archive and not (origin.folder(root) / folder).exists():
        origin.fetch(root, [archive])
    with origin.reading(root):
        test = class_folders(origin.folder(root) / folder)
    if len(test.classes) != num_classes:
        raise InputError(f"data '{origin.name}': expected {num_classes} test classes, not {len(test.classes)}")
    return DataPair(origin.name, train, test, is_shifted=True)
