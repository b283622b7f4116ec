"""Released checkpoints: the same layout at random weights, against a forward written from METHOD.md §2 and §3."""

from __future__ import annotations

import argparse
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from unic.encoders import build_encoder, load_encoder
from unic.encoders._weights import read_checkpoint, read_state_dict
from unic.encoders.timm_encoder import TimmEncoder
from unic.errors import InputError
from unic.exporting.timm import export_timm

DEPTH = 2
TEACHERS = {"dino_vitbase_16": 5, "metaclip_vithuge_14": 7}
DUNE_TEACHERS = {"dino2reg_vitlarge_14": 6, "mast3r_vitlarge_16": 8}
_LAYERS = {"norm1": (1,), "attn.qkv": (3, 1), "attn.proj": (1, 1), "norm2": (1,), "mlp.fc1": (4, 1), "mlp.fc2": (1, 4)}
State = dict[str, Tensor]


def encoder_state(width: int, patch: int, grid: int, *, num_registers: int = 0, layer_scale: bool = False) -> State:
    """Weights of a ViT under the released names."""
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator) * 0.05

    state = {
        "cls_token": random(1, 1, width),
        "pos_embed": random(1, 1 + grid * grid, width),
        "mask_token": random(1, width),
        "patch_embed.proj.weight": random(width, 3, patch, patch),
        "patch_embed.proj.bias": random(width),
        "norm.weight": 1 + random(width),
        "norm.bias": random(width),
    }
    if num_registers:
        state["register_tokens"] = random(1, num_registers, width)
    for block in range(DEPTH):
        for name, shape in _LAYERS.items():
            weight = random(*(factor * width for factor in shape))
            state[f"blocks.0.{block}.{name}.weight"] = weight + (1 if "norm" in name else 0)
            state[f"blocks.0.{block}.{name}.bias"] = random(shape[0] * width)
        if layer_scale:
            for number in (1, 2):
                state[f"blocks.0.{block}.ls{number}.gamma"] = 1 + random(width)
    return {f"encoder.{key}": value for key, value in state.items()}


def ladder_state(width: int, blocks: list[int]) -> State:
    generator = torch.Generator().manual_seed(1)
    state = {}
    for teacher, outputs in TEACHERS.items():
        for kind in ("cls", "patch"):
            for block in blocks:
                hidden, prefix = 6 + block, f"lp.heads.{teacher}.{kind}.{block}.layers"
                for layer, shape in ((0, (hidden, width)), (2, (outputs, hidden))):
                    state[f"{prefix}.{layer}.weight"] = torch.randn(*shape, generator=generator) * 0.2
                    state[f"{prefix}.{layer}.bias"] = torch.randn(shape[0], generator=generator)
    return state


def projector_state(width: int, *, layer_scale: bool = True, affine: bool = True, num_blocks: int = 1) -> State:
    """DUNE's projectors, and the statistics of its teachers: only the first was also matched by its CLS."""
    generator = torch.Generator().manual_seed(2)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator) * 0.05

    state = {}
    for teacher, outputs in DUNE_TEACHERS.items():
        for block in range(num_blocks):
            prefix = f"projectors.{teacher}.blocks.{block}"
            for name, shape in _LAYERS.items():
                if affine or "norm" not in name:
                    state[f"{prefix}.{name}.weight"] = random(*(factor * width for factor in shape)) + ("norm" in name)
                    state[f"{prefix}.{name}.bias"] = random(shape[0] * width)
            if layer_scale:
                state |= {f"{prefix}.ls{number}.gamma": 1 + random(width) for number in (1, 2)}
        state[f"projectors.{teacher}.linear.weight"] = random(outputs, width)
        state[f"projectors.{teacher}.linear.bias"] = random(outputs)
        for kind in ("cls", "patch") if teacher == "dino2reg_vitlarge_14" else ("patch",):
            normalizer = f"teacher_norms.{teacher}.normalizers.{kind}"
            state[f"{normalizer}.mean"] = random(outputs)
            # The first is below the least deviation of the training code.
            state[f"{normalizer}.std"] = torch.cat([torch.tensor([1e-5]), 1 + random(outputs - 1)])
    return state


