"""An evaluation set: a training and a test part whose classes, or pixels, are known."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from unic.data.sources import Source, open_source
from unic.data.sources.subset import Subset
from unic.errors import InputError, nearest

_TEST_SPLITS = ("test", "val", "validation")


@dataclass(frozen=True)
class DataPair:
    """An evaluation set.

    Attributes:
        name: the row of the table.
        train, test: images. The class list of `test` may be a part of that of `train`, in another order.
        parts: the sets that this one stands for, by name, where it is several (the levels of ImageNet-CoG); `train`
            and `test` are then those of the first.
        is_shifted: the test part is known to differ from the training part in kind: drawings of what was photographed.
        classes: of the training part; empty for depth.

    Raises:
        InputError: images without labels, or a test class that training does not have.
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
                raise InputError(f"data '{self.name}': {source.path} has no labels, which evaluation needs")
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
        """What is known of the images: "labels" (a class of each), "masks" (a class of each pixel) or "depth"."""
        return self.train.pixels or "labels"

    def test_labels(self, labels: np.ndarray) -> np.ndarray:
        """Labels of the test part `(n,)`, renumbered to the classes of the training part."""
        return self.test_class_numbers()[labels]

    def test_class_numbers(self) -> np.ndarray:
        """The number, among the classes of the training part, of each class of the test part."""
        number = {name: index for index, name in enumerate(self.classes)}
        return np.array([number[name] for name in self.test.classes or []], dtype=np.int64)

    def limited(self, max_train: int | None, max_test: int | None) -> DataPair:
        """Fixed random subsets of so many images, of every part."""
        return replace(
            self,
            train=_limited(self.train, max_train),
            test=_limited(self.test, max_test),
            parts={name: part.limited(max_train, max_test) for name, part in self.parts.items()},
        )


def _limited(source: Source, limit: int | None) -> Source:
    return source if limit is None or limit >= len(source) else Subset(source, limit)


def open_pair(name: str, path: str) -> DataPair:
    """Opens a folder or hub name that has a training split and one called test, val or validation.

    Raises:
        InputError: nothing there, or a split is missing.
    """
    train = open_source(path, split="train")
    first: InputError | None = None
    for split in _TEST_SPLITS:
        try:
            test = open_source(path, split=split)
        except InputError as error:
            first = first or error
        else:
            return DataPair(name, train, test)
    assert first is not None
    raise first


def sample(name: str) -> DataPair:
    """One of the small sets in `samples/`: below `$UNIC_SAMPLES`, the working folder, or the checkout.

    Raises:
        InputError: none of these places has it.
    """
    checkout = Path(__file__).parents[4] / "samples"
    places = [Path(os.environ["UNIC_SAMPLES"])] if os.environ.get("UNIC_SAMPLES") else [Path("samples"), checkout]
    for place in places:
        if (place / name / "train.parquet").is_file():
            return open_pair(name, str(place / name))
    looked = " or ".join(str(place / name) for place in places)
    raise InputError(f"data '{name}': no train.parquet in {looked}; set UNIC_SAMPLES to the samples/ of a checkout")
