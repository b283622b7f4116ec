"""Real architectures of transformers at random weights, saved in its own format, against its own forward."""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import safetensors.torch
import torch
from packaging.version import Version
from torch import Tensor

from unic.encoders import build_encoder, load_encoder
from unic.encoders._hf_encoder import HfEncoder
from unic.encoders._image_processor import from_patches, to_patches
from unic.errors import InputError

transformers = pytest.importorskip("transformers")

VIT = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
VIT_32 = {**VIT, "image_size": 32, "patch_size": 8}
TEXT = {**VIT, "vocab_size": 64, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
JOINT = {"text_config": TEXT, "vision_config": VIT_32}
STAGES = {"hidden_sizes": [8, 8, 16, 16], "depths": [1, 1, 1, 1]}
WINDOWS = {"embed_dim": 8, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 2, 2]}
SAM = {
    "vision_config": {
        **{"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 64, "patch_size": 8},
        **{"window_size": 2, "global_attn_indexes": [1], "output_channels": 8, "mlp_dim": 16},
    },
    "prompt_encoder_config": {"hidden_size": 8, "image_size": 64, "patch_size": 8, "mask_input_channels": 4},
    "mask_decoder_config": {"hidden_size": 8, "num_attention_heads": 2, "mlp_dim": 16, "iou_head_hidden_dim": 8},
}
MAE = {**VIT_32, "decoder_hidden_size": 16, "decoder_num_hidden_layers": 1, "decoder_num_attention_heads": 2}
RADIO = {**VIT, "patch_size": 8, "image_size": 32, "max_img_size": 64, "num_cls_tokens": 2, "num_registers": 3}

NORMALISE = {"image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.3, 0.25]}
PLAIN = {**NORMALISE, "size": {"height": 32, "width": 32}}
WIDE = {**NORMALISE, "size": {"height": 64, "width": 64}}
CROP = {**NORMALISE, "size": {"shortest_edge": 40}, "crop_size": {"height": 32, "width": 32}}
PAD = {**NORMALISE, "size": {"longest_edge": 64}, "pad_size": {"height": 64, "width": 64}}
SIGLIP2_PROCESSOR = ("Siglip2ImageProcessor", {**NORMALISE, "patch_size": 8, "max_num_patches": 16})

Split = Callable[[Any, Any], tuple[Tensor, Tensor]]


def after_prefix(num_prefix: int) -> Split:
    return lambda _, out: (out.last_hidden_state[:, 0], out.last_hidden_state[:, num_prefix:])


def pooled(_: Any, out: Any) -> tuple[Tensor, Tensor]:
    return out.pooler_output, out.last_hidden_state


def mean(_: Any, out: Any) -> tuple[Tensor, Tensor]:
    return out.last_hidden_state.mean(1), out.last_hidden_state


def pooled_map(_: Any, out: Any) -> tuple[Tensor, Tensor]:
    return out.pooler_output.flatten(1), out.last_hidden_state.flatten(2).mT


def mean_map(_: Any, out: Any) -> tuple[Tensor, Tensor]:
    return out.last_hidden_state.mean((2, 3)), out.last_hidden_state.flatten(2).mT


def beit(_: Any, out: Any) -> tuple[Tensor, Tensor]:
    return out.pooler_output, out.last_hidden_state[:, 1:]


def clip(model: Any, out: Any) -> tuple[Tensor, Tensor]:
    return out.pooler_output, getattr(model, "vision_model", model).post_layernorm(out.last_hidden_state[:, 1:])


def radio(_: Any, out: Any) -> tuple[Tensor, Tensor]:
    return out.summary, out.features


class Case(NamedTuple):
    """A model to save, and what its own forward gives as CLS and patches."""

    saved: str
    config: dict[str, Any]
    processor: tuple[str, dict[str, Any]]
    split: Split
    grid: tuple[int, int] = (4, 4)
    has_cls: bool = True
    reference: str = ""  # the class whose forward counts, or the part of the saved one; default: the saved one
    noise: int = 0  # how many ordered numbers MAE needs to leave its patches where they are


CASES = {
    "dinov2": Case("Dinov2Model", VIT_32, ("BitImageProcessor", CROP), after_prefix(1)),
    "dinov2_registers": Case(
        "Dinov2WithRegistersModel", {**VIT_32, "num_register_tokens": 3}, ("BitImageProcessor", CROP), after_prefix(4)
    ),
    "dinov3": Case(
        "DINOv3ViTModel", {**VIT_32, "num_register_tokens": 4}, ("ViTImageProcessor", PLAIN), after_prefix(5)
    ),
    "dinov3_convnext": Case(
        "DINOv3ConvNextModel", STAGES, ("ViTImageProcessor", WIDE), after_prefix(1), (2, 2), has_cls=False
    ),
    "clip": Case("CLIPModel", JOINT, ("CLIPImageProcessor", CROP), clip, reference="CLIPVisionModel"),
    "clip_vision": Case(
        "CLIPVisionModelWithProjection", VIT_32, ("CLIPImageProcessor", CROP), clip, reference="CLIPVisionModel"
    ),
    "siglip": Case(
        "SiglipModel", JOINT, ("SiglipImageProcessor", PLAIN), pooled, has_cls=False, reference="SiglipVisionModel"
    ),
    "vit": Case(
        "ViTForImageClassification", VIT_32, ("ViTImageProcessor", PLAIN), after_prefix(1), reference="ViTModel"
    ),
    "deit": Case(
        "DeiTForImageClassification", VIT_32, ("DeiTImageProcessor", CROP), after_prefix(2), reference="DeiTModel"
    ),
    "mae": Case(
        "ViTMAEForPreTraining",
        {**MAE, "mask_ratio": 0.75},
        ("ViTImageProcessor", PLAIN),
        after_prefix(1),
        reference="ViTMAEModel",
        noise=16,
    ),
    "ijepa": Case("IJepaModel", VIT_32, ("ViTImageProcessor", PLAIN), mean, has_cls=False),
    "sam": Case(
        "SamModel", SAM, ("SamImageProcessor", PAD), mean_map, (8, 8), has_cls=False, reference="SamVisionModel"
    ),
    "aimv2": Case("Aimv2VisionModel", VIT_32, ("CLIPImageProcessor", CROP), pooled, has_cls=False),
    "convnext": Case(
        "ConvNextForImageClassification",
        STAGES,
        ("ConvNextImageProcessor", WIDE),
        pooled_map,
        (2, 2),
        has_cls=False,
        reference="ConvNextModel",
    ),
    "convnextv2": Case("ConvNextV2Model", STAGES, ("ConvNextImageProcessor", WIDE), pooled_map, (2, 2), has_cls=False),
    "beit": Case(
        "BeitForImageClassification",
        {**VIT_32, "use_relative_position_bias": True},
        ("BeitImageProcessor", {**PLAIN, "do_center_crop": False}),
        beit,
        has_cls=False,
        reference="BeitModel",
    ),
    "data2vec": Case(
        "Data2VecVisionModel",
        {**VIT_32, "use_mean_pooling": False},
        ("BeitImageProcessor", {**PLAIN, "do_center_crop": False}),
        after_prefix(1),
    ),
    "hiera": Case(
        "HieraModel", {**WINDOWS, "image_size": [64, 64]}, ("ViTImageProcessor", WIDE), pooled, (2, 2), has_cls=False
    ),
    "swin": Case(
        "SwinModel",
        {**WINDOWS, "image_size": 64, "patch_size": 4, "window_size": 2},
        ("ViTImageProcessor", WIDE),
        pooled,
        (2, 2),
        has_cls=False,
    ),
    "resnet": Case(
        "ResNetModel",
        {**STAGES, "embedding_size": 8, "layer_type": "basic"},
        ("ConvNextImageProcessor", WIDE),
        pooled_map,
        (2, 2),
        has_cls=False,
    ),
    "aimv2_joint": Case(
        "Aimv2Model", JOINT, ("CLIPImageProcessor", CROP), pooled, has_cls=False, reference="vision_model"
    ),
    "metaclip2": Case("MetaClip2Model", JOINT, ("CLIPImageProcessor", CROP), clip, reference="vision_model"),
    "radio": Case("RadioModel", RADIO, ("ViTImageProcessor", {**PLAIN, "do_normalize": False}), radio),
}


def save(folder: Path, case: Case) -> Path:
    """A random model in transformers' format, with its image processor."""
    torch.manual_seed(0)
    kind = getattr(transformers, case.saved)
    built = kind(kind.config_class(**case.config))
    for parameter in built.parameters():  # zero and unit vectors would hide a token or a norm that is left out
        torch.nn.init.normal_(parameter, std=0.3)
    built.save_pretrained(folder)
    name, settings = case.processor
    getattr(transformers, name)(**settings).save_pretrained(folder)
    return folder


def own_forward(folder: Path, case: Case, pixels: Tensor, **inputs: Any) -> tuple[Tensor, Tensor]:
    """CLS and patches by transformers alone."""
    if case.reference == "vision_model":
        model = getattr(transformers, case.saved).from_pretrained(folder).vision_model.eval()
    else:
        model = getattr(transformers, case.reference or case.saved).from_pretrained(folder).eval()
    if case.noise:
        model.config.mask_ratio = 0.0
        inputs["noise"] = torch.arange(float(case.noise)).expand(len(pixels), -1)
    with torch.no_grad():
        return case.split(model, model(pixel_values=pixels, **inputs))


@pytest.fixture(autouse=True)
def _silent() -> None:
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()


def loaded(uri: str) -> HfEncoder:
    encoder = load_encoder(uri, precision="fp32")
    assert isinstance(encoder, HfEncoder)
    return encoder


@pytest.mark.parametrize("name", CASES)
def test_equals_transformers(tmp_path: Path, name: str) -> None:
    case = CASES[name]
    if not hasattr(transformers, case.saved):
        pytest.skip(f"this version of transformers has no {case.saved}")
    encoder = loaded(f"hf:{save(tmp_path, case)}")
    images = np.random.default_rng(1).integers(0, 256, (2, *encoder.input_size, 3), dtype=np.uint8)
    processor = transformers.AutoImageProcessor.from_pretrained(tmp_path)
    at_size = {name: False for name in ("do_resize", "do_center_crop", "do_pad") if hasattr(processor, name)}
    pixels = processor(images=list(images), return_tensors="pt", **at_size)["pixel_values"]
    cls, patches = own_forward(tmp_path, case, pixels)

    tokens = encoder(torch.from_numpy(images).permute(0, 3, 1, 2) / 255)
    torch.testing.assert_close(tokens.cls, cls, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(tokens.patches, patches, rtol=1e-5, atol=1e-5)
    assert (tokens.grid, encoder.has_cls) == (case.grid, case.has_cls)
    assert (encoder.embed_dim, encoder.patch_dim) == (cls.shape[-1], patches.shape[-1])
    assert encoder.input_size == (
        (32, 32) if case.processor[1].get("size") != WIDE["size"] and name != "sam" else (64, 64)
    )
    error = encoder.normalisation_error()
    assert error is not None
    assert error < 1e-5
    assert loaded(f"hf:{tmp_path}").fingerprint() == encoder.fingerprint()  # no random pooler is left


@pytest.mark.parametrize("name", ["dinov2", "clip", "siglip", "vit", "deit", "mae", "ijepa", "beit"])
def test_another_size_interpolates_the_positions(tmp_path: Path, name: str) -> None:
    case = CASES[name]
    encoder = loaded(f"hf:{save(tmp_path, case)}?img_size=48x64")
    images = torch.rand(2, 3, 48, 64)
    options = {} if name == "dinov2" else {"interpolate_pos_encoding": True}
    case = case._replace(noise=48 if case.noise else 0)
    cls, patches = own_forward(tmp_path, case, encoder.prepare(images), **options)
    tokens = encoder(images)
    assert tokens.grid == (6, 8)
    torch.testing.assert_close(tokens.cls, cls, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(tokens.patches, patches, rtol=1e-5, atol=1e-5)


def test_siglip2_takes_patches(tmp_path: Path) -> None:
    config = {"text_config": TEXT, "vision_config": {**VIT, "patch_size": 8, "num_patches": 16}}
    case = Case("Siglip2Model", config, SIGLIP2_PROCESSOR, pooled, reference="Siglip2VisionModel")
    encoder = loaded(f"hf:{save(tmp_path, case)}")
    assert (encoder.input_size, encoder.has_cls) == ((32, 32), False)
    image = np.random.default_rng(1).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    inputs = dict(transformers.AutoImageProcessor.from_pretrained(tmp_path)(images=[image], return_tensors="pt"))
    cls, patches = own_forward(tmp_path, case, inputs.pop("pixel_values"), **inputs)
    tokens = encoder(torch.from_numpy(image).permute(2, 0, 1)[None] / 255)
    torch.testing.assert_close(tokens.cls, cls, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(tokens.patches, patches, rtol=1e-5, atol=1e-5)
    assert loaded(f"hf:{tmp_path}?img_size=64x48")(torch.rand(1, 3, 30, 30)).grid == (8, 6)


def test_siglip2_reads_nothing_from_the_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = {"text_config": TEXT, "vision_config": {**VIT, "patch_size": 8, "num_patches": 16}}
    case = Case("Siglip2Model", config, SIGLIP2_PROCESSOR, pooled, reference="Siglip2VisionModel")
    encoder = loaded(f"hf:{save(tmp_path, case)}")
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks/gpu"))
    gpu = importlib.import_module("_pretended_gpu").PretendedGpu()
    gpu.move(encoder)
    images = gpu.mark(torch.rand(2, 3, 32, 32))
    with gpu, torch.no_grad():
        encoder(images)  # the range of the images is looked at once
        gpu.waits.clear()
        encoder(images)
    # Later releases compute the weights that resize its position embedding beside the shapes, and copy them over.
    assert sum(gpu.waits.values()) <= int(Version(transformers.__version__) >= Version("5.24"))
    assert not gpu.mixed


def test_an_own_size_that_is_no_multiple_of_the_patch_size_is_kept(tmp_path: Path) -> None:
    # As siglip-so400m-patch14-384: the convolution leaves the last pixels out.
    config = {**VIT_32, "image_size": 36}
    processor = ("SiglipImageProcessor", {**NORMALISE, "size": {"height": 36, "width": 36}})
    case = Case("SiglipVisionModel", config, processor, pooled)
    encoder = loaded(f"hf:{save(tmp_path, case)}")
    images = torch.rand(2, 3, 36, 36)
    tokens = encoder(images)
    assert tokens.grid == (4, 4)
    torch.testing.assert_close(tokens.patches, own_forward(tmp_path, case, encoder.prepare(images))[1])


def test_patches_and_back() -> None:
    images = torch.rand(2, 3, 24, 16)
    torch.testing.assert_close(from_patches(to_patches(images, 8), 8, (24, 16)), images, rtol=0, atol=0)


@pytest.mark.parametrize(
    "settings",
    [
        {"do_normalize": False},
        {"do_normalize": False, "do_rescale": False},
        {"rescale_factor": 1 / 127.5, "image_mean": [1.0] * 3, "image_std": [1.0] * 3},
    ],
)
def test_input_range_follows_the_processor(tmp_path: Path, settings: dict[str, Any]) -> None:
    case = CASES["vit"]._replace(processor=("ViTImageProcessor", {**PLAIN, **settings}))
    error = loaded(f"hf:{save(tmp_path, case)}").normalisation_error()
    assert error is not None
    assert error < 1e-4


def test_a_wrong_normalisation_is_seen(tmp_path: Path) -> None:
    save(tmp_path, CASES["vit"])
    encoder = loaded(f"hf:{tmp_path}")
    encoder.mean += 0.01
    error = encoder.normalisation_error()
    assert error is not None
    assert error == pytest.approx(0.05, rel=0.01)  # 0.01 / the smallest std
    (tmp_path / "preprocessor_config.json").unlink()
    without = loaded(f"hf:{tmp_path}?mean=0.4&std=0.2,0.3,0.25")
    assert without.input_size == (32, 32)  # of the model's own configuration
    assert without.normalisation_error() is None


def in_cache(cache: Path, folder: Path, commit: str, reference: str = "main") -> None:
    """Lays a saved model out as the cache of huggingface_hub does."""
    root = cache / "models--lab--model"
    (root / "refs").mkdir(parents=True, exist_ok=True)
    (root / "refs" / reference).write_text(commit)
    (root / "snapshots").mkdir(exist_ok=True)
    folder.rename(root / "snapshots" / commit)


def test_cached_models_need_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("transformers.utils.hub.TRANSFORMERS_CACHE", str(tmp_path / "hub"), raising=False)  # of 4.x
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for commit, reference in (("a" * 40, "main"), ("b" * 40, "v2")):
        folder = tmp_path / reference
        save(folder, CASES["vit"])
        (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n# A model\n")
        in_cache(tmp_path / "hub", folder, commit, reference)
    for revision, commit in (("", "a" * 40), ("@v2", "b" * 40), ("@" + "a" * 40, "a" * 40)):
        encoder = loaded(f"hf:lab/model{revision}")
        assert (encoder.revision, encoder.licence) == (commit, "apache-2.0")
        assert encoder.uri == f"hf:lab/model{revision}"
    for name in ("lab/other", "lab/model@v3"):
        with pytest.raises(InputError, match="cache.*HF_HUB_OFFLINE"):
            load_encoder(f"hf:{name}")


def test_an_unreachable_hub_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(InputError, match="lab/model': .*cache.*http://127.0.0.1:9 "):
        load_encoder("hf:lab/model")


REMOTE = """
import torch
from transformers import PretrainedConfig, PreTrainedModel

class LabConfig(PretrainedConfig):
    model_type = "lab"

class LabModel(PreTrainedModel):
    config_class = LabConfig

    def __init__(self, config):
        super().__init__(config)
        self.layer = torch.nn.Conv2d(3, 5, 8, 8)
        self.post_init()

    def forward(self, pixel_values):
        features = self.layer(pixel_values).flatten(2).mT
        return features.mean(1), features
"""


def test_code_of_the_repository_runs_only_when_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))
    folder, witness = tmp_path / "model", tmp_path / "ran"
    folder.mkdir()
    (folder / "lab.py").write_text(f"open({str(witness)!r}, 'w').close()\n{REMOTE}")
    auto_map = {"AutoConfig": "lab.LabConfig", "AutoModel": "lab.LabModel"}
    (folder / "config.json").write_text(json.dumps({"model_type": "lab", "auto_map": auto_map}))
    layer = torch.nn.Conv2d(3, 5, 8, 8)
    torch.save({f"layer.{name}": value for name, value in layer.state_dict().items()}, folder / "pytorch_model.bin")
    uri = f"hf:{folder}?mean=0.5&std=0.5&img_size=16"
    with pytest.raises(InputError, match="trust_remote_code=true"):
        load_encoder(uri)
    assert not witness.exists()
    images = torch.rand(2, 3, 16, 16)
    tokens = load_encoder(f"{uri}&trust_remote_code=true", precision="fp32")(images)
    torch.testing.assert_close(tokens.patches, layer((images - 0.5) / 0.5).flatten(2).mT, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(tokens.cls, tokens.patches.mean(1))


class Hostile:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_pickled_code_in_the_weights_does_not_run(tmp_path: Path) -> None:
    save(tmp_path / "model", CASES["vit"])
    (tmp_path / "model" / "model.safetensors").unlink()
    torch.save({"layernorm.weight": Hostile(tmp_path / "ran")}, tmp_path / "model" / "pytorch_model.bin")
    with pytest.raises(InputError, match="cannot load it"):
        load_encoder(f"hf:{tmp_path / 'model'}")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("case", "options", "message"),
    [
        ("vit", "?pretrained=true", "unknown option 'pretrained'"),
        ("vit", "?img_sze=32", "'img_size'"),
        ("vit", "?img_size=30", " 30 .*patch.* 8; .*24 or 32"),
        ("vit", "?img_size=big", "img_size.*HEIGHTxWIDTH"),
        ("vit", "?mean=0.5", "mean and std"),
        ("vit", "?trust_remote_code=yes", "true or false"),
        ("sam", "?img_size=32", "32x32 .*; .*64x64"),
        ("aimv2", "?img_size=64", "64x64 .*; .*32x32"),
    ],
)
def test_options(tmp_path: Path, case: str, options: str, message: str) -> None:
    save(tmp_path, CASES[case])
    with pytest.raises(InputError, match=message) as caught:
        load_encoder(f"hf:{tmp_path}{options}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("hf:./no/such/folder", "no such folder"),
        ("hf:a/b/c", "no such folder"),
        ("hf:lab/model@", "expected hf:ORG/NAME"),
        ("hf:lab/mo del", "expected hf:ORG/NAME"),
    ],
)
def test_names(uri: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_encoder(uri)


@pytest.mark.parametrize("name", ["dinov2", "metaclip2", "vit"])
@pytest.mark.parametrize("prefix", ["_orig_mod.", "module._orig_mod.", "model."])
def test_wrappers_come_off(tmp_path: Path, name: str, prefix: str) -> None:
    """As a training loop leaves them that saves the state dict of what it has wrapped."""
    file = save(tmp_path, CASES[name]) / "model.safetensors"
    images = torch.rand(1, 3, 32, 32)
    expected = loaded(f"hf:{tmp_path}")(images)
    state = {f"{prefix}{key}": tensor.clone() for key, tensor in safetensors.torch.load_file(file).items()}
    safetensors.torch.save_file(state, file, metadata={"format": "pt"})
    found = loaded(f"hf:{tmp_path}")(images)
    assert torch.equal(found.cls, expected.cls)
    assert torch.equal(found.patches, expected.patches)


@pytest.mark.parametrize("name", ["dinov2", "metaclip2"])
def test_weights_of_unknown_names_are_refused(tmp_path: Path, name: str) -> None:
    file = save(tmp_path, CASES[name]) / "model.safetensors"
    state = {f"mine.{key}": tensor.clone() for key, tensor in safetensors.torch.load_file(file).items()}
    safetensors.torch.save_file(state, file, metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"\d+ weights of \w+ "):
        load_encoder(f"hf:{tmp_path}")


def test_folders_that_are_no_vision_model(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot load it"):
        load_encoder(f"hf:{tmp_path}")
    (tmp_path / "config.json").write_text('{"model_type": "no such type"}')
    with pytest.raises(InputError, match="cannot load it"):
        load_encoder(f"hf:{tmp_path}")
    save(tmp_path / "vit", CASES["vit"])
    transformers.BertModel(transformers.BertConfig(**VIT, vocab_size=64)).save_pretrained(tmp_path / "vit")
    with pytest.raises(InputError, match="BertModel"):
        load_encoder(f"hf:{tmp_path / 'vit'}")
    save(tmp_path / "other", CASES["vit"])
    transformers.ConvNextConfig(**STAGES).save_pretrained(tmp_path / "other")
    with pytest.raises(InputError, match="weights of ConvNextModel"):
        load_encoder(f"hf:{tmp_path / 'other'}")
    flips = ("MobileViTImageProcessor", {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}})
    with pytest.raises(InputError, match="MobileViTImageProcessor"):
        load_encoder(f"hf:{save(tmp_path / 'bgr', CASES['vit']._replace(processor=flips))}")
    (tmp_path / "bgr" / "config.json").write_text(
        '{"architecture": "resnet18", "num_classes": 2, "pretrained_cfg": {}}'
    )
    with pytest.raises(InputError, match="timm model"):
        load_encoder(f"hf:{tmp_path / 'bgr'}")


def test_students_are_not_from_here(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="student"):
        build_encoder(f"hf:{tmp_path}", drop_path=0.1)


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(InputError, match="pip install transformers"):
        load_encoder("hf:lab/model")