def below(state: State, prefix: str) -> State:
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


def one_block(p: State, x: Tensor, num_heads: int) -> Tensor:
    """A pre-norm transformer block, with a layer scale and with weights of its norms if it has them."""

    def linear(y: Tensor, name: str) -> Tensor:
        return y @ p[f"{name}.weight"].T + p[f"{name}.bias"]

    def norm(y: Tensor, name: str) -> Tensor:
        centred = y - y.mean(-1, keepdim=True)
        normed = centred / (centred.square().mean(-1, keepdim=True) + 1e-6).sqrt()
        return normed * p.get(f"{name}.weight", 1) + p.get(f"{name}.bias", 0)

    q, k, v = linear(norm(x, "norm1"), "attn.qkv").unflatten(2, (3, num_heads, -1)).permute(2, 0, 3, 1, 4)
    attention = (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1) @ v
    x = x + p.get("ls1.gamma", 1) * linear(attention.transpose(1, 2).flatten(2), "attn.proj")
    return x + p.get("ls2.gamma", 1) * linear(F.gelu(linear(norm(x, "norm2"), "mlp.fc1")), "mlp.fc2")


def forward(state: State, x: Tensor, num_heads: int) -> tuple[list[Tensor], int]:
    """Outputs of every block and the number of prefix tokens: a plain pre-norm ViT."""
    state = below(state, "encoder.")
    width = state["cls_token"].shape[-1]
    patches = (
        F.conv2d(
            x,
            state["patch_embed.proj.weight"],
            state["patch_embed.proj.bias"],
            stride=state["patch_embed.proj.weight"].shape[-1],
        )
        .flatten(2)
        .mT
    )
    x = torch.cat([state["cls_token"].expand(len(x), -1, -1), patches], 1) + state["pos_embed"]
    registers = state.get("register_tokens", torch.zeros(1, 0, width)).expand(len(x), -1, -1)
    x = torch.cat([x[:, :1], registers, x[:, 1:]], 1)
    outputs = []
    for block in range(DEPTH):
        x = one_block(below(state, f"blocks.0.{block}."), x, num_heads)
        outputs.append(x)
    return outputs, 1 + registers.shape[1]


def released(path: Path, state: State, **more: Any) -> Path:
    """A file as the training code writes it: DDP's names, and Python objects beside the weights."""
    schedule = np.linspace(0, 1, 5)
    arguments = argparse.Namespace(arch="vit", teachers=sorted(TEACHERS), lr_schedule=schedule, path=Path("/data"))
    model = {f"module.{key}": value for key, value in state.items()}
    torch.save({"model": model, "epoch": 200, "args": arguments, "loss": np.float64(1), **more}, path)
    return path


def prepared(images: Tensor) -> Tensor:
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    return (images - mean) / std


CASES = [
    ("unic", 768, 16, {}),
    ("dune-vits14-448", 384, 14, {"num_registers": 4, "layer_scale": True}),
    ("dune-vitb14-336", 768, 14, {"layer_scale": True}),
    ("dune-vitb14-448-paper", 768, 14, {"num_registers": 4}),
]


