"""Narrow images are found by the effective rank of the teachers' features; broad ones are left alone."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

from unic.config import load_recipe
from unic.data.loader import ImageList
from unic.data.sources import open_source
from unic.preflight import check_recipe, spread
from unic.preflight.screen import render


def test_the_rank_of_known_features() -> None:
    draw = np.random.default_rng(0)
    axes = np.linalg.qr(draw.normal(size=(8, 8)))[0]
    eight = np.concatenate([axes, -axes])  # alike in eight directions
    assert spread.effective_rank(eight) == pytest.approx(8)
    assert spread.effective_rank(eight @ np.diag([1, 1, 0, 0, 0, 0, 0, 0.0]) @ axes) < 8
    line = draw.normal(size=(20, 1)) @ draw.normal(size=(1, 5)) + 3
    assert spread.effective_rank(line) == pytest.approx(1)
    two = np.array([[3.0, 0], [-3, 0], [0, 1], [0, -1]])  # shares of the variance 0.9 and 0.1: exp(0.3251)
    assert spread.effective_rank(two) == pytest.approx(1.3841, abs=1e-4)
    assert spread.effective_rank(np.ones((4, 3))) == 0


def test_the_share_is_the_geometric_mean_over_teachers() -> None:
    found = {"a": {"own": 10.0, "generated": 40.0}, "b": {"own": 20.0, "generated": 20.0}}
    assert spread.mean_share(found) == pytest.approx(0.5)


def test_what_is_compared() -> None:
    """The images that a run sees first, by the weights of their sources, with as many of all families."""
    few, many = (open_source(f"generated:strokes?images={count}&size=8") for count in (40, 400))
    own = spread.first_seen(ImageList([few, many], [4.0, 0.25]), seed=0, count=130)
    assert len(own) <= 130
    from_few = sum("images=40&" in own.name(index) for index in range(len(own)))
    assert from_few / len(own) > 0.3  # of 260 images of an epoch 160 are visits of the 40
    other = spread.reference(101, 32)
    assert len(other) == 101
    assert {other.name(index).partition("?")[0].rpartition(":")[2] for index in range(101)} == set(spread._FAMILIES)
    assert other.read(0).size == (32, 32)


@pytest.mark.parametrize("narrow", [True, False])
def test_a_check_warns_of_narrow_images_alone(recipe: dict[str, Any], tmp_path: Path, narrow: bool) -> None:
    """Narrow: one picture in a hundred brightnesses."""
    picture = np.asarray(open_source("generated:drawings?images=1&size=32").read(0))
    if narrow:
        for number in range(100):
            Image.fromarray((picture * (0.5 + number / 200)).astype(np.uint8)).save(tmp_path / f"{number}.png")
        recipe["data"]["train"] = str(tmp_path)
    else:
        recipe["data"]["train"] = [f"generated:{name}?images=100&size=32" for name in spread._FAMILIES]
    report = check_recipe(load_recipe(recipe), torch.device("cpu"))
    warnings = [finding.text for finding in report.findings if finding.about == "data.train"]
    ranks = report.facts["spread"]
    assert set(ranks["teachers"]) == {"vit", "cnn"}
    assert ranks["images"] == (100 if narrow else 256)
    if narrow:
        assert ranks["share"] < 0.5
        assert [text.partition(":")[0] for text in warnings] == ["narrow"]
        assert "docs/generalise.md" in warnings[0]
    else:
        assert 0.8 < ranks["share"] < 1.25
        assert warnings == []
    stream = io.StringIO()
    Console(file=stream, width=100).print(render(report))
    assert "effective rank of the teachers' features on" in stream.getvalue()


def test_few_images_and_slow_teachers_are_not_looked_at(
    recipe: dict[str, Any], image_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "spread" not in check_recipe(load_recipe(recipe), torch.device("cpu")).facts  # 40 images
    recipe["data"]["train"] = "generated:strokes?images=100&size=32"
    monkeypatch.setattr(spread, "_SECONDS", 1e-6)
    assert "spread" not in check_recipe(load_recipe(recipe), torch.device("cpu")).facts
