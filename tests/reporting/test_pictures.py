"""Patch tokens as colours, and which sets the pictures are of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from unic.data.sources import open_source
from unic.encoders import Encoder
from unic.encoders.base import Size
from unic.errors import UntrustedError
from unic.eval.results.schema import Protocol
from unic.recipe.schema import load_recipe
from unic.reporting.draw.patch_colours import patch_rows, principal_colours
from unic.reporting.notes import reason
from unic.reporting.sections.pictures import _sets
from unic.tokens import Tokens, patches_of


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
    sets, size = _sets(load_recipe(recipe), Protocol.model_validate(protocol))
    assert [(chosen.name, chosen.labelled) for chosen in sets] == [("shapes", True)]
    assert size == 32


class _Sized(Encoder):
    """Gives the means of 32 × 32 pixels; takes any size, or its own alone."""

    embed_dim = patch_dim = 3
    has_cls = False
    architecture = "cnn"

    def __init__(self, size: Size, *, takes_any: bool = True) -> None:
        super().__init__([0.0] * 3, [1.0] * 3)
        self.input_size, self.takes_any = size, takes_any

    def grid_at(self, size: Size) -> tuple[int, int] | None:
        return (size[0] // 32, size[1] // 32) if self.takes_any else None

    def encode(self, x: torch.Tensor) -> Tokens:
        means = torch.nn.functional.avg_pool2d(x, 32)
        return Tokens(means.mean((2, 3)), patches_of(means), tuple(means.shape[-2:]))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("encoder", "grid", "seen"),
    [
        (_Sized((96, 96)), "12 × 12", "at 384 × 384 px, 4 times its own size"),
        (_Sized((96, 96), takes_any=False), "3 × 3", ""),
        (_Sized((384, 384)), "12 × 12", ""),
        (_Sized((32, 32)), "8 × 8", "at 256 × 256 px, 8 times its own size"),
    ],
)
def test_patches_are_shown_on_a_grid_that_shows_shapes(
    encoder: Encoder, grid: str, seen: str, labelled_images: Path
) -> None:
    images = open_source(str(labelled_images / "test"))
    rows, notes = patch_rows({"a": encoder}, [images])
    assert notes == []
    assert [(row["grid"], row["seen"], len(row["images"])) for row in rows] == [(grid, seen, len(images))]


def test_an_encoder_that_fails_costs_its_row_only(labelled_images: Path) -> None:
    class Broken(_Sized):
        def encode(self, x: torch.Tensor) -> Tokens:
            raise RuntimeError("out of luck")

    images = open_source(str(labelled_images / "test"))
    rows, notes = patch_rows({"a": Broken((96, 96)), "b": _Sized((96, 96))}, [images])
    assert [row["name"] for row in rows] == ["b"]
    assert notes == ["a: out of luck"]


def test_images_that_code_reads_which_is_not_trusted_leave_a_note() -> None:
    with pytest.raises(UntrustedError) as error:
        open_source("py:of_somebody.archive:Archive")
    assert (
        reason(error.value)
        == "data 'py:of_somebody.archive:Archive' needs code that is not trusted, which a report does not run"
    )
