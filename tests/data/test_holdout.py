"""Images that are held out are the same everywhere and are never among those that are trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from unic.data.holdout import divided
from unic.data.image_list import ImageList
from unic.data.loader import training_batches
from unic.data.mix import Mix
from unic.data.sources import open_source
from unic.errors import InputError
from unic.recipe.schema import load_recipe


def names(source: Any) -> set[str]:
    return {source.name(index) for index in range(len(source))}


def test_a_source_is_divided_alike_whatever_its_limit(image_folder: Path) -> None:
    whole, some = open_source(str(image_folder)), open_source(str(image_folder), 25)
    trained, held_out = map(names, divided(whole, 0.25))
    assert trained | held_out == names(whole)
    assert not trained & held_out
    assert 4 <= len(held_out) <= 16  # of 40, 10 to be expected
    assert names(divided(some, 0.25)[1]) == held_out & names(some)
    assert names(divided(whole, 0.1)[1]) < held_out


def test_no_batch_sees_them_nor_mixes_them_in(image_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = load_recipe(
        {"teachers": {"models": {"a": "pixels:8"}}, "student": {"model": "timm:test_vit"},
         "data": {"train": [{"path": str(image_folder), "weight": 1.5}, str(image_folder)], "holdout": 0.25}}
    ).data  # fmt: skip
    images = ImageList.from_config(recipe.train, recipe.max_pixels, recipe.holdout)
    held_out = names(images.held_out[0])
    assert held_out == names(images.held_out[1])
    source = images.sources[0]._source  # type: ignore[attr-defined]
    read, before = set(), type(source).encoded

    def noted(self: Any, index: int) -> Any:
        read.add(self.name(index))
        return before(self, index)

    monkeypatch.setattr(type(source), "encoded", noted)
    steps = 3 * images.epoch_length() // 5
    batches = training_batches(
        images, size=8, augment="unic", seed=1, batch_size=5, first_step=1, num_steps=steps, mix=Mix(0.0, 1.0, 1.0)
    )
    assert sum(len(batch) for batch in batches) == steps * 5
    assert read == names(open_source(str(image_folder))) - held_out


def test_auto_asks_for_them_in_the_recipe_itself(recipe: dict[str, Any]) -> None:
    assert load_recipe(recipe).data.holdout == 0
    chosen = load_recipe(recipe, ["train.interpolate=auto"])
    assert chosen.data.holdout == 0.05
    assert load_recipe(chosen, ["train.interpolate=0.5"]).data.holdout == 0.05
    assert load_recipe(recipe, ["train.interpolate=auto", "data.holdout=0.1"]).data.holdout == 0.1


def test_nothing_left_is_refused(image_folder: Path) -> None:
    source = open_source(str(image_folder), 3)
    with pytest.raises(InputError, match=r"data\.holdout=0\.999.* 3 images"):
        divided(source, 0.999)


def test_other_stages_hold_out_the_same(recipe: dict[str, Any]) -> None:
    recipe["stages"] = [{"data.holdout": 0.1}, {}]
    with pytest.raises(InputError, match="stages"):
        load_recipe(recipe).plans()


def test_a_stream_is_refused(image_folder: Path) -> None:
    source = open_source(str(image_folder))
    source.in_pieces = True
    with pytest.raises(InputError, match="data.holdout.*streamed"):
        divided(source, 0.1)
    assert torch.is_tensor(source.order(1))
