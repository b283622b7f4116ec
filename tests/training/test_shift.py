"""Views that are moved against the teachers' by whole patches."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from unic.errors import InputError
from unic.recipe.schema import load_recipe
from unic.tokens import map_of, patches_of
from unic.training.build import build
from unic.training.shift import Shift
from unic.training.step import batch_loss

CPU = torch.device("cpu")


def patches_in(images: Tensor, side: int) -> Tensor:
    """The pixels of each patch, row by row."""
    return torch.nn.functional.unfold(images, side, stride=side).mT


@pytest.mark.parametrize("most", [1, 2, 3])
def test_both_see_the_same_in_the_patches_that_are_compared(most: int) -> None:
    shift, images = Shift.of(most, {(24, 32): (6, 8)}, seed=0), torch.rand(50, 3, 24, 32)
    assert shift is not None
    offsets = shift.offsets(1, torch.arange(50))
    assert offsets.min() == -most
    assert offsets.max() == most
    assert torch.equal(shift.offsets(1, torch.tensor([7])), offsets[7:8])  # by image, not by place in the batch
    assert not torch.equal(shift.offsets(2, torch.arange(50)), offsets)
    moved = shift.moved(images, offsets, (24, 32))
    assert torch.equal(shift.moved(images, torch.zeros_like(offsets), (24, 32)), images)
    places, view, grid = shift.common((6, 8), offsets)
    assert grid == (6 - most, 8 - most)
    mine, theirs = (
        torch.take_along_dim(patches_in(x, 4), chosen[:, :, None], dim=1)
        for x, chosen in ((moved, places), (images, view))
    )
    assert torch.equal(mine, theirs)


def test_moved_content_comes_from_the_border() -> None:
    image = torch.arange(6.0).expand(1, 3, 2, 6)
    moved = Shift(1, (1, 2), seed=0).moved(image, torch.tensor([[0, 1]]), (2, 6))
    assert moved[0, 0, 0].tolist() == [2, 3, 4, 5, 4, 3]


def test_a_student_that_follows_its_view_has_no_loss(recipe: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """The tokens of the target are made from the view in the same way as the student's from the moved view."""
    model = "timm:test_vit?pretrained=false&img_size=64"
    settings = [f"student.model={model}", "student.drop_path=0", f"teachers.models={{twin: '{model}'}}"]
    settings += ["projector={type: identity}", "loss={shift_equivariant: {shift: 2}}", "data.size=64"]
    job = build(load_recipe(recipe, settings), CPU)
    distiller, batch = job.distiller, job.first_batch(8)
    views = job.views(batch)

    def cells(images: Tensor, *_: Any) -> list[Any]:
        tokens = torch.nn.functional.adaptive_avg_pool2d(images, (4, 4)).mean(1, keepdim=True).expand(-1, 64, -1, -1)
        return [type(found)(found.cls, patches_of(tokens), found.grid) for found in original(images, [0])]

    original = distiller.student.intermediates
    target, grids = cells(views)[0], []
    distiller.projectors["twin"].register_forward_hook(lambda _, __, out: grids.append(out.grid))
    monkeypatch.setattr(distiller.student, "intermediates", cells)
    for training, grid in ((True, (2, 2)), (False, (4, 4))):
        distiller.train(training)
        losses = distiller(views, {"twin": target}, 3, batch.index).losses
        torch.testing.assert_close(losses, torch.zeros_like(losses), atol=1e-6, rtol=0)
        assert grids.pop() == grid
    assert map_of(target.patches, target.grid).std() > 0


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (["loss={shift_equivariant: {shift: 2}}"], "moves views by 2 patches, and the student's grid is 2 x 2"),
        (["loss={relational: 1, cosine: 1}", "train.micro_batches=2"], "'relational' needs the whole batch at once"),
    ],
)
def test_what_does_not_fit_is_refused(recipe: dict[str, Any], changes: list[str], line: str) -> None:
    with pytest.raises(InputError, match=f"^recipe: .*{line}"):
        build(load_recipe(recipe, changes), CPU)


def test_unequal_shares_of_a_batch(recipe: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="equally many images in each of 3 processes"):
        build(load_recipe(recipe, ["loss={relational: 1}", "train.batch_size=8"]), CPU, world_size=3)


@pytest.mark.parametrize("loss", ["shift_equivariant", "queue_kl", "relational", "balanced_summary"])
def test_with_nested_widths_and_a_share_of_the_patches(recipe: dict[str, Any], loss: str) -> None:
    changes = [f"loss={{{loss}: 1.0}}", "student.widths=[8,16]", "train.patch_share=0.5"]
    job = build(load_recipe(recipe, changes), CPU)
    job.distiller.train()
    found = batch_loss(job, job.live_teachers(), job.first_batch(4), 1)
    found.numerator.backward()
    assert found.terms.losses.isfinite().all()
    assert all(parameter.grad is not None for parameter in job.distiller.projectors.parameters())
