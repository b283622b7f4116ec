"""A labelled training and test part with the same classes, and where the shipped samples are found."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from unic.data.sources import Source, open_source
from unic.errors import InputError, nearest

_TEST_SPLITS = ("test", "val", "validation")


@dataclass(frozen=True)
class DataPair:
    """An evaluation set.

    Attributes:
        name: the row of the table.
        train, test: labelled images. Their class lists may differ (a test folder without one of the classes).

    Raises:
        InputError: images without labels, or a test class that training does not have.
    """

    name: str
    train: Source
    test: Source
    classes: list[str] = field(init=False)

    def __post_init__(self) -> None:
        for source in (self.train, self.test):
            if source.classes is None:
                raise InputError(f"data '{self.name}': {source.path} has no labels, which evaluation needs")
        object.__setattr__(self, "classes", list(self.train.classes or []))
        for label in self.test.classes or []:
            if label not in self.classes:
                raise InputError(
                    f"data '{self.name}': test class '{label}' is not among the training classes"
                    f"{nearest(label, self.classes)}"
                )

    def test_labels(self, labels: np.ndarray) -> np.ndarray:
        """Labels of the test part `(n,)`, renumbered to the classes of the training part."""
        number = {name: index for index, name in enumerate(self.classes)}
        return np.array([number[name] for name in self.test.classes or []], dtype=np.int64)[labels]


def open_pair(name: str, path: str, *, max_train: int | None = None, max_test: int | None = None) -> DataPair:
    """Opens a folder or hub name that has a training split and one called test, val or validation.

    Raises:
        InputError: nothing there, or a split is missing.
    """
    train = open_source(path, limit=max_train, split="train")
    first: InputError | None = None
    for split in _TEST_SPLITS:
        try:
            test = open_source(path, limit=max_test, split=split)
        except InputError as error:
            first = first or error
        else:
            return DataPair(name, train, test)
    assert first is not None
    raise first


def sample(name: str, *, max_train: int | None = None, max_test: int | None = None) -> DataPair:
    """One of the small sets in `samples/`: below `$UNIC_SAMPLES`, the working folder, or the checkout.

    Raises:
        InputError: none of these places has it.
    """
    checkout = Path(__file__).parents[4] / "samples"
    places = [Path(os.environ["UNIC_SAMPLES"])] if os.environ.get("UNIC_SAMPLES") else [Path("samples"), checkout]
    for place in places:
        if (place / name / "train.parquet").is_file():
            return open_pair(name, str(place / name), max_train=max_train, max_test=max_test)
    looked = " or ".join(str(place / name) for place in places)
    raise InputError(f"data '{name}': no train.parquet in {looked}; set UNIC_SAMPLES to the samples/ of a checkout")
