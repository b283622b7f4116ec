from __future__ import annotations

import pytest
import torch

from unic.encoders import load_encoder
from unic.errors import InputError


def test_pixels_are_the_resized_image() -> None:
    encoder = load_encoder("pixels:8")
    images = torch.rand(2, 3, 8, 8)
    tokens = encoder(images)
    torch.testing.assert_close(tokens.cls, images.flatten(1))
    torch.testing.assert_close(tokens.patches[:, 9], images[:, :, 1, 1])
    assert encoder(torch.rand(2, 3, 20, 10)).cls.shape == (2, encoder.embed_dim)


@pytest.mark.parametrize("name", ["0", "big", "-3"])
def test_size_is_checked(name: str) -> None:
    with pytest.raises(InputError, match="pixels:32"):
        load_encoder(f"pixels:{name}")
