"""Patch tokens as colours, and which sets the pictures are of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from unic.config import load_recipe
from unic.report.pictures import _sets, principal_colours


def test_colours_follow_the_first_component() -> None:
    ramp = np.linspace(-1, 1, 16)[:, None] * np.ones(8)
    colours = principal_colours(ramp.reshape(1, 16, 8))
    red = colours[0, :, 0].astype(int)
    assert {red[0], red[-1]} == {0, 255}
    assert (np.diff(red) >= 0).all() or (np.diff(red) <= 0).all()


def test_colours_of_narrow_tokens() -> None:
    assert principal_colours(np.zeros((2, 4, 2))).shape == (2, 4, 3)


def test_sets_that_evaluation_left_out_are_not_opened(labelled_images: Path, recipe: dict[str, Any]) -> None:
    protocol = {"data": ["gone=/gone", f"shapes={labelled_images}"], "missing": {"gone=/gone": "why"}, "size": 32}
    sets, size = _sets(load_recipe(recipe), protocol)
    assert [(chosen.name, chosen.labelled) for chosen in sets] == [("shapes", True)]
    assert size == 32
