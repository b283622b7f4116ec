"""The augmentation equals torchvision's, image by image, and depends on (seed, epoch, index) only."""

import math

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import functional as reference

from unic.data import _operations, augment
from unic.data.augment import preset
from unic.errors import InputError


@pytest.fixture
def images() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(6, 3, 17, 23, generator=generator)
    images[0] = images[0, :1]  # grey pixels: no hue
    images[1, :, :8] = 0
    images[2, :, 8:] = 1
    return images


def factors(values: list[float]) -> torch.Tensor:
    return torch.tensor(values).view(-1, 1, 1, 1)


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation", "hue"])
def test_colour_operations(images, name):
    values = [-0.5, -0.1, 0.0, 0.03, 0.1, 0.5] if name == "hue" else [0.0, 0.6, 1.0, 1.2, 1.4, 2.0]
    ours = getattr(_operations, name)(images, factors(values))
    theirs = [getattr(reference, f"adjust_{name}")(image, value) for image, value in zip(images, values, strict=True)]
    torch.testing.assert_close(ours, torch.stack(theirs), atol=2e-6, rtol=0)


def test_blur(images):
    sigma = torch.tensor([0.1, 0.5, 1.0, 2.0, 3.3, 5.0])
    theirs = [reference.gaussian_blur(image, [9, 9], [float(s)] * 2) for image, s in zip(images, sigma, strict=True)]
    torch.testing.assert_close(_operations.blur(images, sigma), torch.stack(theirs), atol=2e-6, rtol=0)


def test_solarize_and_grayscale(images):
    torch.testing.assert_close(_operations.solarize(images), reference.solarize(images, 0.5))
    torch.testing.assert_close(_operations.grey(images), reference.rgb_to_grayscale(images), atol=1e-6, rtol=0)


def test_crop_is_torchvisions(images):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8))
    view = preset("unic")
    for index in range(20):
        left, top, right, bottom = view.box(90, 60, 1, 2, index)
        theirs = reference.resized_crop(
            reference.pil_to_tensor(image), top, left, bottom - top, right - left, [32, 32], interpolation=3
        )
        ours = view.crop(image, 1, 2, index, 32)
        assert ours.dtype == torch.uint8
        assert torch.equal(ours, theirs)
        pillows = image.crop((left, top, right, bottom)).resize((32, 32), Image.Resampling.BICUBIC)
        assert (ours.int() - reference.pil_to_tensor(pillows)).abs().float().mean() < 0.5  # of 255, on pure noise


def test_centre_view():
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 64, 3), dtype=np.uint8))
    square = reference.center_crop(image, [40, 40])
    theirs = reference.pil_to_tensor(reference.resize(square, [20, 30], interpolation=3))
    torch.testing.assert_close(preset("none").crop(image, 0, 0, 0, (20, 30)), theirs)


def test_view_depends_on_its_keys_only():
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (40, 3, 24, 24), generator=generator, dtype=torch.uint8)
    epoch, index = torch.arange(40) % 3, torch.arange(40) + 1000
    view = preset("unic")
    together = view(images, 7, epoch, index)
    mixed = torch.randperm(40, generator=generator)
    shuffled = view(images[mixed], 7, epoch[mixed], index[mixed])
    torch.testing.assert_close(shuffled, together[mixed], atol=1e-6, rtol=0)
    alone = torch.cat([view(images[i : i + 1], 7, epoch[i : i + 1], index[i : i + 1]) for i in range(40)])
    torch.testing.assert_close(alone, together, atol=1e-6, rtol=0)
    assert together.min() >= 0
    assert together.max() <= 1
    for other in (view(images, 8, epoch, index), view(images, 7, epoch + 1, index), view(images, 7, epoch, index + 1)):
        assert (other - together).abs().mean() > 0.05


def test_none_changes_nothing():
    images = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)
    assert torch.equal(preset("none")(images, 0, torch.zeros(2).long(), torch.arange(2)), images.float() / 255)


def test_jitter_order_is_per_image_and_uniform(monkeypatch):
    """Each image runs through all four operations once, every order about equally often."""
    calls = []
    for name in ("brightness", "contrast", "saturation", "hue"):
        monkeypatch.setattr(augment, name, lambda x, factor, name=name: (calls.append((name, x[:, 0, 0, 0])), x)[1])
    num = 4800
    images = torch.arange(num, dtype=torch.float32).view(-1, 1, 1, 1).expand(-1, 3, 1, 1)
    u = augment.rng.uniform(0, torch.arange(num)[:, None], torch.arange(augment._NUM_DRAWS))
    preset("unic")._jitter(images.clone(), u, torch.arange(num))
    orders: list[str] = [""] * num
    for name, touched in calls:
        for image in touched.int().tolist():
            orders[image] += name[0]
    counts = {order: orders.count(order) for order in set(orders)}
    assert len(counts) == 24
    assert all(120 < count < 280 for count in counts.values())  # 200 ± 5.8 standard deviations


def test_parameters_have_the_papers_distribution():
    num = 4000
    view = preset("unic")
    boxes = torch.tensor([view.box(200, 150, 0, 0, index) for index in range(num)]).float()
    width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    share, ratio = width * height / (200 * 150), (width / height).log()
    assert share.min() > 0.07
    assert share.max() <= 1
    assert ratio.abs().max() < math.log(4 / 3) + 0.05
    # Rejections favour small boxes; the reference distribution is torchvision's own.
    from torchvision.transforms.v2 import RandomResizedCrop

    torch.manual_seed(0)
    sampler = RandomResizedCrop(32)
    sizes = [sampler.make_params([torch.empty(3, 150, 200)]) for _ in range(num)]
    theirs = torch.tensor([size["height"] * size["width"] for size in sizes]) / (200 * 150)
    assert abs(share.mean() - theirs.mean()) < 0.02
    left = torch.tensor([size["left"] for size in sizes]).float()
    assert abs(boxes[:, 0].mean() - left.mean()) < 3


def test_probabilities():
    """On a picture where each operation leaves its own trace, they happen as often as they should."""
    num = 2000
    zeros, index = torch.zeros(num).long(), torch.arange(num)
    ramp = (torch.arange(12) * 20).to(torch.uint8).expand(num, 3, 12, 12).clone()
    for field, share in (("flip", 0.5), ("grayscale", 0.2), ("blur", 0.2), ("solarize", 0.2), ("jitter", 0.8)):
        strength = (0.4, 0.0, 0.0, 0.0)
        view = augment.Augmentation(**{field: getattr(preset("unic"), field)}, strength=strength)
        images = ramp.clone()
        images[:, 0] = 0  # coloured, so that grey shows
        changed = (view(images, 3, zeros, index) - images.float() / 255).abs().amax(dim=(1, 2, 3)) > 1e-4
        assert abs(changed.float().mean() - share) < 0.04, field


def test_unknown_preset():
    with pytest.raises(InputError, match="'lihgt'.*'light'"):
        preset("lihgt")
