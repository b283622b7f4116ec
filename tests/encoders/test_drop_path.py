from __future__ import annotations

import pytest
import torch
from torch import nn

from unic.encoders import build_encoder
from unic.encoders._drop_path import KeyedDropPath, install, set_drop_path_keys

URI = "timm:vit_tiny_patch16_224?img_size=32&pretrained=false"


def test_draws_follow_the_image_not_the_batch() -> None:
    encoder = build_encoder(URI, drop_path=0.5).train()
    images, index = torch.rand(6, 3, 32, 32), torch.tensor([7, 3, 11, 2, 5, 8])

    def cls(rows: list[int], step: int = 4) -> torch.Tensor:
        set_drop_path_keys(encoder, 0, step, index[rows])
        with torch.no_grad():
            return encoder(images[rows]).cls

    whole = cls([0, 1, 2, 3, 4, 5])
    split = torch.cat([cls([0, 1]), cls([2, 3, 4, 5])])
    torch.testing.assert_close(split, whole, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(cls([5, 4, 3, 2, 1, 0]).flip(0), whole, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(cls([0, 1, 2, 3, 4, 5], step=5), whole, atol=1e-2)
    # `step` may be a tensor on the device: no host synchronisation in a training step.
    set_drop_path_keys(encoder, 0, torch.tensor(4), index)
    with torch.no_grad():
        torch.testing.assert_close(encoder(images).cls, whole)


def test_layers_and_branches_draw_independently_at_their_rates() -> None:
    encoder = build_encoder(URI, drop_path=0.3)
    layers = [module for module in encoder.modules() if isinstance(module, KeyedDropPath)]
    assert len(layers) == 22  # two branches of 11 blocks: the first block never drops
    assert layers[-1].drop_prob == pytest.approx(0.3)
    set_drop_path_keys(encoder, 0, 1, torch.arange(20_000))
    draws = torch.stack([layer.draws for layer in layers if layer.draws is not None])
    rates = torch.tensor([layer.drop_prob for layer in layers])
    torch.testing.assert_close((draws < rates[:, None]).float().mean(dim=1), rates, rtol=0, atol=0.015)
    correlation = torch.corrcoef(draws) - torch.eye(len(layers))
    assert correlation.abs().max() < 0.04  # five standard deviations of 20 000 independent draws


def test_scaling_keeps_the_mean() -> None:
    layer = KeyedDropPath(0.25).train()
    set_drop_path_keys(layer, 1, 2, torch.arange(20_000))
    y = layer(torch.ones(20_000, 2, 1))
    assert y.unique().tolist() == pytest.approx([0, 4 / 3])
    assert float(y.mean()) == pytest.approx(1, abs=0.02)


def test_evaluation_is_the_identity_and_training_needs_keys() -> None:
    layer = KeyedDropPath(0.5)
    x = torch.rand(3, 4)
    assert layer.eval()(x) is x
    with pytest.raises(RuntimeError, match="set_drop_path_keys"):
        layer.train()(x)
    set_drop_path_keys(layer, 0, 0, torch.arange(2))
    with pytest.raises(RuntimeError, match="set_drop_path_keys"):
        layer(x)


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224?img_size=32&", "swin_tiny_patch4_window7_224?img_size=64&"])
def test_without_drop_path_nothing_is_left(name: str) -> None:
    encoder = build_encoder(f"timm:{name}pretrained=false")
    assert not any("DropPath" in type(module).__name__ for module in encoder.modules())
    set_drop_path_keys(encoder, 0, 0, torch.arange(2))


def test_install_leaves_other_modules() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5))
    install(model)
    assert isinstance(model[1], nn.Dropout)
