"""Files have the rights that the umask gives: a group may read what its members share, and others may not."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import unic
from unic import api, checkpoint
from unic.encoders import build_encoder
from unic.eval.formats import write_results
from unic.eval.schema import Results
from unic.export.model_card import write_card
from unic.export.timm import export_timm
from unic.outputs import give_rights
from unic.report.render import write_page

RESULTS = {
    "models": {"a": {"role": "other"}}, "tasks": {"x/knn": {"a": {"score": 50.0}}}, "best_teacher": {},
    "gain_over_best_teacher": {}, "mean_gain": None,
}  # fmt: skip


def write_all(folder: Path, images: Path) -> None:
    """What the commands write, one after the other."""
    for suffix in ("json", "csv", "md", "tex", "safetensors"):
        write_results(Results.load(RESULTS), folder / f"results.{suffix}")
    write_page("<p>", folder / "deep" / "report.html")
    write_card(folder, "# card")
    checkpoint.save(folder, checkpoint.Checkpoint(1, {"a": torch.zeros(2)}, {}), keep=1)
    export_timm(build_encoder("timm:test_vit?pretrained=false&img_size=32"), folder / "export")  # type: ignore[arg-type]
    api.encode("pixels:8", str(images), folder / "features.safetensors")


@pytest.fixture
def mask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.mark.parametrize("mask", [0o002, 0o027], indirect=True)
def test_every_file_has_the_rights_that_the_umask_gives(mask: int, tmp_path: Path, image_folder: Path) -> None:
    write_all(tmp_path, image_folder)
    found = {path.relative_to(tmp_path): path.stat().st_mode & 0o777 for path in tmp_path.rglob("*") if path.is_file()}
    assert len(found) >= 13
    assert {str(path) for path, mode in found.items() if mode != 0o666 & ~mask} == set()
    assert not [path.name for path in tmp_path.rglob("*.partial")]


@pytest.mark.parametrize("mask", [0o027], indirect=True)
def test_a_private_file_gets_them_too(mask: int, tmp_path: Path) -> None:
    (tmp_path / "file").touch(0o600)
    give_rights(tmp_path / "file")
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_whoever_writes_safetensors_gives_them() -> None:
    """Its `save_file` makes files that only their owner can read, and mkstemp does so too."""
    root = Path(unic.__file__).parent
    texts = {str(path.relative_to(root)): path.read_text(encoding="utf-8") for path in root.rglob("*.py")}

    def having(name: str) -> dict[str, int]:
        counts = {path: len(re.findall(rf"\b{name}\(", text)) for path, text in texts.items()}
        return {path: count for path, count in counts.items() if count}

    assert having("save_file") == {path: count for path, count in having("give_rights").items() if path != "outputs.py"}
    assert having("mkstemp") == {}
