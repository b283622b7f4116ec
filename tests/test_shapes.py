"""The checks of `shapes` are on: a shape that differs from its annotation ends the test."""

from __future__ import annotations

import sys

import pytest
import shapes
import torch
from jaxtyping import TypeCheckError

from unic.losses import mse
from unic.tokens import Tokens


def test_a_shape_of_another_axis_is_refused() -> None:
    with pytest.raises(TypeCheckError, match="target"):
        mse.loss(torch.zeros(2, 3), torch.zeros(2, 4))
    with pytest.raises(TypeCheckError, match="patches"):
        Tokens(torch.zeros(2, 3), torch.zeros(1, 4, 3), (2, 2))


@pytest.mark.usefixtures("unchecked")
def test_where_a_test_asks_for_it_nothing_is_checked() -> None:
    assert len(Tokens(torch.zeros(2, 3), torch.zeros(1, 4, 3), (2, 2)).cls) == 2


def test_every_module_that_states_a_shape_is_checked() -> None:
    stated = shapes.modules()
    assert {"unic.tokens", "unic.losses.mse", "unic.eval.tasks.knn", "unic.training.distiller"} <= set(stated)
    loaders = {name: type(sys.modules[name].__loader__).__name__ for name in stated if name in sys.modules}
    assert set(loaders.values()) == {"_JaxtypingLoader"}
