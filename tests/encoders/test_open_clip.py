"""Image towers of open_clip at random weights, saved in its own format, against its own `encode_image`."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image
from torch import Tensor

from unic.encoders import build_encoder, load_encoder
from unic.encoders._open_clip_encoder import OpenClipEncoder
from unic.errors import InputError

open_clip = pytest.importorskip("open_clip")

TEXT = {"context_length": 8, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
VIT = {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8}


def timm(name: str, pool: str, projection: str | None, size: int) -> dict[str, Any]:
    options = {"timm_pool": pool, "timm_proj": projection, "image_size": size}
    return {"timm_model_name": name, "timm_model_pretrained": False, **options}


TOWERS: dict[str, dict[str, Any]] = {
    "lab-vit": VIT,
    "lab-average": {**VIT, "pool_type": "avg", "no_ln_pre": True},
    "lab-coca": {**VIT, "attentional_pool": True, "attn_pooler_heads": 2, "output_tokens": True},
    "lab-resnet": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "head_width": 8},
    "lab-timm-linear": timm("test_vit", "token", "linear", 160),
    "lab-timm-mlp": timm("test_convnext", "", "mlp", 64),
    "lab-timm-classifier": timm("test_efficientnet", "avg", None, 64),
    "lab-timm-none": timm("test_vit2", "map", "none", 64),
}
# width of the pooled vector, of the patches, of the joint space; grid; has a class token
EXPECTED = {
    "lab-vit": (32, 32, 12, (4, 4), True),
    "lab-average": (32, 32, 12, (4, 4), False),
    "lab-coca": (12, 32, 12, (4, 4), False),
    "lab-resnet": (12, 256, 12, (2, 2), False),
    "lab-timm-linear": (64, 64, 12, (10, 10), True),
    "lab-timm-mlp": (64, 64, 12, (2, 2), False),
    "lab-timm-classifier": (256, 256, 12, (2, 2), False),
    "lab-timm-none": (64, 64, 64, (4, 4), False),
}


@pytest.fixture(autouse=True, scope="module")
def _architectures(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("configs")
    for name, vision in TOWERS.items():
        config: dict[str, Any] = {"embed_dim": EXPECTED[name][2], "vision_cfg": vision, "text_cfg": TEXT}
        if name == "lab-coca":
            multimodal = {**TEXT, "attn_pooler_heads": 2}
            config |= {"multimodal_cfg": multimodal, "custom_text": True}
            config["text_cfg"] = {**TEXT, "embed_cls": True, "output_tokens": True}
        (folder / f"{name}.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder)


CLIP = "&mean=clip&std=clip"


def saved(folder: Path, name: str) -> tuple[Path, Any]:
    torch.manual_seed(0)
    model = open_clip.create_model(name).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    torch.save(model.state_dict(), folder / f"{name}.pt")
    return folder / f"{name}.pt", model


def loaded(uri: str) -> OpenClipEncoder:
    encoder = load_encoder(uri, precision="fp32")
    assert isinstance(encoder, OpenClipEncoder)
    return encoder


@pytest.mark.parametrize("name", TOWERS)
def test_equals_open_clip(tmp_path: Path, name: str) -> None:
    path, model = saved(tmp_path, name)
    encoder = loaded(f"open_clip:{name}?checkpoint={path}{CLIP}")
    width, patch_dim, joint, grid, has_cls = EXPECTED[name]
    assert (encoder.embed_dim, encoder.patch_dim, encoder.has_cls) == (width, patch_dim, has_cls)
    images = np.random.default_rng(0).integers(0, 256, (2, *encoder.input_size, 3), dtype=np.uint8)
    settings = model.visual.preprocess_cfg
    preprocess = open_clip.image_transform(encoder.input_size, False, mean=settings["mean"], std=settings["std"])
    x = torch.stack([preprocess(Image.fromarray(image)) for image in images])
    with torch.no_grad():
        expected = model.encode_image(x, normalize=False)  # CoCa's default is a unit vector
        patches = own_patches(name, model.visual, x)
    batch = torch.from_numpy(images).permute(0, 3, 1, 2) / 255
    tokens = encoder(batch)
    assert tokens.grid == grid
    torch.testing.assert_close(tokens.patches, patches, rtol=1e-5, atol=1e-5)
    projected = loaded(f"open_clip:{name}?checkpoint={path}{CLIP}&projected=true")
    torch.testing.assert_close(projected(batch).cls, expected, rtol=1e-5, atol=1e-5)
    assert projected.embed_dim == joint
    assert projected.fingerprint() != encoder.fingerprint()
    error = encoder.normalisation_error()
    assert error is not None
    assert error < 1e-5


@pytest.mark.parametrize("prefix", ["_orig_mod.", "module._orig_mod.", "model.module."])
@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_wrappers_come_off(tmp_path: Path, prefix: str, suffix: str) -> None:
    path, model = saved(tmp_path, "lab-vit")
    state = {f"{prefix}{name}": tensor.clone() for name, tensor in model.state_dict().items()}
    wrapped = tmp_path / f"wrapped.{suffix}"
    if suffix == "pt":
        torch.save({"state_dict": state, "epoch": 3}, wrapped)
    else:
        safetensors.torch.save_file(state, wrapped)
    same, images = loaded(f"open_clip:lab-vit?checkpoint={path}{CLIP}"), torch.rand(1, 3, 32, 32)
    found = loaded(f"open_clip:lab-vit?checkpoint={wrapped}{CLIP}")
    assert torch.equal(found(images).patches, same(images).patches)


def own_patches(name: str, visual: Any, x: Tensor) -> Tensor:
    """Patches by what each tower has inside, seen from outside."""
    seen: list[Tensor] = []
    part = {"lab-coca": "transformer", "lab-resnet": "layer4"}.get(name, "ln_post")
    if hasattr(visual, "trunk"):
        features = visual.trunk.forward_features(x)
        return features.flatten(2).mT if features.ndim == 4 else features[:, visual.trunk.num_prefix_tokens :]
    handle = getattr(visual, part).register_forward_hook(lambda *arguments: seen.append(arguments[-1]))
    visual(x)
    handle.remove()
    return seen[0].flatten(2).mT if seen[0].ndim == 4 else seen[0][:, 1:]


def test_pooled_vector_is_the_normed_class_token(tmp_path: Path) -> None:
    path, model = saved(tmp_path, "lab-vit")
    encoder = loaded(f"open_clip:lab-vit?checkpoint={path}{CLIP}")
    images = torch.rand(2, 3, 32, 32)
    seen: list[Tensor] = []
    model.visual.ln_post.register_forward_hook(lambda *arguments: seen.append(arguments[-1]))
    with torch.no_grad():
        joint = model.encode_image(encoder.prepare(images))
    cls = encoder(images).cls
    torch.testing.assert_close(cls, seen[0][:, 0], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(cls @ model.visual.proj, joint, rtol=1e-5, atol=1e-5)


def test_another_size_is_what_open_clip_makes_of_it(tmp_path: Path) -> None:
    path, _ = saved(tmp_path, "lab-vit")
    encoder = loaded(f"open_clip:lab-vit?checkpoint={path}{CLIP}&img_size=48x64&projected=true")
    model = open_clip.create_model("lab-vit", pretrained=str(path), force_image_size=(48, 64)).eval()
    images = torch.rand(2, 3, 48, 64)
    tokens = encoder(images)
    assert tokens.grid == (6, 8)
    with torch.no_grad():
        expected = model.encode_image(encoder.prepare(images))
    torch.testing.assert_close(tokens.cls, expected, rtol=1e-5, atol=1e-5)


def published(**more: Any) -> dict[str, Any]:
    return {"hf_hub": "lab/clip/", "mean": (0.5,) * 3, "std": (0.25,) * 3, "interpolation": "bicubic", **more}


def test_published_weights_from_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    weights = {"plain": published(), "quick": published(quick_gelu=True), "other": published(hf_hub="lab/other/")}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "lab-vit", weights)
    root = tmp_path / "models--lab--clip"
    snapshot = root / "snapshots" / ("c" * 40)
    snapshot.mkdir(parents=True)
    (root / "refs").mkdir()
    (root / "refs" / "main").write_text("c" * 40)
    (snapshot / "README.md").write_text("---\nlicense: mit\n---\n")
    saved(tmp_path, "lab-vit")[0].rename(snapshot / "open_clip_pytorch_model.bin")

    encoder = loaded("open_clip:lab-vit/plain")
    assert (encoder.revision, encoder.licence) == ("c" * 40, "mit")
    assert encoder.mean.flatten().tolist() == [0.5] * 3
    assert encoder.normalisation_error() == pytest.approx(0, abs=1e-5)
    wrong = loaded("open_clip:lab-vit/plain?mean=0.4&std=0.25").normalisation_error()
    assert wrong == pytest.approx(0.4, abs=1e-3)
    # The same file with the activation that its tag asks for: other outputs, and another fingerprint.
    quick, images = loaded("open_clip:lab-vit/quick"), torch.rand(1, 3, 32, 32)
    assert not torch.allclose(quick(images).cls, encoder(images).cls, atol=1e-3)
    assert quick.fingerprint() != encoder.fingerprint()
    with pytest.raises(InputError, match="cache.*HF_HUB_OFFLINE"):
        load_encoder("open_clip:lab-vit/other")
    with pytest.raises(InputError, match="'plane'.*'plain'"):
        load_encoder("open_clip:lab-vit/plane")


def test_mean_and_std_of_a_file_are_said_or_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Published weights of its architecture say nothing of it."""
    path, _ = saved(tmp_path, "lab-vit")
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "lab-vit", {"a": published(), "b": published()})
    for given in ("", "&mean=0.3"):
        with pytest.raises(InputError, match="not known.*mean=clip&std=clip"):
            load_encoder(f"open_clip:lab-vit?checkpoint={path}{given}")
    (tmp_path / "open_clip_config.json").write_text(
        json.dumps({"preprocess_cfg": {"mean": [0.3] * 3, "std": [0.2] * 3}})
    )
    with pytest.raises(InputError, match="not known"):  # the configuration is that of another file
        load_encoder(f"open_clip:lab-vit?checkpoint={path}")
    hub_file = path.rename(tmp_path / "open_clip_pytorch_model.bin")
    encoder = loaded(f"open_clip:lab-vit?checkpoint={hub_file}")
    torch.testing.assert_close(encoder.std.flatten(), torch.tensor([0.2] * 3))
    path = hub_file.rename(tmp_path / "lab-vit.pt")
    assert loaded(f"open_clip:lab-vit?checkpoint={path}&mean=0.3&std=0.2").mean.flatten().tolist() == pytest.approx(
        [0.3] * 3
    )


