"""Mixed views: what they are made of, that they are the same everywhere, and how much of each image is in them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats

from unic.data.image_list import ImageList
from unic.data.loader import training_batches, view_batches
from unic.data.mix import Mix
from unic.data.sources import DamagedImageError, Source
from unic.errors import InputError
from unic.recipe.schema import load_recipe
from unic.recipe.sections import MixSection

OPTIONS: dict[str, Any] = {"size": 8, "augment": "none", "seed": 3, "batch_size": 8, "first_step": 1, "num_steps": 2}


class Greys(Source):
    """Image i is all of grey `first + i`."""

    path = "greys"

    def __init__(self, length: int, first: int = 0, damaged: tuple[int, ...] = ()) -> None:
        self.length, self.first, self.damaged = length, first, damaged

    def __len__(self) -> int:
        return self.length

    def read(self, index: int) -> Image.Image:
        if index in self.damaged:
            raise DamagedImageError("damaged")
        return Image.new("RGB", (8, 8), (self.first + index,) * 3)

    def label(self, index: int) -> None:
        return None

    def name(self, index: int) -> str:
        return str(index)

    def fingerprint(self) -> str:
        return f"{self.length} {self.first}"


def views(source: Source, mix: Mix | None, workers: int = 0, **options: Any) -> torch.Tensor:
    return torch.cat([batch.images for batch in view_batches(source, size=8, workers=workers, mix=mix, **options)])


def test_mixup_is_between_the_image_and_one_of_its_source() -> None:
    source = ImageList([Greys(8), Greys(8, first=200)])
    mixed = views(source, Mix(mixup=1.0), seed=3)
    values = mixed.flatten(1)
    assert (values == values[:, :1]).all()  # of flat images a blend is flat
    assert (values[:8] <= 7).all()  # images of the first source are mixed with each other alone
    assert (values[8:] >= 200).all()
    assert (values[8:, 0] != torch.arange(200, 208)).sum() >= 4


def test_cutmix_is_a_box_of_the_other_image() -> None:
    mixed = views(Greys(64), Mix(cutmix=1.0), seed=3)
    shares = []
    for index, image in enumerate(mixed[:, 0]):
        other = (image != index).nonzero()
        shares.append(len(other) / 64)
        if len(other):
            (top, left), (bottom, right) = other.min(0).values.tolist(), other.max(0).values.tolist()
            assert len(other) == (bottom - top + 1) * (right - left + 1)  # all of the box
            assert len(image[image != index].unique()) == 1
    assert 0.3 < np.mean(shares) < 0.65  # of Beta(1, 1) the mean is a half


def test_shares_follow_the_beta_distribution() -> None:
    black, white = torch.zeros(3, 4, 4, dtype=torch.uint8), torch.full((3, 4, 4), 255, dtype=torch.uint8)
    shares = [float(Mix(mixup=2.0)(black, white, 0, 0, index)[0, 0, 0]) / 255 for index in range(2000)]
    assert stats.kstest(shares, stats.beta(2, 2).cdf).pvalue > 1e-3
    assert stats.kstest(shares, stats.beta(1.0, 1.0).cdf).pvalue < 1e-6


def test_so_many_are_mixed_as_asked() -> None:
    mix = Mix(mixup=1.0, probability=0.25)
    partners = [mix.partner(0, 0, index, 1000) for index in range(4000)]
    assert np.mean([partner is not None for partner in partners]) == pytest.approx(0.25, abs=0.03)
    chosen = [partner for partner in partners if partner is not None]
    assert stats.kstest(np.array(chosen) / 1000, stats.uniform.cdf).pvalue > 1e-3


def test_a_mixed_view_depends_on_its_keys_alone() -> None:
    source, mix = Greys(32), Mix(mixup=0.8, cutmix=1.0)
    whole = views(source, mix, seed=3)
    assert torch.equal(views(source, mix, workers=1, seed=3), whole)
    assert torch.equal(views(source, mix, seed=3, first=5, last=9), whole[5:9])
    assert not torch.equal(views(source, mix, seed=4), whole)
    assert not torch.equal(views(source, mix, seed=3, key=1), whole)
    images = ImageList([source])
    for batch in training_batches(images, mix=mix, num_views=1, **OPTIONS):
        assert torch.equal(batch.images, whole[batch.index])  # what the loop sees is what a cache has stored


def test_a_damaged_partner_leaves_the_view_as_it_is() -> None:
    mixed = views(Greys(3, damaged=(0, 1)), Mix(mixup=1.0), seed=3)
    assert len(mixed) == 1
    assert (mixed[0] == 2).all()


def test_what_mixes_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="mixup or cutmix"):
        MixSection()
    tree = {
        "teachers": {"models": {"a": "timm:test_vit"}}, "student": {"model": "timm:test_vit"},
        "data": {"train": "x", "mix": {"mixup": -1}},
    }  # fmt: skip
    with pytest.raises(InputError, match=r"data\.mix\.mixup"):
        load_recipe(tree)
    assert Mix.of(None) is None
    assert Mix.of(MixSection(cutmix=1.0, probability=0.5)) == Mix(0.0, 1.0, 0.5)
