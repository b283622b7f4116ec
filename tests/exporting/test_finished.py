"""An export that grows: options are checked first, files come all or not at all, and nothing changes in silence."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from unic import api
from unic.encoders import build_encoder
from unic.errors import InputError
from unic.exporting import finished, formats
from unic.exporting.finished import model_in
from unic.exporting.timm import export_timm
from unic.recipe.schema import load_recipe
from unic.training.train import fit

VIT = "timm:test_vit?pretrained=false&img_size=32"
CNN = "timm:test_efficientnet?pretrained=false&img_size=64"


@pytest.fixture(scope="module")
def trained(image_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, int], Path]:
    """Run folders by the URI of the student and the number of steps; read only."""
    made: dict[tuple[str, int], Path] = {}

    def train(student: str, steps: int = 1) -> Path:
        if (student, steps) not in made:
            run = tmp_path_factory.mktemp("runs") / "run"
            tree = {
                "teachers": {"models": {"p": "pixels:8"}}, "student": {"model": student}, "trackers": {},
                "data": {"train": str(image_folder), "size": 32, "workers": 0},
                "train": {"steps": steps, "batch_size": 4, "precision": "fp32"},
            }  # fmt: skip
            fit(load_recipe(tree), run, console=Console(quiet=True))
            made[student, steps] = run
        return made[student, steps]

    return train


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("student", "options", "line"),
    [
        (VIT, {"formats": ["onnx"], "dynamic_size": True}, "^dynamic_size: .*one input size"),
        (CNN, {"dynamic_size": True}, r"^dynamic_size: .*formats=\['onnx'\]"),
        (CNN, {"formats": ["torch_export"], "half": True}, r"^half: .*formats=\['onnx'\]"),
        (CNN, {"heads": ["p"]}, "^heads: .*graph"),
        (CNN, {"formats": ["onnx"], "heads": ["q"]}, "teacher 'q'"),
        (CNN, {"push": "mine"}, "push 'mine'.*ORG/NAME"),
    ],
)
def test_options_are_checked_before_anything_is_written(
    trained: Callable[..., Path], tmp_path: Path, student: str, options: dict[str, Any], line: str
) -> None:
    with pytest.raises(InputError, match=line):
        api.export(trained(student), tmp_path / "out", **options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("package", "name", "check"), [("onnxscript", "onnx", False), ("transformers", "transformers", True)]
)
def test_a_package_that_is_missing_is_named_first(
    trained: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str, name: str, check: bool
) -> None:
    monkeypatch.setattr(formats, "find_spec", lambda wanted: None if wanted == package else object())
    with pytest.raises(InputError, match=rf"formats=\['{name}'\].*pip install {package}"):
        api.export(trained(VIT), tmp_path / "out", formats=[name], check=check)
    assert list(tmp_path.iterdir()) == []


def test_a_finished_export_takes_another_format(
    trained: Callable[..., Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run, out = trained(VIT), tmp_path / "out"
    api.export(run, out)
    before = contents(out)
    mask = os.umask(0o027)
    try:
        api.export(run, out, formats=["torch_export"])
    finally:
        os.umask(mask)
    after = contents(out)
    assert {name for name in after if after[name] != before.get(name)} == {"model.pt2", "README.md"}
    assert "`model.pt2`" in after["README.md"].decode()
    assert (out / "model.pt2").stat().st_mode & 0o777 == 0o640
    assert "model.pt2" not in caplog.text
    api.export(run, out, formats=["torch_export"], heads=["p"])
    assert contents(out).keys() == after.keys() | {"heads/p/model.pt2"}
    said = [record.getMessage() for record in caplog.records if record.name == "unic"]
    (line,) = said
    assert line.startswith(f"export {out}: model.pt2 ")


def test_deviations_are_kept_for_what_stays(trained: Callable[..., Path], tmp_path: Path) -> None:
    run, out = trained(VIT), tmp_path / "out"
    api.export(run, out, check=True)
    api.export(run, out, formats=["torch_export"], check=True)
    assert json.loads((out / "parity.json").read_text()).keys() == {"timm: .", "torch_export: model.pt2"}
    api.export(run, out, formats=["torch_export"])  # not checked: what was measured is of another file
    assert json.loads((out / "parity.json").read_text()).keys() == {"timm: ."}


def test_another_model_is_refused_in_one_line(trained: Callable[..., Path], tmp_path: Path) -> None:
    out = api.export(trained(VIT), tmp_path / "out")
    before = contents(out)
    for run in (trained(CNN), trained(VIT, 2)):
        with pytest.raises(InputError, match=f"to {out}: .*another model"):
            api.export(run, out)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("mine")
    with pytest.raises(InputError, match="not empty"):
        api.export(trained(VIT), tmp_path / "notes")
    assert contents(out) == before
    assert contents(tmp_path / "notes") == {"a.txt": b"mine"}


def test_the_run_s_own_export_follows_its_newest_step(
    trained: Callable[..., Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Graphs of the weights before go, and a line says so; without a `to` there is nothing to name."""
    run = Path(shutil.copytree(trained(VIT), tmp_path / "run"))
    api.export(run, formats=["torch_export"])
    shutil.rmtree(run / "checkpoints")
    shutil.copytree(trained(VIT, 2) / "checkpoints", run / "checkpoints")
    api.export(run)
    assert contents(run / "export").keys() == {"config.json", "model.safetensors", "README.md"}
    assert [
        message for message in caplog.messages if re.match(f"export {run / 'export'}: model.pt2 .*removed", message)
    ]
    assert "model.pt2" not in (run / "export" / "README.md").read_text()


def test_a_graph_that_fails_leaves_the_folder_as_it_was(
    trained: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trained(VIT)

    def fails(*_: object) -> Path:
        raise InputError("export: no torch.export program (out of luck)")

    monkeypatch.setattr(formats, "export_torch", fails)
    with pytest.raises(InputError, match="out of luck"):
        api.export(run, tmp_path / "new", formats=["torch_export"])
    assert list(tmp_path.iterdir()) == []
    out = api.export(run, tmp_path / "out")
    before = contents(out)
    with pytest.raises(InputError, match="out of luck"):
        api.export(run, out, formats=["torch_export"])
    assert contents(out) == before
    assert api.export(run, out, formats=["timm"]) == out


def test_what_a_killed_export_has_left_is_no_obstacle(trained: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "out" / ".export-abc").mkdir(parents=True)
    (tmp_path / "out" / ".export-abc" / "model.safetensors").touch()
    out = api.export(trained(VIT), tmp_path / "out")
    assert contents(out).keys() == {"config.json", "model.safetensors", "README.md"}


def test_whose_model_a_folder_holds(tmp_path: Path) -> None:
    one, other = build_encoder(VIT), build_encoder(VIT)
    other.load_state_dict(one.state_dict())
    folder = export_timm(one, tmp_path / "export", {"teachers": {}}, licence="mit")  # type: ignore[arg-type]
    assert model_in(folder, other) == "same"  # type: ignore[arg-type]
    for change in (lambda: other.mean.add_(0.1), lambda: next(other.parameters()).data.view(-1)[0].add_(1e-3)):
        other.load_state_dict(one.state_dict())
        before = other.mean.clone()
        with torch.no_grad():
            change()
        assert model_in(folder, other) == "other"  # type: ignore[arg-type]
        other.mean.copy_(before)
    (folder / "config.json").write_text("{")
    assert model_in(folder, one) == finished.model_in(tmp_path / "nowhere", one) == "none"  # type: ignore[arg-type]
