"""An evaluation set: a training and a test part whose classes, or pixels, are known."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from unic.data.sample_images import sample_folders
from unic.data.sources import TEST, TRAIN, Source, open_source
from unic.data.sources.subset import Subset
from unic.errors import InputError, nearest

log = logging.getLogger("unic")


@dataclass(frozen=True)
class DataPair:
    """An evaluation set.

    Attributes:
        name: name of the set in rows of the table.
        train, test: images. The classes of `test` may be some of those of `train`, in another order.
        parts: the sets of a group by name, if this set is a group (the levels of ImageNet-CoG); `train` and `test` are
            then those of the first.
        is_shifted: True if test images are known to be of another kind than training images: drawings, not photographs.
        classes: classes of the training part; empty for depth.

    Raises:
        InputError: images without labels, or a test class that the training part does not have.
    """

    name: str
    train: Source
    test: Source
    parts: Mapping[str, DataPair] = field(default_factory=dict)
    is_shifted: bool = False
    classes: list[str] = field(init=False)

    def __post_init__(self) -> None:
        for source in (self.train, self.test):
            if source.classes is None and source.pixels != "depth":
                why = f": {source.why_unlabelled}" if source.why_unlabelled else ""
                raise InputError(f"data '{self.name}': {source.path} has no labels, which evaluation needs{why}")
        object.__setattr__(self, "classes", list(self.train.classes or []))
        known = set(self.classes)
        for label in self.test.classes or []:
            if label not in known:
                raise InputError(
                    f"data '{self.name}': test class '{label}' is not among the training classes"
                    f"{nearest(label, self.classes)}"
                )

    @property
    def kind(self) -> str:
        """The targets of the images: "labels" (a class of each image), "masks" (a class of each pixel) or "depth"."""
        return self.train.pixels or "labels"

    def test_labels(self, labels: np.ndarray) -> np.ndarray:
        """Labels of the test part `(n,)` as class indices of the training part."""
        return self.test_class_numbers()[labels]

    def test_class_numbers(self) -> np.ndarray:
        """For each class of the test part its index among the classes of the training part."""
        index_of = {name: index for index, name in enumerate(self.classes)}
        return np.array([index_of[name] for name in self.test.classes or []], dtype=np.int64)

    def limited(self, max_train: int | None, max_test: int | None) -> DataPair:
        """The set with at most so many images in each part, which are a fixed random subset."""
        return replace(
            self,
            train=limited(self.train, max_train),
            test=limited(self.test, max_test),
            parts={name: part.limited(max_train, max_test) for name, part in self.parts.items()},
        )


def limited(source: Source, limit: int | None) -> Source:
    """A fixed random subset of `limit` images, or all of them."""
    return source if limit is None or limit >= len(source) else Subset(source, limit)


def open_pair(name: str, path: str) -> DataPair:
    """Opens a set with a training split and a split to measure on.

    The latter is the test split. It is the validation split if there is no test split or if test images have no labels,
    as in ImageNet's layout; a warning tells of the second case. Of some sets a random split can be drawn.

    Args:
        name: name of the set in rows of the table.
        path: see `open_source`. A set without splits is refused, as its images would be in both parts.

    Raises:
        InputError: no such set, a split is missing, or some images have no label.
    """
    first: InputError | None = None
    opened: dict[str, Source] = {}
    for split in TEST:
        try:
            opened[split] = open_source(path, split=split)
        except InputError as error:
            first = first or error
            continue
        if _is_labelled(opened[split]):
            break
    if not opened:
        assert first is not None
        raise first
    chosen = next((split for split, source in opened.items() if _is_labelled(source)), next(iter(opened)))
    if chosen != next(iter(opened)):
        log.warning(
            "data '%s': images of split %s have no labels, so the evaluation uses split %s",
            path,
            next(iter(opened)),
            chosen,
        )
    pair = DataPair(name, open_source(path, split=TRAIN), opened[chosen])
    if pair.kind == "labels" and not (pair.train.in_pieces or pair.test.in_pieces):  # a stream would be fetched whole
        _check_labels(pair, chosen)
    return pair


def _check_labels(pair: DataPair, test_split: str) -> None:
    """Refuses images without a label, and warns of test images whose class has no training image."""
    counts = []
    for split, source in ((TRAIN, pair.train), (test_split, pair.test)):
        labels = Counter(source.label(index) for index in range(len(source)))
        if labels[None]:
            text = f"{labels[None]} of {len(source)} images of split {split} have no label"
            raise InputError(f"data '{pair.name}': {text}, which evaluation needs")
        counts.append({(source.classes or [])[label]: count for label, count in labels.items() if label is not None})
    known, asked = counts
    unseen = sorted(asked.keys() - known.keys())
    if unseen:
        log.warning(
            "data '%s': %d test images are of classes without training images (%s), so no model can get them right",
            pair.name,
            sum(asked[name] for name in unseen),
            ", ".join(unseen[:5]) + (", …" if len(unseen) > 5 else ""),
        )


def _is_labelled(source: Source) -> bool:
    """Whether every image has a target: a class, a mask or depths."""
    if source.pixels is not None:
        return True
    return source.classes is not None and all(source.label(index) is not None for index in range(len(source)))


def sample(name: str) -> DataPair:
    """A small set from `samples/`: below `$UNIC_SAMPLES`, the working folder, or the checkout.

    Args:
        name: name of its folder.

    Raises:
        InputError: none of these places has the set.
    """
    return open_pair(name, str(_sample_folder(name)))


def sample_train(name: str) -> Source:
    """The training part of `sample`; the test part is not opened."""
    return open_source(str(_sample_folder(name)), split="train")


def _sample_folder(name: str) -> Path:
    places = sample_folders()
    for place in places:
        if (place / name / "train.parquet").is_file():
            return place / name
    looked = " or ".join(str(place / name) for place in places)
    raise InputError(
        f"data '{name}': no train.parquet in {looked}; set UNIC_SAMPLES to the samples/ of a checkout, or use your own "
        "images (NAME=PATH)"
    )
