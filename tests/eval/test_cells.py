import numpy as np
import pytest

from unic.eval.cells import CellStore, cell_key
from unic.eval.tasks import TOP1, Outcome


@pytest.fixture
def outcome():
    marks = np.array([[1.0], [0.0], [1.0]])
    return Outcome(marks, TOP1, {"C": 0.1, "by_k": {"5": 1}}, np.array([1, 2, 3]))


def test_an_outcome_comes_back_as_it_was(outcome, tmp_path):
    store = CellStore(tmp_path / "cells")
    assert store.load("a", TOP1) is None
    store.save("a", outcome)
    found = store.load("a", TOP1)
    np.testing.assert_array_equal(found.marks, outcome.marks)
    np.testing.assert_array_equal(found.predicted, outcome.predicted)
    assert (found.details, found.measure, found.score) == (outcome.details, TOP1, pytest.approx(200 / 3))
    assert [path.name for path in (tmp_path / "cells").iterdir()] == ["a.safetensors"]


@pytest.mark.parametrize("harm", ["flip", "cut", "empty"])
def test_a_damaged_entry_counts_as_missing(outcome, tmp_path, harm):
    store = CellStore(tmp_path)
    store.save("a", outcome)
    file = tmp_path / "a.safetensors"
    data = bytearray(file.read_bytes())
    data[-2] ^= 1
    file.write_bytes({"flip": bytes(data), "cut": bytes(data[:-5]), "empty": b""}[harm])
    assert store.load("a", TOP1) is None


def test_keys_differ_with_whatever_decides():
    base = {"options": [], "seed": 0, "model": "m"}
    keys = {
        cell_key("knn", **base),
        cell_key("knn", **base | {"seed": 1}),
        cell_key("knn", **base | {"model": "n"}),
        cell_key("logistic", **base),
    }
    assert len(keys) == 4
    assert cell_key("knn", **base) == cell_key("knn", **dict(reversed(base.items())))
