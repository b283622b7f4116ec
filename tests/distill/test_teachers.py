"""Cached targets are the live ones, whatever the order, the source and the view."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from unic.config import Cache, Data
from unic.data.augment import preset
from unic.data.loader import ImageList, training_batches
from unic.data.sources import open_source
from unic.distill.teachers import CachedTeachers, LiveTeachers, build_cache, cache_bytes, check_budget
from unic.encoders import load_encoder
from unic.errors import InputError

URI = "timm:test_vit?pretrained=false&img_size=32"


@pytest.mark.parametrize("augment", ["none", "unic"])
def test_cached_equal_live(image_folder: Path, tmp_path: Path, augment: str) -> None:
    encoder = load_encoder(URI, precision="fp32")
    images = ImageList([open_source(str(image_folder / kind)) for kind in ("warm", "cold")])
    data = Data(train=["x"], size=32, augment=augment, workers=0)
    setting = Cache(views=2, dtype="fp32", dir=str(tmp_path))
    grid = (2, 2)
    features, starts = build_cache(
        setting, {"t": encoder}, {"t": encoder.grid}, images, data, seed=3, report=lambda what, done, total: None
    )
    cached = CachedTeachers(features, starts, grid, torch.device("cpu"))
    live = LiveTeachers({"t": encoder}, grid)
    # 16 steps of 5 images are two epochs: both views of every image.
    for batch in training_batches(
        images, size=32, augment=augment, seed=3, batch_size=5, first_step=1, num_steps=16, views=2
    ):
        views = preset(augment)(batch.images, 3, batch.epoch, batch.index)
        a, b = cached(views, batch.index, batch.epoch)["t"], live(views, batch.index, batch.epoch)["t"]
        torch.testing.assert_close(a.cls, b.cls, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(a.patches, b.patches, atol=1e-5, rtol=1e-4)
        assert a.grid == grid


@pytest.mark.parametrize("uri", [URI, "timm:test_efficientnet?pretrained=false&img_size=64"])
def test_rounded_weights_change_no_bit_and_no_fingerprint(uri: str) -> None:
    encoder = load_encoder(uri, precision="bf16")
    images, index = torch.rand(3, 3, 48, 48), torch.arange(3)
    with torch.no_grad():
        expected, fingerprint = encoder(images), encoder.fingerprint()
    found = LiveTeachers({"t": encoder}, expected.grid)(images, index, index)["t"]
    assert torch.bfloat16 in {parameter.dtype for parameter in encoder.parameters()}
    assert torch.equal(found.cls, expected.cls)
    assert torch.equal(found.patches, expected.patches)
    assert encoder.fingerprint() == fingerprint == encoder.round_weights().fingerprint()


def test_one_resize_for_each_size(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes, interpolate = [], F.interpolate
    monkeypatch.setattr(
        F, "interpolate", lambda x, size, **options: sizes.append(size) or interpolate(x, size, **options)
    )
    uris = {"a": URI, "b": URI, "c": URI.replace("32", "64")}
    encoders = {name: load_encoder(uri, precision="fp32") for name, uri in uris.items()}
    LiveTeachers(encoders, encoders["a"].grid)(torch.rand(2, 3, 48, 48), torch.arange(2), torch.arange(2))
    assert sorted(size for size in sizes if size[0] >= 32) == [(32, 32), (64, 64)]


def test_size_is_known_before_and_checked(tmp_path: Path) -> None:
    encoder = load_encoder(URI)
    setting = Cache(views=2, tokens="pooled:1x2", budget="1kB")
    size = cache_bytes(setting, {"t": encoder}, {"t": encoder.grid}, 10)
    assert size == 10 * 2 * (2 * 2 * encoder.patch_dim + 4 * (encoder.embed_dim + encoder.patch_dim))
    with pytest.raises(InputError, match="more than its budget of 1kB"):
        check_budget(setting, size)
    check_budget(Cache(budget="1 MB"), size)