class Hostile:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_errors(tmp_path: Path) -> None:
    path, _ = saved(tmp_path, "lab-vit")
    torch.save({"state_dict": Hostile(tmp_path / "ran")}, tmp_path / "evil.pt")
    for uri, message in {
        "open_clip:lab-vitt/openai": "'lab-vitt'.*'lab-vit'",
        "open_clip:ViT-B-32/openay": "'ViT-B-32'.*'openay'.*'openai'",
        "open_clip:ViT-B-32": "'ViT-B-32'.*weights ''",
        f"open_clip:lab-vit/openai?checkpoint={path}": "not both",
        f"open_clip:lab-vit?checkpoint={tmp_path}/none.pt": "no such file",
        f"open_clip:lab-resnet?checkpoint={path}": "cannot load it",
        f"open_clip:lab-vit?checkpoint={tmp_path}/evil.pt": "cannot load it",
        f"open_clip:lab-vit?checkpoint={path}&project=true": "'projected'",
        f"open_clip:lab-vit?checkpoint={path}&projected=1": "true or false",
    }.items():
        with pytest.raises(InputError, match=message) as caught:
            load_encoder(uri)
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "ran").exists()
    with pytest.raises(InputError, match="cannot be a student"):
        build_encoder("open_clip:lab-vit/openai", drop_path=0.1)


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "open_clip", None)
    with pytest.raises(InputError, match="pip install open_clip"):
        load_encoder("open_clip:ViT-B-32/openai")
