"""Files have the rights that the umask gives: a group may read what its members share, and others may not."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import unic
from unic import api
from unic.encoders import build_encoder
from unic.eval.results.formats import write_results
from unic.eval.results.schema import Results
from unic.exporting.model_card import write_card
from unic.exporting.timm import export_timm
from unic.files import written
from unic.reporting.render import write_page
from unic.runs import checkpoint

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
    with written(tmp_path / "file") as partial:
        partial.unlink()
        partial.touch(0o600)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_files_are_written_in_one_place() -> None:
    """`save_file` and mkstemp make files that only their owner can read; a write in place can stop half-way."""
    root = Path(unic.__file__).parent
    texts = {str(path.relative_to(root)): path.read_text(encoding="utf-8") for path in root.rglob("*.py")}

    def having(pattern: str) -> dict[str, int]:
        counts = {path: len(re.findall(pattern, text)) for path, text in texts.items()}
        return {path: count for path, count in counts.items() if count}

    inside = [
        call
        for text in texts.values()
        for block in ast.walk(ast.parse(text))
        if _writes(block)
        for call in _saves(block)
    ]
    assert len(inside) == len([call for text in texts.values() for call in _saves(ast.parse(text))]) == 4
    assert having(r"\bmkstemp\(") == {}
    assert having(r"os\.replace\(") == {"files.py": 1, "exporting/finished.py": 1}  # there, files of a whole folder
    in_a_folder_that_is_moved = {"runs/checkpoint.py": 2, "encoders/schemes/open_clip.py": 1}
    assert having(r"\.write_(text|bytes)\(") == {"files.py": 1, **in_a_folder_that_is_moved}


def _writes(node: ast.AST) -> bool:
    return isinstance(node, ast.With) and any("written(" in ast.unparse(item.context_expr) for item in node.items)


def _saves(node: ast.AST) -> list[ast.Call]:
    calls = [found for found in ast.walk(node) if isinstance(found, ast.Call)]
    return [call for call in calls if ast.unparse(call.func).endswith("save_file")]
