from __future__ import annotations

import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import timm
import torch

from unic.encoders import build_encoder, load_encoder
from unic.encoders._drop_path import set_drop_path_keys
from unic.encoders.timm_encoder import TimmEncoder
from unic.errors import InputError

# name and options, CLS width, patch width, grid, CLS token?, number of rungs
MODELS = [
    ("vit_tiny_patch16_224?img_size=32", 192, 192, (2, 2), True, 12),
    ("vit_tiny_patch16_224?img_size=32x64&global_pool=avg", 192, 192, (2, 4), False, 12),
    ("vit_small_patch14_reg4_dinov2?img_size=28x42", 384, 384, (2, 3), True, 12),
    ("deit_tiny_distilled_patch16_224?img_size=32", 192, 192, (2, 2), True, 12),
    ("vit_wee_patch16_reg1_gap_256?img_size=32", 256, 256, (2, 2), False, 14),
    ("vit_base_patch16_siglip_224?img_size=32", 768, 768, (2, 2), False, 12),
    ("convnext_atto?img_size=64", 320, 320, (2, 2), False, 4),
    ("mobilenetv4_conv_small?img_size=64", 1280, 960, (2, 2), False, 5),
    ("tf_efficientnet_lite0?size=64", 1280, 1280, (2, 2), False, 5),
    ("resnet18?size=32x64", 512, 512, (1, 2), False, 5),
    ("swin_tiny_patch4_window7_224?img_size=64", 768, 768, (2, 2), False, 4),
]


def scratch(name: str, **options: float) -> TimmEncoder:
    torch.manual_seed(0)
    separator = "&" if "?" in name else "?"
    encoder = build_encoder(f"timm:{name}{separator}pretrained=false", **options)
    assert isinstance(encoder, TimmEncoder)
    return encoder


@pytest.mark.parametrize(("name", "embed_dim", "patch_dim", "grid", "has_cls", "num_rungs"), MODELS)
def test_families(
    name: str, embed_dim: int, patch_dim: int, grid: tuple[int, int], has_cls: bool, num_rungs: int
) -> None:
    encoder = scratch(name, drop_path=0.1)
    assert (encoder.embed_dim, encoder.patch_dim, encoder.has_cls) == (embed_dim, patch_dim, has_cls)
    assert len(encoder.block_dims) == num_rungs
    images = torch.rand(2, 3, 40, 50)

    # One training step through the last rung alone reaches every parameter that is exported and not frozen.
    set_drop_path_keys(encoder, seed=0, step=1, index=torch.arange(2))
    (last,) = encoder.intermediates(images, [num_rungs - 1])
    (last.cls.square().mean() + last.patches.square().mean()).backward()
    assert [name for name, value in encoder.named_parameters() if value.requires_grad and value.grad is None] == []

    encoder.eval()
    with torch.no_grad():
        tokens = encoder(images)
        rungs = encoder.intermediates(images, range(num_rungs))
        torch.testing.assert_close(tokens.cls, encoder.model(encoder.prepare(images)), rtol=0, atol=1e-6)
    assert tokens.cls.shape == (2, embed_dim)
    assert tokens.patches.shape == (2, grid[0] * grid[1], patch_dim)
    assert tokens.grid == grid
    assert [(rung.cls.shape[-1], rung.patches.shape[-1]) for rung in rungs] == list(encoder.block_dims)
    assert all(rung.grid == grid for rung in rungs)
    last = rungs[-1]
    if encoder.norm_last:
        torch.testing.assert_close(last.cls, tokens.cls)
        torch.testing.assert_close(last.patches, tokens.patches)
    else:  # the export applies the frozen norm, weight 1 and bias 0, to what was trained
        norm = encoder.model.fc_norm if encoder.model.global_pool == "avg" else encoder.model.norm
        torch.testing.assert_close(norm(last.cls), tokens.cls)
        assert not any(parameter.requires_grad for parameter in norm.parameters())


@pytest.mark.parametrize(
    ("name", "timm_options", "grid"),
    [
        ("vit_tiny_patch16_224?img_size=64", {"dynamic_img_size": True}, (3, 2)),
        ("deit_tiny_distilled_patch16_224?img_size=64", {"dynamic_img_size": True}, (3, 2)),
        ("eva02_tiny_patch14_224?img_size=56", None, None),
        ("swin_tiny_patch4_window7_224?img_size=64", None, None),
        ("test_vit?img_size=64", {}, (3, 2)),
        ("test_efficientnet?img_size=64", {}, (2, 1)),
    ],
)
def test_other_sizes_are_what_timm_makes_of_them(
    name: str, timm_options: dict[str, Any] | None, grid: tuple[int, int] | None
) -> None:
    """The same weights in a model that timm was told to make for any size; its own size stays bit for bit as it was."""
    encoder, other, images = scratch(name).eval(), (48, 32), torch.rand(2, 3, 50, 50)
    before = encoder(images)
    assert encoder.grid_at(other) == grid
    after = encoder(images)
    assert torch.equal(before.cls, after.cls)
    assert torch.equal(before.patches, after.patches)
    assert not encoder.training
    if grid is None or timm_options is None:
        return
    reference = timm.create_model(encoder.name, num_classes=0, **encoder.model_args, **timm_options).eval()
    reference.load_state_dict(encoder.model.state_dict())
    tokens = encoder(images, other)
    assert tokens.grid == grid
    assert torch.equal(tokens.cls, reference(encoder.prepare(images, other)))
    assert all(rung.grid == grid for rung in encoder.intermediates(images, [0, len(encoder.block_dims) - 1], other))


