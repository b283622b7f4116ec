"""Matching grids."""

import pytest
import torch
import torch.nn.functional as F

from unic.errors import InputError
from unic.tokens import Tokens, map_of, patches_of, resize_patches


def test_same_grid_is_untouched() -> None:
    patches = torch.randn(2, 6, 3)
    assert resize_patches(patches, (2, 3), (2, 3)) is patches


def test_constant_stays_constant_both_ways() -> None:
    patches = torch.full((1, 16, 2), 1.5)
    for grid in ((2, 2), (7, 5)):
        torch.testing.assert_close(resize_patches(patches, (4, 4), grid), torch.full((1, grid[0] * grid[1], 2), 1.5))


def test_reduction_reads_every_cell() -> None:
    """An anti-aliased reduction weighs all source cells; plain bilinear would skip most of an 8 x 8 grid."""
    patches = torch.zeros(1, 64, 1, requires_grad=True)
    resize_patches(patches, (8, 8), (2, 2)).sum().backward()
    assert (patches.grad > 0).all()


def test_rows_and_columns_are_not_swapped() -> None:
    patches = torch.arange(6.0).view(1, 6, 1)
    assert map_of(patches, (2, 3))[0, 0].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert torch.equal(patches_of(map_of(patches, (2, 3))), patches)


def test_grid_must_fit_the_patches() -> None:
    line = r"^tokens: the patches have the shape \(1, 5, 2\); expected 4 of them, 2 rows x 2 columns$"
    with pytest.raises(InputError, match=line):
        Tokens(torch.zeros(1, 2), torch.zeros(1, 5, 2), (2, 2))


@pytest.mark.parametrize(("old", "new"), [((8, 8), (3, 3)), ((1, 8), (3, 3)), ((3, 3), (7, 5)), ((16, 16), (14, 14))])
def test_it_is_the_antialiased_bilinear_resize(old, new):
    patches = torch.randn(2, old[0] * old[1], 5)
    expected = F.interpolate(map_of(patches, old), size=new, mode="bilinear", antialias=True, align_corners=False)
    with torch.autocast("cpu", torch.bfloat16):  # which it must not follow
        torch.testing.assert_close(resize_patches(patches, old, new), patches_of(expected))


def test_what_inference_mode_has_asked_for_first_can_be_trained_through():
    with torch.inference_mode():
        resize_patches(torch.randn(1, 25, 2), (5, 5), (2, 3))
    patches = torch.randn(1, 25, 2, requires_grad=True)
    resize_patches(patches, (5, 5), (2, 3)).sum().backward()
    assert patches.grad is not None
