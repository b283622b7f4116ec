from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import timm
import torch

from unic.encoders._weights import load_weights, read_state_dict, unwrap
from unic.errors import InputError


def test_pickles_of_code_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "evil.pth"
    path.write_bytes(pickle.dumps(print, protocol=2))
    with pytest.raises(InputError, match="cannot read .* safely"):
        read_state_dict(path, "here")


@pytest.mark.parametrize("name", ["weights.safetensors", "weights.pth"])
def test_damaged_files_are_told(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"\x00\x01 not weights")
    with pytest.raises(InputError, match="cannot read"):
        read_state_dict(path, "here")


@pytest.mark.parametrize(
    "tree",
    [
        {"a.weight": torch.ones(1)},
        {"model": {"a.weight": torch.ones(1)}, "optimizer": {"state": {}}},
        {"state_dict": {"module.a.weight": torch.ones(1)}},
        {"teacher": {"backbone.a.weight": torch.ones(1), "head.b": torch.ones(1)}},
        {"model": {"_orig_mod.module.a.weight": torch.ones(1)}},
    ],
)
def test_wrappers_come_off(tree: dict[str, object]) -> None:
    assert list(unwrap(tree, "here")) == ["a.weight"]


@pytest.mark.parametrize("tree", [{}, {"epoch": 3}, [1, 2]])
def test_nothing_inside(tree: object) -> None:
    with pytest.raises(InputError, match="holds no state dict"):
        unwrap(tree, "here")


def test_unfitting_weights_list_the_first_names() -> None:
    model = timm.create_model("resnet10t", num_classes=0)
    state = {**model.state_dict(), "surplus.weight": torch.zeros(1), "fc.weight": torch.zeros(1000, 512)}
    del state["layer4.0.conv1.weight"]
    with pytest.raises(InputError, match=r"1 missing \(layer4.0.conv1.weight\); 1 unexpected \(surplus.weight\)"):
        load_weights(model, state, "here")