def test_chosen_blocks_equal_all_blocks() -> None:
    for name in ("vit_tiny_patch16_224?img_size=32", "resnet18?size=32"):
        encoder = scratch(name).eval()
        images = torch.rand(1, 3, 32, 32)
        everything = encoder.intermediates(images, range(len(encoder.block_dims)))
        for index, rung in zip([1, 3], encoder.intermediates(images, [1, 3]), strict=True):
            torch.testing.assert_close(rung.cls, everything[index].cls)
            torch.testing.assert_close(rung.patches, everything[index].patches)


def test_rungs_of_a_vit_are_the_outputs_of_its_blocks() -> None:
    encoder = scratch("vit_tiny_patch16_224?img_size=32").eval()
    seen: list[torch.Tensor] = []
    for block in encoder.model.blocks:
        block.register_forward_hook(lambda *arguments: seen.append(arguments[-1]))
    rungs = encoder.intermediates(torch.rand(1, 3, 32, 32), range(12))
    assert len(seen) == 12  # one forward pass
    for output, rung in zip(seen, rungs, strict=True):
        torch.testing.assert_close(rung.cls, output[:, 0])
        torch.testing.assert_close(rung.patches, output[:, 1:])


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_checkpoint_makes_a_pretrained_start(tmp_path: Path, suffix: str) -> None:
    source = scratch("vit_tiny_patch16_224?img_size=32").eval()
    path = tmp_path / f"weights{suffix}"
    if suffix == ".safetensors":
        safetensors.torch.save_file(source.model.state_dict(), path)
    else:  # as DINO and iBOT write it, with a projection head beside the backbone
        wrapped = {f"module.backbone.{key}": value for key, value in source.model.state_dict().items()}
        torch.save({"teacher": {**wrapped, "module.head.mlp.0.weight": torch.zeros(2)}, "epoch": 3}, path)
    own = "mean=imagenet&std=imagenet"
    encoder = build_encoder(f"timm:vit_tiny_patch16_224?img_size=32&{own}&checkpoint={path}").eval()
    assert isinstance(encoder, TimmEncoder)
    assert encoder.norm_last
    assert all(parameter.requires_grad for parameter in encoder.model.norm.parameters())
    images = torch.rand(1, 3, 32, 32)
    torch.testing.assert_close(encoder(images).cls, source(images).cls)
    # Another size: timm's own conversion resizes the position embeddings.
    assert load_encoder(f"timm:vit_tiny_patch16_224?img_size=64&{own}&checkpoint={path}").input_size == (64, 64)


def test_a_model_that_was_built_on_another_device_is_probed_there() -> None:
    with torch.device("meta"):
        model = timm.create_model("test_vit", num_classes=0, img_size=32)
    encoder = TimmEncoder(model, "test_vit", {}, (32, 32))
    assert (encoder.embed_dim, encoder.grid, len(encoder.block_dims)) == (64, (2, 2), 6)


def test_normalisation_and_fingerprint() -> None:
    encoder = scratch("resnet18?size=32&mean=0.5&std=0.25,0.5,0.5").freeze()
    prepared = encoder.prepare(torch.full((1, 3, 32, 32), 0.75))
    torch.testing.assert_close(prepared[0, :, 0, 0], torch.tensor([1.0, 0.5, 0.5]))
    same, other = scratch("resnet18?size=32&mean=0.5&std=0.25,0.5,0.5"), scratch("resnet18?size=32")
    assert encoder.fingerprint() == same.fingerprint() != other.fingerprint()


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("timm:vit_tny_patch16_224", "'vit_tiny_patch16_224'"),
        ("timm:resnet18.a1_in1", "'a1_in1k'"),
        ("timm:resnet18?pretraind=false", "'pretrained'"),
        ("timm:vit_tiny_patch16_224?img_size=40&pretrained=false", "use 32 or 48"),
        ("timm:resnet18?pretrained=false&global_pool=token", "cannot create it"),
        ("timm:resnet18?pretrained=false&mean=1,2", "one number or three"),
        ("timm:resnet18?pretrained=false&std=0", "'std'.* 0"),
        ("timm:resnet18?checkpoint=/no/such/file.pth", "no such file"),
    ],
)
def test_errors(uri: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        build_encoder(uri)


def test_drop_path_that_an_architecture_lacks() -> None:
    with pytest.raises(InputError, match="student.drop_path=0"):
        scratch("squeezenet1_0" if "squeezenet1_0" in __import__("timm").list_models() else "vgg11", drop_path=0.1)


def test_weights_that_are_not_here_fail_at_once_when_offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """timm and the hub's library would repeat themselves for half a minute."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(timm, "create_model", lambda *_, **__: pytest.fail("it was tried"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match="cache.*HF_HUB_OFFLINE"):
        load_encoder("timm:test_vit.r160_in1k")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)

    def unreachable(*_: object, **__: object) -> None:
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(urllib.request, "urlopen", unreachable)
    with pytest.raises(InputError, match="cache.*https://huggingface.co "):
        load_encoder("timm:test_vit.r160_in1k")


@pytest.mark.parametrize(
    ("uri", "line"),
    [
        ("timm:local-dir:runs/mine/export", "run:runs/mine/export"),
        ("local-dir:runs/mine/export", "run:runs/mine/export"),
        ("timm:hf-hub:timm/test_vit.r160_in1k", "timm:test_vit.r160_in1k"),
        ("hf-hub:me/mine", "checkpoint=FILE.*weights"),
    ],
)
def test_names_that_timm_takes_and_a_uri_does_not(uri: str, line: str) -> None:
    with pytest.raises(InputError, match=line):
        load_encoder(uri)
