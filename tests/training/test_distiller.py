"""Checkpointed activations give the same gradients, and a share of the patches is drawn anew each step."""

import pytest
import torch

from unic.encoders import Encoder, build_encoder
from unic.losses import build_losses
from unic.projectors import build_projector
from unic.tokens import Tokens
from unic.training.distiller import Distiller

VIT = "timm:test_vit?pretrained=false&img_size=64"


def distiller_of(student: Encoder, **options: object) -> Distiller:
    projectors = {"t": build_projector("ladder", list(student.block_dims), (5, 7), student.embed_dim, {})}
    blocks = range(len(student.block_dims))
    return Distiller(student, projectors, {"t": build_losses({"cosine": 1.0}, (5, 7))}, blocks, seed=0, **options)


def target(student: Encoder, batch: int) -> dict[str, Tokens]:
    return {"t": Tokens(torch.randn(batch, 5), torch.randn(batch, student.grid[0] * student.grid[1], 7), student.grid)}


@pytest.mark.parametrize("uri", [VIT, "timm:test_efficientnet?pretrained=false&img_size=64"])
def test_gradients_are_equal_with_checkpointed_activations(uri: str) -> None:
    torch.manual_seed(0)
    student = build_encoder(uri, drop_path=0.3)
    distiller, images, index = distiller_of(student).train(), torch.rand(4, 3, 64, 64), torch.arange(4)
    targets, found, num_saved = target(student, 4), [], []

    def count(tensor: torch.Tensor) -> torch.Tensor:
        num_saved[-1] += tensor.numel()
        return tensor

    for _ in range(2):
        num_saved.append(0)
        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            loss = distiller(images, targets, 1, index).losses.sum()
        trained = [parameter for parameter in distiller.parameters() if parameter.requires_grad]
        found.append(torch.autograd.grad(loss, trained, allow_unused=True))
        student.checkpoint_activations()
    assert num_saved[1] < num_saved[0]
    for plain, recomputed in zip(*found, strict=True):
        torch.testing.assert_close(plain, recomputed)


def test_share_of_patches_is_drawn_anew_by_image_and_step_and_only_in_training() -> None:
    torch.manual_seed(0)
    student = build_encoder(VIT)
    distiller, index = distiller_of(student, patch_share=0.25), torch.tensor([5, 9])
    num_patches = student.grid[0] * student.grid[1]
    first, again = (distiller._choose_patches(num_patches, 1, index) for _ in range(2))
    assert first.shape == (2, num_patches // 4)
    assert torch.equal(first, again)
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first, distiller._choose_patches(num_patches, 2, index))
    assert torch.equal(first[1:], distiller._choose_patches(num_patches, 1, index[1:]))  # as on another rank
    images, targets = torch.rand(2, 3, 64, 64), target(student, 2)
    whole = distiller_of(student)
    whole.projectors.load_state_dict(distiller.projectors.state_dict())
    expected = whole.eval()(images, targets, 1, index)
    assert torch.equal(distiller.eval()(images, targets, 1, index).losses, expected.losses)
    assert not torch.equal(distiller.train()(images, targets, 1, index).losses, expected.losses)