@pytest.mark.parametrize(("name", "width", "patch", "options"), CASES)
def test_equals_a_plain_forward(tmp_path: Path, name: str, width: int, patch: int, options: dict[str, Any]) -> None:
    state = encoder_state(width, patch, 2, **options)
    path = released(tmp_path / "release.pth", state)
    encoder = load_encoder(f"official:{name}?checkpoint={path}", precision="fp32")
    assert (encoder.input_size, encoder.has_cls) == ((2 * patch, 2 * patch), True)
    assert encoder.licence == ("CC-BY-NC-SA-4.0" if name == "unic" else None)
    images = torch.rand(2, 3, 2 * patch, 2 * patch)
    outputs, num_prefix = forward(state, prepared(images), width // 64)
    weight, bias = state["encoder.norm.weight"], state["encoder.norm.bias"]
    normed = F.layer_norm(outputs[-1], (width,), weight, bias, eps=1e-6)
    tokens = encoder(images)
    torch.testing.assert_close(tokens.cls, normed[:, 0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(tokens.patches, normed[:, num_prefix:], rtol=1e-4, atol=1e-5)
    larger = load_encoder(f"official:{name}?checkpoint={path}&img_size={3 * patch}")
    assert larger(images).grid == (3, 3)


@pytest.mark.parametrize(
    ("container", "prefix"),
    [("model", "module._orig_mod."), ("ema", "module."), ("state_dict", "model.student."), ("teacher", "_orig_mod.")],
)
def test_wrappers_come_off(tmp_path: Path, container: str, prefix: str) -> None:
    state = encoder_state(384, 14, 2, num_registers=4, layer_scale=True)
    plain = load_encoder(f"official:dune-vits14-448?checkpoint={released(tmp_path / 'r.pth', state)}")
    other = {f"module.{key}": torch.zeros(1) for key in ("projectors.a.cls_token", "head.weight")}
    torch.save(
        {"model": other, container: {f"{prefix}{key}": value for key, value in state.items()}}, tmp_path / "w.pth"
    )
    wrapped = load_encoder(f"official:dune-vits14-448?checkpoint={tmp_path / 'w.pth'}")
    assert wrapped.fingerprint() == plain.fingerprint()


@pytest.mark.parametrize("blocks", [[0, 1], [1]])
@pytest.mark.parametrize("with_statistics", [True, False])
def test_ladders_give_the_space_of_a_teacher(tmp_path: Path, blocks: list[int], with_statistics: bool) -> None:
    state = {**encoder_state(768, 16, 2), **ladder_state(768, blocks)}
    teacher, width = "metaclip_vithuge_14", 7
    statistics = {
        name: {
            "cls": {"mean": torch.rand(1, dim), "std": torch.rand(1, dim) + 0.5},
            "patch": {"mean": torch.rand(1, 1, dim), "std": torch.rand(1, 1, dim) + 0.5},
        }
        for name, dim in TEACHERS.items()
    }
    path = released(tmp_path / "r.pth", state, **({"teacher_ft_stats": statistics} if with_statistics else {}))
    encoder = load_encoder(f"official:unic?checkpoint={path}&head={teacher}", precision="fp32")
    images = torch.rand(2, 3, 32, 32)
    outputs, _ = forward(state, prepared(images), 12)
    tokens = encoder(images)
    assert (encoder.embed_dim, encoder.patch_dim) == (width, width)
    for kind, part, got in (("cls", slice(0, 1), tokens.cls[:, None]), ("patch", slice(1, None), tokens.patches)):
        total = torch.zeros(())
        for block in blocks:
            p = {
                key: state[f"lp.heads.{teacher}.{kind}.{block}.layers.{key}"]
                for key in ("0.weight", "0.bias", "2.weight", "2.bias")
            }
            hidden = F.gelu(outputs[block][:, part] @ p["0.weight"].T + p["0.bias"])
            total = total + hidden @ p["2.weight"].T + p["2.bias"]
        if with_statistics:
            total = total * (statistics[teacher][kind]["std"] + 1e-6) + statistics[teacher][kind]["mean"]
        torch.testing.assert_close(got, total.reshape(got.shape), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("teacher", DUNE_TEACHERS)
@pytest.mark.parametrize("options", [{}, {"layer_scale": False}, {"affine": False, "num_blocks": 2}], ids=str)
def test_a_projector_of_dune_gives_the_space_of_a_teacher(
    tmp_path: Path, teacher: str, options: dict[str, Any]
) -> None:
    state = {**encoder_state(384, 14, 2, num_registers=4, layer_scale=True), **projector_state(384, **options)}
    path = released(tmp_path / "r.pth", state, iter=7)
    encoder = load_encoder(f"official:dune-vits14-448?checkpoint={path}&head={teacher}", precision="fp32")
    is_matched_by_cls = teacher == "dino2reg_vitlarge_14"
    width = DUNE_TEACHERS[teacher]
    assert (encoder.embed_dim, encoder.patch_dim, encoder.has_cls) == (width, width, is_matched_by_cls)

    images = torch.rand(2, 3, 28, 28)
    outputs, num_prefix = forward(state, prepared(images), 6)
    x = torch.cat([outputs[-1][:, :1], outputs[-1][:, num_prefix:]], dim=1)  # no registers, no final norm
    projector, norms = below(state, f"projectors.{teacher}."), below(state, f"teacher_norms.{teacher}.normalizers.")
    for block in range(options.get("num_blocks", 1)):
        x = one_block(below(projector, f"blocks.{block}."), x, 6)
    z = x @ projector["linear.weight"].T + projector["linear.bias"]
    patches = z[:, 1:] * norms["patch.std"].clamp(min=1e-3) + norms["patch.mean"]
    cls = z[:, 0] * norms["cls.std"].clamp(min=1e-3) + norms["cls.mean"] if is_matched_by_cls else patches.mean(1)
    tokens = encoder(images)
    torch.testing.assert_close(tokens.patches, patches, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(tokens.cls, cls, rtol=1e-4, atol=1e-5)
    assert tokens.grid == (2, 2)


def test_a_projector_of_dune_without_statistics_gives_the_standardised_space(tmp_path: Path) -> None:
    teacher, width = "mast3r_vitlarge_16", DUNE_TEACHERS["mast3r_vitlarge_16"]
    state = {**encoder_state(384, 14, 2), **projector_state(384)}
    state = {key: value for key, value in state.items() if not key.startswith("teacher_norms.")}
    encoder = load_encoder(f"official:dune-vits14-336?checkpoint={released(tmp_path / 'r.pth', state)}&head={teacher}")
    assert encoder.has_cls
    assert encoder(torch.rand(1, 3, 28, 28)).cls.shape == (1, width)


def test_other_projectors_than_those_of_dune_are_refused(tmp_path: Path) -> None:
    state, teacher = {**encoder_state(384, 14, 2), **projector_state(384)}, "mast3r_vitlarge_16"
    more = {f"projectors.{teacher}.blocks.0.cross.weight": torch.ones(1)}
    less = {key: value for key, value in state.items() if "linear" not in key}
    for changed, line in (({**state, **more}, "'mast3r_vitlarge_16'.*cross.weight"), (less, "no linear")):
        path = released(tmp_path / "r.pth", changed)
        with pytest.raises(InputError, match=line) as caught:
            load_encoder(f"official:dune-vits14-448?checkpoint={path}&head={teacher}")
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="no projector for 'dino2reg'.*'dino2reg_vitlarge_14'"):
        load_encoder(f"official:dune-vits14-448?checkpoint={released(tmp_path / 'r.pth', state)}&head=dino2reg")


def test_a_release_without_layer_scale_is_exported(tmp_path: Path) -> None:
    path = released(tmp_path / "r.pth", encoder_state(384, 14, 2, num_registers=4))
    encoder = load_encoder(f"official:dune-vits14-448?checkpoint={path}", precision="fp32")
    assert isinstance(encoder, TimmEncoder)
    export_timm(encoder, tmp_path / "export")
    images = torch.rand(1, 3, 28, 28)
    same = load_encoder(f"run:{tmp_path / 'export'}", precision="fp32")
    torch.testing.assert_close(same(images).cls, encoder(images).cls, rtol=1e-5, atol=1e-5)


def test_a_release_can_be_a_student_and_is_exported(tmp_path: Path) -> None:
    path = released(tmp_path / "r.pth", encoder_state(384, 14, 2, num_registers=4, layer_scale=True))
    student = build_encoder(f"official:dune-vits14-448?checkpoint={path}", drop_path=0.1)
    assert isinstance(student, TimmEncoder)
    assert (student.from_scratch, student.norm_last, len(student.block_dims)) == (False, True, DEPTH)
    export_timm(student.eval(), tmp_path / "export")
    images = torch.rand(1, 3, 28, 28)
    same = load_encoder(f"run:{tmp_path / 'export'}", precision="fp32")
    torch.testing.assert_close(same(images).cls, student(images).cls, rtol=1e-5, atol=1e-5)


def test_objects_beside_the_weights_are_not_kept(tmp_path: Path) -> None:
    path = released(tmp_path / "r.pth", {"encoder.a": torch.ones(2)}, more={"list": [1, "two"]})
    tree = read_checkpoint(path, "here")
    assert tree["more"] == {"list": [1, "two"]}
    assert tree["epoch"] == 200
    assert vars(tree["args"]) == {}
    assert not isinstance(tree["args"], argparse.Namespace)
    torch.testing.assert_close(tree["model"]["module.encoder.a"], torch.ones(2))
    assert not [entry for entry in torch.serialization.get_safe_globals() if isinstance(entry, tuple)]  # for one file


class Hostile:
    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


@pytest.mark.parametrize("old_format", [False, True])
@pytest.mark.parametrize("place", ["model", "args", "epoch"])
def test_code_in_a_checkpoint_is_refused_and_does_not_run(tmp_path: Path, place: str, old_format: bool) -> None:
    path, witness = tmp_path / "r.pth", tmp_path / "ran"
    tree = {"model": {"encoder.a": torch.ones(2)}, place: Hostile(os.mkdir, str(witness))}
    torch.save(tree, path, _use_new_zipfile_serialization=not old_format)
    with pytest.raises(InputError, match="weights .*mkdir") as caught:
        load_encoder(f"official:unic?checkpoint={path}")
    assert "\n" not in str(caught.value)
    assert not witness.exists()


@pytest.mark.parametrize("function", [eval, exec, getattr, __import__, np.load, torch.load, torch.hub.load])
def test_no_way_to_code_is_on_the_allow_list(tmp_path: Path, function: Any) -> None:
    (tmp_path / "r.pth").write_bytes(pickle.dumps({"model": Hostile(function, "1")}, protocol=2))
    torch.save({"model": Hostile(function, "1")}, tmp_path / "s.pth")
    for name in ("r.pth", "s.pth"):
        with pytest.raises(InputError, match="cannot read"):
            read_state_dict(tmp_path / name, "here")


def test_errors(tmp_path: Path) -> None:
    state = encoder_state(768, 16, 2)
    path = released(tmp_path / "r.pth", {**state, **ladder_state(768, [1])})
    for uri, message in {
        "official:unik": "'unik'.*'unic'",
        "official:unic": r"official:unic\?checkpoint=PATH",
        "official:unic?checkpoint=/no/file": "no such file",
        f"official:unic-l?checkpoint={path}": "16 pixels.*unic-l",
        f"official:unic?checkpoint={path}&head=dino_vitb": "'dino_vitb'.*'dino_vitbase_16'",
        f"official:unic?checkpoint={path}&img_size=40": "40.*patch.* 16",
        f"official:unic?checkpoints={path}": "'checkpoints'.*'checkpoint'",
    }.items():
        with pytest.raises(InputError, match=message):
            load_encoder(uri)
    with pytest.raises(InputError, match="cannot be a student"):
        build_encoder(f"official:unic?checkpoint={path}&head=dino_vitbase_16", drop_path=0.1)
    wide = released(tmp_path / "wide.pth", encoder_state(384, 16, 2))
    with pytest.raises(InputError, match="weights do not fit"):
        load_encoder(f"official:unic?checkpoint={wide}")
    with pytest.raises(InputError, match="no projectors"):
        load_encoder(f"official:unic?checkpoint={released(tmp_path / 'e.pth', state)}&head=dino_vitbase_16")
    normed = {**ladder_state(768, [1]), "lp.heads.dino_vitbase_16.cls.1.layers.1.weight": torch.ones(6)}
    path = released(tmp_path / "n.pth", {**state, **normed})
    with pytest.raises(InputError, match="two layers"):
        load_encoder(f"official:unic?checkpoint={path}&head=dino_vitbase_16")
    with pytest.raises(InputError, match="UNIC or DUNE.*cls_token"):
        load_encoder(f"official:unic?checkpoint={released(tmp_path / 'o.pth', {'fc.weight': torch.ones(1)})}")
