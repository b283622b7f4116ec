from __future__ import annotations

import copy
import warnings
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from unic.encoders import load_encoder
from unic.errors import InputError


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 5, 8, 8)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.layer(x)
        return features.mean((2, 3)) * 2, features


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Path, Net]:
    torch.manual_seed(0)
    net = Net().eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(net), tmp_path / "net.pt")
    return tmp_path / "net.pt", net


def test_equals_the_module(saved: tuple[Path, Net]) -> None:
    path, net = saved
    encoder = load_encoder(f"torchscript:{path}?trust_remote_code=true&size=24x32&mean=0.5&std=0.25", precision="fp32")
    images = torch.rand(2, 3, 24, 32)
    cls, features = net((images - 0.5) / 0.25)
    tokens = encoder(images)
    assert (tokens.grid, encoder.has_cls, encoder.embed_dim) == ((3, 4), True, 5)
    torch.testing.assert_close(tokens.cls, cls, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(tokens.patches, features.flatten(2).mT, rtol=1e-5, atol=1e-5)
    assert copy.deepcopy(encoder).fingerprint() == encoder.fingerprint()
    assert encoder.num_parameters() == sum(parameter.numel() for parameter in net.parameters())


def test_errors(saved: tuple[Path, Net], tmp_path: Path) -> None:
    path, _ = saved
    with pytest.raises(InputError, match="TorchScript.*trust_remote_code=true"):
        load_encoder(f"torchscript:{path}")
    with pytest.raises(InputError, match="no such file"):
        load_encoder(f"torchscript:{tmp_path}/nothing.pt?trust_remote_code=true")
    (tmp_path / "text.pt").write_text("no program")
    torch.save({"a": torch.ones(1)}, tmp_path / "weights.pt")
    for name in ("text.pt", "weights.pt"):
        with pytest.raises(InputError, match="not a TorchScript file") as caught:
            load_encoder(f"torchscript:{tmp_path}/{name}?trust_remote_code=true")
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="no tokens.* 4x4") as caught:
        load_encoder(f"torchscript:{path}?trust_remote_code=true&size=4")
    assert "\n" not in str(caught.value)
