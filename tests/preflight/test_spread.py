"""Narrow images are found by the effective rank of the teachers' features; broad ones are left alone."""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

from unic.data.image_list import ImageList
from unic.data.sources import open_source
from unic.preflight import check_recipe, spread
from unic.preflight.screen import render
from unic.recipe.schema import load_recipe


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


def test_it_is_a_geometric_mean_over_teachers() -> None:
    found = {"a": {"own": 10.0, "generated": 40.0}, "b": {"own": 20.0, "generated": 20.0}}
    assert spread.mean_times(found) == pytest.approx(0.5)


def test_the_images_that_a_run_sees_first_by_weight_without_generated_ones(image_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(image_folder, tmp_path / "more")
    drawn = open_source("generated:strokes?images=400&size=8")
    few, many = open_source(str(image_folder)), open_source(str(tmp_path / "more"))
    own = spread.first_seen(ImageList([few, drawn, many], [0.5, 1.0, 2.0]), seed=0, count=100)
    assert own is not None
    names = [own.name(index) for index in range(len(own))]
    assert sum(str(image_folder) in name for name in names) == 20
    assert sum(str(tmp_path) in name for name in names) == 40  # 80 visits
    assert spread.first_seen(ImageList([drawn]), seed=0, count=100) is None


def _narrow(folder: Path) -> str:
    """A folder with one picture in a hundred brightnesses."""
    picture = np.asarray(open_source("generated:drawings?images=1&size=32").read(0))
    folder.mkdir()
    for number in range(100):
        Image.fromarray((picture * (0.5 + number / 200)).astype(np.uint8)).save(folder / f"{number}.png")
    return str(folder)


def _broad(folder: Path) -> str:
    """A folder with a hundred pictures of coloured noise, more varied for random teachers than generated images."""
    folder.mkdir()
    draw = np.random.default_rng(0)
    for number in range(100):
        noise = 255 * draw.integers(0, 2, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / f"{number}.png")
    return str(folder)


def test_a_check_warns_of_narrow_images_alone(
    recipe: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    narrow, broad = _narrow(tmp_path / "narrow"), _broad(tmp_path / "broad")
    times = {}
    for path, is_narrow in ((narrow, True), (broad, False)):
        recipe["data"]["train"] = path
        report = check_recipe(load_recipe(recipe), torch.device("cpu"))
        assert set(report.facts["spread"]["teachers"]) == {"vit", "cnn"}
        assert report.facts["spread"]["images"] == 100
        times[path] = report.facts["spread"]["times"]
        warnings = [finding.text for finding in report.findings if finding.text.startswith("narrow images")]
        assert len(warnings) == is_narrow
    assert times[narrow] < 0.5  # measured: 0.05
    assert times[broad] > 1.2  # measured: 1.31
    recipe["data"]["train"] = [narrow, {"path": "generated:strokes?images=40&size=32"}]
    report = check_recipe(load_recipe(recipe), torch.device("cpu"))
    assert report.facts["spread"]["times"] == times[narrow]
    assert not [finding for finding in report.findings if finding.text.startswith("narrow images")]
    stream = io.StringIO()
    Console(file=stream, width=100).print(render(report))
    assert "effective rank of the teachers' features on 100 images" in stream.getvalue()
    monkeypatch.setattr(spread, "_SECONDS", 1e-6)  # teachers that are slow
    assert "spread" not in check_recipe(load_recipe(recipe), torch.device("cpu")).facts


def test_few_images_are_not_looked_at(recipe: dict[str, Any]) -> None:
    assert "spread" not in check_recipe(load_recipe(recipe), torch.device("cpu")).facts  # 40 images


@pytest.mark.teachers
@pytest.mark.skipif(not Path("samples/glyphs").is_dir(), reason="needs a checkout")
@pytest.mark.parametrize(("name", "is_narrow"), [("glyphs", True), ("clipart", False)])
def test_letters_are_narrow_and_clip_art_is_not(recipe: dict[str, Any], name: str, is_narrow: bool) -> None:
    recipe["teachers"]["models"] = {"lite0": "packaged:efficientnet_lite0?size=96"}
    recipe["data"] |= {"train": [{"path": f"samples/{name}/train.parquet", "limit": 64}], "size": 96}
    report = check_recipe(load_recipe(recipe), torch.device("cpu"))
    assert any(finding.text.startswith("narrow images") for finding in report.findings) == is_narrow
