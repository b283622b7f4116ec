from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import timm
import torch

from unic.encoders._unwrap import unwrap
from unic.encoders._weights import load_weights, read_state_dict
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
    with pytest.raises(InputError, match="no state dict"):
        unwrap(tree, "here")


def test_unfitting_weights_list_the_first_names() -> None:
    model = timm.create_model("resnet10t", num_classes=0)
    state = {**model.state_dict(), "surplus.weight": torch.zeros(1), "fc.weight": torch.zeros(1000, 512)}
    del state["layer4.0.conv1.weight"]
    with pytest.raises(InputError, match=r"1 missing \(layer4.0.conv1.weight\); 1 unexpected \(surplus.weight\)"):
        load_weights(model, state, "here")


@pytest.fixture(scope="module")
def vit() -> timm.models.VisionTransformer:
    return timm.create_model("test_vit2", img_size=32, num_classes=0)  # it has a layer scale


def put(prefix: str, state: dict[str, torch.Tensor], offset: float = 0) -> dict[str, torch.Tensor]:
    return {f"{prefix}{name}": tensor + offset for name, tensor in state.items()}


def in_chunks(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {re.sub(r"^blocks\.(\d+)", lambda found: f"blocks.{int(found[1]) // 3}.{found[1]}", name): tensor
            for name, tensor in state.items()}  # fmt: skip


def each_block(state: dict[str, torch.Tensor], mark: str) -> dict[str, torch.Tensor]:
    return {re.sub(r"^(blocks\.\d+)", rf"\1.{mark}", name): tensor for name, tensor in state.items()}


WRAPPED = {
    "ddp": lambda s: put("module.", s),
    "compiled, then ddp": lambda s: put("module._orig_mod.", s),
    "ddp, then compiled": lambda s: put("_orig_mod.module.", s),
    "model.module": lambda s: put("model.module.", s),
    "lightning": lambda s: {"state_dict": put("model.", s), "epoch": 3, "optimizer_states": [{"state": {}}]},
    "lightning of a teacher and a student": lambda s: {"state_dict": put("teacher.", s) | put("student.", s, 1)},
    "fsdp of every block": lambda s: {"model": put("_fsdp_wrapped_module.", each_block(s, "_fsdp_wrapped_module"))},
    "activation checkpoints": lambda s: {"model": each_block(s, "_checkpoint_wrapped_module")},
    "dinov2": lambda s: {"model": put("teacher.backbone.", s) | put("student.backbone.", s, 1)},
    "dinov2, chunks": lambda s: {"teacher": put("backbone.", in_chunks(s)) | {"dino_head.mlp.0.weight": torch.ones(3)}},
    "average": lambda s: {"ema": s},
    "average beside": lambda s: {"model": put("module.", s, 1), "model_ema": put("module.", s), "epoch": 3},
    "moco": lambda s: {"state_dict": put("module.base_encoder.", s) | put("module.momentum_encoder.", s, 1)},
    "deit iii": lambda s: {"model": {re.sub(r"ls([12])\.gamma", r"gamma_\1", name): t for name, t in s.items()}},
    "mae": lambda s: {"model": s | {"mask_token": torch.ones(1), "decoder_pos_embed": torch.ones(1),
                                    "decoder_blocks.0.norm1.weight": torch.ones(1)}},
    "fsdp of a part": lambda s: {"state_dict": put("net.encoder._fsdp_wrapped_module.", s), "epoch": 3},
    "ddp of parts": lambda s: put("backbone.", each_block(s, "module")) | {"head.module.weight": torch.ones(2)},
    "lightning, compiled, ddp": lambda s: {"state_dict": put("model._orig_mod.module.encoder.", s), "loops": {}},
    "averaged by torch": lambda s: put("module.", s) | {"n_averaged": torch.tensor(3)},
    "average of timm": lambda s: {"state_dict": put("", s, 1), "state_dict_ema": s},
    "average in a container": lambda s: {"ema": {"decay": 0.9, "shadow": put("module.backbone.", s)},
                                         "model": put("backbone.", s, 1)},
    "student alone": lambda s: {"student": put("module.backbone.", s) | {"module.head.mlp.0.weight": torch.ones(3)}},
    "deepspeed": lambda s: {"module": s, "ds_config": {"zero": 1}},
    "dinov2, chunks, fsdp": lambda s: {"model": put("teacher.backbone._fsdp_wrapped_module.",
                                                    in_chunks(each_block(s, "_fsdp_wrapped_module")))},
    "a larger teacher beside": lambda s: {"student": s,
                                          "teacher": {name: torch.ones(2, *t.shape) for name, t in s.items()}},
    "optimizer of the same names": lambda s: {"model": s, "optimizer": {"exp_avg": dict(list(s.items())[:9])}},
}  # fmt: skip


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
@pytest.mark.parametrize("wrapping", WRAPPED)
def test_an_encoder_is_found_by_its_own_names(
    tmp_path: Path, vit: timm.models.VisionTransformer, wrapping: str, suffix: str
) -> None:
    state = {name: tensor.clone() for name, tensor in vit.state_dict().items()}
    tree = WRAPPED[wrapping](state)
    path = tmp_path / f"weights.{suffix}"
    if suffix == "pth":
        torch.save(tree, path)
    else:
        flat = flattened(tree)
        safetensors.torch.save_file({name: tensor.clone() for name, tensor in flat.items()}, path)
    model = timm.create_model("test_vit2", img_size=32, num_classes=0)
    load_weights(model, read_state_dict(path, "here", model), "here")
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())


def shapes(state: dict[str, torch.Tensor]) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in state.items()}


def flattened(tree: dict[str, Any]) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = {}
    for key, value in tree.items():
        if isinstance(value, torch.Tensor):
            found[key] = value
        elif isinstance(value, dict):
            found |= put(f"{key}.", flattened(value))
    return found


def test_of_two_encoders_none_is_guessed(vit: timm.models.VisionTransformer) -> None:
    state = vit.state_dict()
    with pytest.raises(InputError, match=r"several encoders \('left', 'right'\)"):
        unwrap({"left": state, "right": put("", state, 1)}, "here", shapes(state))
    assert unwrap({"left": state, "right": dict(state)}, "here", shapes(state)).keys() == state.keys()  # the same one


@pytest.mark.parametrize(
    "wrap",
    [
        lambda s: s,
        lambda s: put("module._orig_mod.", s),
        lambda s: {"state_dict": put("model.module.backbone.", s) | {"model.module.head.weight": torch.ones(1)}},
        lambda s: {"model": put("", s, 1), "ema": put("_orig_mod.", s)},
        lambda s: {"model": put("teacher.backbone.", s) | put("student.backbone.", s, 1)},
        lambda s: flattened({"state_dict": put("", s, 1), "state_dict_ema": s}),
    ],
)
def test_names_of_another_code_are_left_to_timm(wrap: Any) -> None:
    """ConvNeXt's authors call its stages otherwise; timm's own conversion knows them."""
    wanted = shapes(timm.create_model("convnext_atto", num_classes=0).state_dict())
    state = {"downsample_layers.0.0.weight": torch.ones(1), "stages.0.0.dwconv.weight": torch.ones(1)}
    assert unwrap(wrap(state), "here", wanted) == state
