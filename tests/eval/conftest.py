"""A tiny labelled set on disk, and an encoder that sees the mean colour of its quarters."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from unic.encoders.base import Encoder
from unic.tokens import Tokens, patches_of


class Colours(Encoder):
    """CLS: mean colour plus noise of a fixed strength; patches: the colours of the quarters."""

    architecture = "cnn"
    has_cls = False

    def __init__(self, noise: float = 0.0, uri: str = "py:colours") -> None:
        super().__init__((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
        self.embed_dim = self.patch_dim = 3
        self.input_size = (8, 8)
        self.noise, self.uri = noise, uri

    def encode(self, x: torch.Tensor) -> Tokens:
        generator = torch.Generator().manual_seed(0)
        noise = self.noise * torch.randn(len(x), 3, generator=generator)
        return Tokens(x.mean((2, 3)) + noise, patches_of(F.adaptive_avg_pool2d(x, 2)), (2, 2))

    def describe(self) -> str:
        return f"noise {self.noise}"


class Broken(Colours):
    def encode(self, x: torch.Tensor) -> Tokens:
        raise RuntimeError("out of\nluck")


@pytest.fixture(scope="session")
def coloured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`train/` and `val/` with three classes; a class is a colour in noise."""
    folder = tmp_path_factory.mktemp("coloured")
    rng = np.random.default_rng(0)
    for split, count in (("train", 20), ("val", 10)):
        for label, colour in {"red": (150, 90, 90), "green": (90, 150, 90), "blue": (90, 90, 150)}.items():
            (folder / split / label).mkdir(parents=True)
            for number in range(count):
                pixels = np.clip(np.array(colour) + rng.normal(0, 40, (12, 12, 3)) + rng.normal(0, 15, 3), 0, 255)
                Image.fromarray(pixels.astype(np.uint8)).save(folder / split / label / f"{number}.png")
    return folder


@pytest.fixture
def colours() -> type[Colours]:
    return Colours


@pytest.fixture
def broken() -> Broken:
    return Broken(uri="py:broken")


class Cells(Colours):
    """Sees the mean colour of each cell of 4 × 4 pixels, in images of any size."""

    def __init__(self, uri: str = "py:cells") -> None:
        super().__init__(uri=uri)
        self.mean.fill_(0.5)

    def grid_at(self, size: tuple[int, int]) -> tuple[int, int] | None:
        return None if size[0] % 4 or size[1] % 4 else (size[0] // 4, size[1] // 4)

    def encode(self, x: torch.Tensor) -> Tokens:
        maps = F.avg_pool2d(x, 4)
        return Tokens(x.mean((2, 3)), patches_of(maps), (maps.shape[2], maps.shape[3]))


@pytest.fixture
def cells() -> Cells:
    return Cells()
