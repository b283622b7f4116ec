"""Augmented images have the distribution of torchvision's chain (METHOD.md §6): Kolmogorov–Smirnov on their statistics.

Seeds are fixed on both sides, so the tests are deterministic. That they can fail is tested, too.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import ks_2samp
from torchvision.transforms import v2

from unic.data.augment import Augmentation, preset

NUM, SIZE = 1200, 32
ALIKE, ENOUGH = 1e-3, 1e-4  # smallest p-value of all statistics: above, and below which chains count as different


@pytest.fixture(scope="module")
def image() -> Image.Image:
    """Coloured blobs, darker to the left."""
    small = np.random.default_rng(0).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    small = (small * np.linspace(0.3, 1, 12)[None, :, None] * [1, 0.8, 0.6]).astype(np.uint8)
    return Image.fromarray(small).resize((96, 72), Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def reference(image: Image.Image) -> dict[str, np.ndarray]:
    chain = v2.Compose([
        v2.RandomResizedCrop(SIZE, scale=(0.08, 1), interpolation=v2.InterpolationMode.BICUBIC),
        v2.RandomHorizontalFlip(),
        v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.2, 0.1)], 0.8),
        v2.RandomGrayscale(0.2),
        v2.ToImage(),
        v2.ToDtype(torch.float32, scale=True),
        v2.RandomApply([v2.GaussianBlur(9, (0.1, 5.0))], 0.2),
        v2.RandomSolarize(0.5, 0.2),
    ])  # fmt: skip
    torch.manual_seed(0)
    return statistics(torch.stack([chain(image) for _ in range(NUM)]))


def statistics(views: torch.Tensor) -> dict[str, np.ndarray]:
    """One number an image: what each operation changes shows in at least one of them."""
    x = views.double()
    found = {"mean": x.mean((1, 2, 3)), "std": x.std((1, 2, 3)), "lean": (x[..., SIZE // 2 :].mean((1, 2, 3)))}
    found["lean"] -= x[..., : SIZE // 2].mean((1, 2, 3))
    found |= {f"channel {channel}": x[:, channel].mean((1, 2)) for channel in range(3)}
    found["colour"] = (x.amax(1) - x.amin(1)).mean((1, 2))
    found["red over blue"] = (x[:, 0] - x[:, 2]).mean((1, 2))
    # Solarised images end below the middle; how far below is a matter of Pillow's rounding to 8 bits.
    found["brightest"] = (x.amax((1, 2, 3)) * 50).round()
    found["edges"] = x.diff(dim=3).abs().mean((1, 2, 3)) / x.std((1, 2, 3)).clamp_min(1e-6)
    return {name: values.numpy() for name, values in found.items()}


def smallest_p(view: Augmentation, image: Image.Image, reference: dict[str, np.ndarray]) -> tuple[float, str]:
    crops = torch.stack([view.crop(image, 0, 0, index, SIZE) for index in range(NUM)])
    ours = statistics(view(crops, 0, torch.zeros(NUM).long(), torch.arange(NUM)))
    return min((float(ks_2samp(ours[name], reference[name]).pvalue), name) for name in reference)


def test_views_have_torchvisions_distribution(image, reference):
    p, name = smallest_p(preset("unic"), image, reference)
    assert p > ALIKE, name


@pytest.mark.parametrize(
    "wrong",
    [
        {"scale": (0.2, 1.0)}, {"flip": 0.0}, {"jitter": 0.4}, {"grayscale": 0.05}, {"blur": 0.0},
        {"solarize": 0.05}, {"strength": (0.4, 0.4, 0.2, 0.4)},
        {"strength": (0.1, 0.4, 0.2, 0.1)}, {"strength": (0.4, 0.4, 1.0, 0.1)},
    ],
    ids=str,
)  # fmt: skip
def test_another_distribution_is_found(wrong, image, reference):
    p, _ = smallest_p(replace(preset("unic"), **wrong), image, reference)
    assert p < ENOUGH


@pytest.fixture(scope="module")
def reference_boxes() -> np.ndarray:
    """Left, top, width, height of crops from a wide image, where some draws do not fit and are repeated."""
    torch.manual_seed(0)
    sampler = v2.RandomResizedCrop(SIZE, scale=(0.08, 1))
    drawn = [sampler.make_params([torch.empty(3, 150, 200)]) for _ in range(2000)]
    return np.array([[one["left"], one["top"], one["width"], one["height"]] for one in drawn])


def smallest_p_of_boxes(view: Augmentation, reference: np.ndarray) -> float:
    boxes = np.array([view.box(200, 150, 0, 0, index) for index in range(len(reference))])
    ours = np.column_stack([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]])

    def measures(x: np.ndarray) -> list[np.ndarray]:
        left, top, width, height = x.T
        return [width * height, width / height, left, top]

    return min(float(ks_2samp(a, b).pvalue) for a, b in zip(measures(ours), measures(reference), strict=True))


def test_crops_have_torchvisions_distribution(reference_boxes):
    assert smallest_p_of_boxes(preset("unic"), reference_boxes) > ALIKE


@pytest.mark.parametrize("wrong", [{"scale": (0.08, 0.7)}, {"scale": (0.12, 1.0)}, {"ratio": (0.6, 5 / 3)}], ids=str)
def test_other_crops_are_found(wrong, reference_boxes):
    assert smallest_p_of_boxes(replace(preset("unic"), **wrong), reference_boxes) < ENOUGH
