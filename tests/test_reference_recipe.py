"""`unic init --from`: the recipe that the arguments of a training with the authors' code say."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from unic.cli import main
from unic.errors import InputError
from unic.recipe.schema import load_recipe
from unic.reference_recipe import reference_recipe

# The names and defaults of the authors' command line, with the values that UNIC-L's file sizes tell.
ARGUMENTS: dict[str, Any] = {
    "arch": "vit_large", "patch_size": 14, "drop_path_rate": 0.2, "image_size": 336,
    "lp_args": "{'std': 0.02, 'hidden_dim': 1024, 'last_hidden_dim': 4096}",
    "teachers": ["dino2_vitgiant_14", "metaclip_vithuge_14"],
    "tnorm_ema_momentum_start": 0.9, "tnorm_ema_momentum_end": 0.002, "t_drop_prob": 0.25,
    "lam_lcos": 0.6, "lam_lsl1": 0.4, "data_dir": "/images/in1k", "use_fp16": True, "clip_grad": 0.0,
    "batch_size_per_gpu": 64, "world_size": 16, "epochs": 50, "optim_args": "{'betas':(0.9, 0.98), 'eps':1e-8}",
    "wd": 0.04, "lr": 2e-4, "min_lr": 2e-6, "warmup_epochs": 5, "saveckpt_freq": 20, "seed": 7, "num_workers": 9,
    "output_dir": "/out", "dist_url": "env://", "local_rank": 0, "rank": 0, "gpu": 0, "num_cpus": 24,
}  # fmt: skip


def of_file(tmp_path: Path, **changes: Any) -> str:
    """A JSON file of the arguments, without those that are changed to None."""
    path = tmp_path / "args.json"
    path.write_text(json.dumps({key: value for key, value in {**ARGUMENTS, **changes}.items() if value is not None}))
    return str(path)


def in_checkpoint(tmp_path: Path, **changes: Any) -> str:
    arguments = argparse.Namespace(**{**ARGUMENTS, **changes, "lr_schedule": np.linspace(0, 1, 4)})
    torch.save({"model": {"a": torch.ones(1)}, "epoch": 50, "args": arguments}, tmp_path / "unic_l.pth")
    return f"official:unic-l?checkpoint={tmp_path / 'unic_l.pth'}"


@pytest.mark.parametrize("source", [of_file, in_checkpoint])
def test_the_recipe_says_what_the_arguments_say(source: Any, tmp_path: Path) -> None:
    text = reference_recipe(source(tmp_path))
    recipe = load_recipe(yaml.safe_load(text))
    assert recipe.seed == 7
    assert recipe.teachers.uris == {
        "dino2_vitgiant_14": "timm:vit_giant_patch14_reg4_dinov2.lvd142m?img_size=336",
        "metaclip_vithuge_14": "open_clip:ViT-H-14-quickgelu/metaclip_fullcc?img_size=336",
    }
    assert recipe.student.model == "timm:vit_large_patch14_224?img_size=336&pretrained=false"
    assert recipe.student.drop_path == 0.2
    assert recipe.projector.type == "ladder"
    assert recipe.projector.options == {"hidden_dim": 1024, "last_hidden_dim": 4096, "blocks": "all"}
    assert recipe.loss == {"cosine": 0.6, "smooth_l1": 0.4}
    assert recipe.standardize.options == {"momentum": [0.9, 0.002]}
    assert recipe.weighting.options == {"level": "image", "normalise": "pair", "p": 0.25}
    assert [entry.path for entry in recipe.data.train] == ["/images/in1k/train"]
    assert (recipe.data.size, recipe.data.workers, recipe.data.augment) == (336, 9, "unic")
    train = recipe.train
    assert (train.epochs, train.batch_size, train.warmup_epochs, train.betas) == (50, 1024, 5, (0.9, 0.98))
    assert (train.lr, train.min_lr, train.weight_decay, train.clip_grad) == (2e-4, 2e-6, 0.04, None)
    comments = [line for line in text.splitlines() if line.startswith("#")]
    assert any("use_fp16: True" in line and "bf16" in line for line in comments)
    assert any("saveckpt_freq: 20" in line for line in comments)
    launch = next(line for line in comments if "of the launch" in line)
    assert all(name in launch for name in ("dist_url", "gpu", "local_rank", "num_cpus", "output_dir", "rank"))
    assert ("lr_schedule" in launch) == source(tmp_path).startswith("official:")
    assert any("registers" in line for line in comments)


def test_what_has_no_counterpart_is_named_and_not_guessed(tmp_path: Path) -> None:
    text = reference_recipe(
        of_file(
            tmp_path,
            lp_args="{'which_blocks': [11, 23], 'prenorm': True, 'midnorm': True}", clip_grad=3.0,
            optim_args="{'betas': (0.9, 0.99), 'eps': 1e-15, 'amsgrad': True}", pretrained="/first\nstage.pth",
            world_size=None, epochs=None, data_dir=None,
        )
    )  # fmt: skip
    recipe = load_recipe(yaml.safe_load(text))
    assert recipe.projector.options == {
        "hidden_dim": 768, "last_hidden_dim": 3072, "blocks": [11, 23], "norm": "pre",
    }  # fmt: skip
    assert (recipe.train.batch_size, recipe.train.clip_grad) == (64, None)
    for words in (
        "lp_args.midnorm: True", "clip_grad: 3.0", "optim_args.eps: 1e-15", "optim_args.amsgrad: True",
        "pretrained: '/first\\nstage.pth'", "train.epochs is not among the arguments (epochs)",
        "train.batch_size: 64 is that of one GPU", "data.train: point it",
    ):  # fmt: skip
        assert f"#   - {words}" in text


def test_the_arguments_of_unic_make_the_recipe_of_the_paper(tmp_path: Path) -> None:
    four = "dino_vitbase_16,deit3_vitbase_16,ibot_vitbase_16,dbotft_vitbase_16"
    source = of_file(
        tmp_path,
        arch="vit_base", patch_size=16, drop_path_rate=0.1, image_size=224, lp_args="{'std': 0.02}", teachers=four,
        tnorm_ema_momentum_start=1.0, tnorm_ema_momentum_end=0.001, t_drop_prob=0.5, lam_lcos=0.5, lam_lsl1=0.5,
        batch_size_per_gpu=128, world_size=4, epochs=200, optim_args="{'betas':(0.9, 0.99), 'eps':1e-8}", wd=3e-2,
        lr=3e-4, min_lr=1e-6, warmup_epochs=10, seed=0, num_workers=12, data_dir="data/imagenet",
    )  # fmt: skip
    said, ours = load_recipe(yaml.safe_load(reference_recipe(source))), load_recipe("unic-vitb16")
    assert sorted(said.teachers.uris.values()) == sorted(ours.teachers.uris.values())
    assert said.student.model == ours.student.model.replace("?", "?img_size=224&")
    for section in ("projector", "loss", "standardize", "data"):
        assert getattr(said, section) == getattr(ours, section)
    assert said.train.model_copy(update={"log_every": ours.train.log_every}) == ours.train
    assert {**said.weighting.options, "p": "auto"} == ours.weighting.options


class Hostile:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("ran",)


def test_arguments_are_read_without_running_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="mkdir"):
        reference_recipe(in_checkpoint(tmp_path, teachers=Hostile()))
    assert not Path("ran").exists()
    text = reference_recipe(in_checkpoint(tmp_path, wd=Path("/a")))
    assert "wd: not plain data (its value cannot be read safely)" in text


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"arch": None}, "no argument 'arch'"),
        ({"arch": "vit_giant2"}, "'vit_giant2' with patches of 14.*vit_large with patches of 14"),
        ({"teachers": ["dino_vitb"]}, "'dino_vitb'.*'dino_vitbase_16'"),
        ({"lr": "fast"}, "no valid recipe.*train.lr"),
        ({"teachers": 5}, r"'teachers': expected text or a list \(got 5\)"),
        ({"teachers": ["metaclip_vithuge_14"] * 2}, "'metaclip_vithuge_14' is listed twice"),
        ({"teachers": [["metaclip_vithuge_14"]]}, "has no URI"),
        ({"image_size": "large"}, r"'image_size': expected a whole number \(got 'large'\)"),
        ({"arch": ["vit_large"]}, "'arch': expected text"),
        ({"batch_size_per_gpu": "64"}, "'batch_size_per_gpu': expected a whole number"),
        ({"t_drop_prob": 2}, "no valid recipe.*'weighting.p' must be"),
        ({"tnorm_ema_momentum_start": 2}, "no valid recipe.*'standardize.momentum' must be"),
        ({"lp_args": "{'hidden_dim': 'wide'}"}, "no valid recipe.*'hidden_dim'.*'wide'"),
        ({"optim_args": "{'betas': 0.9}"}, "no valid recipe.*train.betas"),
    ],
)
def test_arguments_that_make_no_recipe(changes: dict[str, Any], line: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=line) as caught:
        reference_recipe(of_file(tmp_path, **changes))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("official:unic-l", "official:unic-l\\?checkpoint=PATH"),
        ("official:unic-l?checkpoint=none.pth", "no such file"),
        ("none.json", "no such file; expected official:"),
        ("list.json", "not a JSON file of arguments"),
        ("broken.json", "not a JSON file of arguments"),
        ("official:unic?checkpoint=plain.pth", "holds no arguments"),
    ],
)
def test_sources_without_arguments(source: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("list.json").write_text("[1]")
    Path("broken.json").write_text("{")
    torch.save({"model": {"a": torch.ones(1)}}, "plain.pth")
    with pytest.raises(InputError, match=line):
        reference_recipe(source)


def test_init_prints_it_or_writes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    source = of_file(tmp_path)

    def init(*flags: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["unic", "init", "--from", source, *flags])
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        return code, *capsys.readouterr()

    text = reference_recipe(source)
    assert init() == (0, text, "")
    assert init("--out", "mine.yaml") == (0, "mine.yaml\n", "")
    assert Path("mine.yaml").read_text() == text
    assert init("--out", "mine.yaml")[0] == 2
    code, _, err = init("--data", "images")
    assert (code, "leave out --teachers" in err) == (2, True)
