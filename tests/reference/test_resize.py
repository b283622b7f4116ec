"""Anti-aliased resizing against Pillow's float filters, which are written independently of torch's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from unic.data.augment import resized
from unic.encoders.base import resize
from unic.tokens import resize_patches

BILINEAR, BICUBIC = Image.Resampling.BILINEAR, Image.Resampling.BICUBIC


def pillow(channel: np.ndarray, size: tuple[int, int], how: Image.Resampling) -> np.ndarray:
    return np.asarray(Image.fromarray(channel.astype(np.float32)).resize((size[1], size[0]), how))


@pytest.mark.parametrize(
    ("old", "new"), [((16, 16), (14, 14)), ((8, 12), (3, 3)), ((3, 5), (7, 5)), ((37, 37), (4, 9))]
)
def test_tokens(old: tuple[int, int], new: tuple[int, int]) -> None:
    patches = np.random.default_rng(0).normal(size=(2, old[0] * old[1], 3)).astype(np.float32)
    found = resize_patches(torch.from_numpy(patches), old, new).numpy()
    for image in range(2):
        for channel in range(3):
            expected = pillow(patches[image, :, channel].reshape(old), new, BILINEAR)
            np.testing.assert_allclose(found[image, :, channel].reshape(new), expected, atol=1e-5)


@pytest.mark.parametrize(("old", "new"), [((64, 64), (24, 24)), ((50, 33), (16, 40)), ((20, 20), (56, 56))])
def test_views_at_an_encoder_s_size(old: tuple[int, int], new: tuple[int, int]) -> None:
    images = np.random.default_rng(0).random((2, 3, *old)).astype(np.float32)
    found = resize(torch.from_numpy(images), new).numpy()
    for image in range(2):
        for channel in range(3):
            expected = pillow(images[image, channel], new, BICUBIC).clip(0, 1)
            np.testing.assert_allclose(found[image, channel], expected, atol=1e-5)


def test_crops_of_eight_bits_are_at_most_a_step_away() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (48, 60, 3), dtype=np.uint8)
    left, top, right, bottom = box = (7, 5, 52, 41)
    found = resized(Image.fromarray(pixels), box, (16, 20)).numpy()
    for channel in range(3):
        expected = pillow(pixels[top:bottom, left:right, channel], (16, 20), BICUBIC).clip(0, 255)
        np.testing.assert_allclose(found[channel], expected, atol=1)
