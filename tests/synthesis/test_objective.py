"""The terms of the objective, against numbers by hand."""

from __future__ import annotations

import pytest
import torch

from unic.synthesis.objective import redundancy, repetition, total_variation
from unic.tokens import Tokens


def test_redundancy_of_known_sets() -> None:
    corners = 3 * torch.eye(5) + 7  # a simplex: the cosine of any two is -1/4 about their mean
    assert redundancy(corners).item() == pytest.approx(1 / 16)
    on_a_line = torch.tensor([[0.0, 1.0], [2.0, 3.0], [5.0, 6.0]])
    assert redundancy(on_a_line).item() == pytest.approx(1.0)
    cross = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])  # of 12 pairs 4 are opposite, 8 orthogonal
    assert redundancy(cross).item() == pytest.approx(1 / 3)


def test_total_variation_of_stripes() -> None:
    stripes = torch.zeros(2, 3, 6, 6)
    stripes[:, :, ::2] = 1
    assert total_variation(stripes).item() == pytest.approx(1.0)
    assert total_variation(stripes.mT).item() == pytest.approx(1.0)
    assert total_variation(torch.full((1, 3, 4, 4), 0.3)).item() == 0


def test_repetition_is_half_of_images_and_half_of_the_drawn_patches() -> None:
    cls = torch.tensor([[0.0, 1.0], [2.0, 3.0], [5.0, 6.0]])  # on a line: 1
    patches = torch.tensor([[[9.0, 9.0], [1.0, 0.0]], [[-1.0, 0.0], [0.0, 1.0]], [[0.0, -1.0], [5.0, 2.0]]])
    level = Tokens(cls, patches, (1, 2))
    four = torch.tensor([1, 2, 3, 4, 4]) / 6 + 0.01  # of six patches the four of the cross; one is drawn twice
    assert repetition(level, four).item() == pytest.approx((1 + 1 / 3) / 2)
    last = torch.tensor([0.0, 1 - 2**-24])
    assert repetition(level, last).item() == pytest.approx(1.0)  # of two vectors
