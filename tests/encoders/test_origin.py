"""Mean, std and licence of weights: from the URI, from a config beside the file, from its name, or asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import timm
import torch

from unic.encoders import Encoder, build_encoder, load_encoder, without_weights
from unic.encoders.timm_encoder import TimmEncoder
from unic.errors import InputError
from unic.exporting.timm import export_timm

IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
HALF = ([0.5] * 3, [0.5] * 3)


def numbers(encoder: Encoder) -> tuple[list[float], list[float]]:
    mean, std = ([round(float(value), 6) for value in values.flatten()] for values in (encoder.mean, encoder.std))
    return mean, std


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return timm.create_model("test_vit", num_classes=0, img_size=32).state_dict()


@pytest.fixture
def weights(tmp_path: Path, state: dict[str, torch.Tensor]) -> Path:
    safetensors.torch.save_file(state, tmp_path / "mine.safetensors")
    return tmp_path / "mine.safetensors"


@pytest.mark.parametrize("uri", ["timm:test_vit?img_size=32&checkpoint={}", "safetensors:{}?arch=test_vit&img_size=32"])
@pytest.mark.parametrize(
    ("given", "missing"),
    [("", "mean=imagenet&std=imagenet"), ("&mean=0.5", "std=imagenet"), ("&std=1", "mean=imagenet")],
)
def test_weights_of_unknown_training_are_asked_for(weights: Path, uri: str, given: str, missing: str) -> None:
    with pytest.raises(InputError, match=f"not known.* {missing}, "):
        load_encoder(uri.format(weights) + given)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("mean=imagenet&std=imagenet", IMAGENET),
        ("mean=0.5&std=0.5", HALF),
        (
            "mean=clip&std=clip",
            ([0.481455, 0.457828, 0.408211], [0.26863, 0.261303, 0.275777]),
        ),
    ],
)
def test_the_uri_says_it(weights: Path, given: str, expected: Any) -> None:
    encoder = load_encoder(f"timm:test_vit?img_size=32&checkpoint={weights}&{given}")
    assert numbers(encoder) == expected
    assert encoder.licence is None  # not that of timm's weights


def test_a_wrong_name_of_a_pair(weights: Path) -> None:
    with pytest.raises(InputError, match="'mean'.*'imagnet'.*'imagenet'"):
        load_encoder(f"timm:test_vit?img_size=32&checkpoint={weights}&mean=imagnet&std=imagenet")


def config(folder: Path, **changes: Any) -> None:
    settings = {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "license": "mit"}
    text = json.dumps({"architecture": "test_vit", "pretrained_cfg": settings} | changes)
    (folder / "config.json").write_text(text)


def test_a_config_beside_the_file_says_it(weights: Path) -> None:
    config(weights.parent)
    encoder = load_encoder(f"timm:test_vit?img_size=32&checkpoint={weights}")
    assert numbers(encoder) == ([0.1, 0.2, 0.3], [0.4, 0.5, 0.6])
    assert encoder.licence == "mit"
    assert numbers(load_encoder(f"timm:test_vit?img_size=32&checkpoint={weights}&std=1"))[1] == [1.0] * 3


@pytest.mark.parametrize(
    "changes",
    [
        {"architecture": "test_vit2"},
        {"pretrained_cfg": {"mean": [0.5] * 3}},
        {"pretrained_cfg": {"mean": [0.5], "std": [0.5]}},
        {"pretrained_cfg": {"mean": [0.5] * 3, "std": [0.0] * 3}},
        {"pretrained_cfg": None},
    ],
)
def test_a_config_of_something_else_says_nothing(weights: Path, changes: dict[str, Any]) -> None:
    config(weights.parent, **changes)
    with pytest.raises(InputError, match="not known"):
        load_encoder(f"timm:test_vit?img_size=32&checkpoint={weights}")


def test_a_config_beside_several_files_speaks_of_the_one_of_its_format(weights: Path) -> None:
    config(weights.parent)
    export = weights.parent / "model.safetensors"
    export.write_bytes(weights.read_bytes())
    assert numbers(load_encoder(f"timm:test_vit?img_size=32&checkpoint={export}"))[0] == [0.1, 0.2, 0.3]
    with pytest.raises(InputError, match="not known"):
        load_encoder(f"timm:test_vit?img_size=32&checkpoint={weights}")


def test_our_own_export_needs_no_options(tmp_path: Path) -> None:
    encoder = build_encoder("timm:test_vit?img_size=32&pretrained=false&mean=0.4&std=0.3").eval()
    assert isinstance(encoder, TimmEncoder)
    file = export_timm(encoder, tmp_path / "export", licence="cc-by-nc-4.0") / "model.safetensors"
    loaded = load_encoder(f"safetensors:{file}?arch=test_vit&img_size=32", precision="fp32")
    assert numbers(loaded) == ([0.4] * 3, [0.3] * 3)
    assert loaded.licence == "cc-by-nc-4.0"


@pytest.mark.parametrize(
    ("name", "expected", "licence"),
    [
        ("dino_vitbase16_pretrain.pth", IMAGENET, "apache-2.0"),
        ("mae_pretrain_vit_base.pth", IMAGENET, "cc-by-nc-4.0"),
        ("deit_3_base_224_1k.pth", IMAGENET, "apache-2.0"),
        ("dinov2_vitb14_reg4_pretrain.pth", IMAGENET, "apache-2.0"),
        ("vitb_16_rand_mask/checkpoint_teacher.pth", IMAGENET, None),
        ("84.5_dbot_base_finetune.pth", IMAGENET, None),
    ],
)
def test_published_files_are_known_by_their_names(
    tmp_path: Path, state: dict[str, torch.Tensor], name: str, expected: Any, licence: str | None
) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    torch.save(state, path)
    encoder = load_encoder(f"timm:test_vit?img_size=32&checkpoint={path}")
    assert (numbers(encoder), encoder.licence) == (expected, licence)


@pytest.mark.parametrize("name", ["checkpoint_teacher.pth", "runs/checkpoint_teacher.pth", "85.7_clip_base_pre.pth"])
def test_names_that_others_use_too_say_nothing(tmp_path: Path, state: dict[str, torch.Tensor], name: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    torch.save(state, path)
    with pytest.raises(InputError, match="not known"):
        load_encoder(f"timm:test_vit?img_size=32&checkpoint={path}")


def test_a_tag_says_whose_weights_were_trained_on(weights: Path) -> None:
    encoder = load_encoder(f"timm:test_vit.r160_in1k?img_size=32&checkpoint={weights}")
    assert numbers(encoder) == HALF
    assert encoder.licence is None  # fine-tuned weights may stand under another


@pytest.mark.parametrize("options", ["?pretrained=false&img_size=32", ".r160_in1k?pretrained=false&img_size=32"])
def test_random_weights_get_imagenets_numbers_and_no_licence(options: str) -> None:
    encoder = build_encoder(f"timm:test_vit{options}")  # whose published weights take 0.5
    assert (numbers(encoder), encoder.licence) == (IMAGENET, "")
    assert numbers(build_encoder(f"timm:test_vit{options}&mean=0.3&std=0.2")) == ([0.3] * 3, [0.2] * 3)


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("timm:test_vit?img_size=32", HALF),
        ("timm:test_vit?img_size=32&mean=0.3", ([0.3] * 3, [0.5] * 3)),
        ("timm:test_vit?img_size=32&pretrained=false", IMAGENET),
        ("timm:test_vit?img_size=32&checkpoint=dino_vitbase16_pretrain.pth", IMAGENET),
        ("timm:test_vit?img_size=32&checkpoint=x.pth&mean=0.3&std=0.2", ([0.3] * 3, [0.2] * 3)),
        ("safetensors:x.safetensors?arch=test_vit&img_size=32&mean=0.3&std=0.2", ([0.3] * 3, [0.2] * 3)),
    ],
)
def test_without_weights_the_numbers_stay(uri: str, expected: Any) -> None:
    assert numbers(build_encoder(without_weights(uri))) == expected
