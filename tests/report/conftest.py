"""A whole run folder: recipe, log, export and results of made-up scores, with names that hold HTML."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from unic.config import load_recipe
from unic.encoders import build_encoder
from unic.eval.results import Cell, summarise
from unic.eval.tasks.base import Outcome
from unic.export.timm import export_timm
from unic.report.page import write_report

HOSTILE = '<script>alert("x")&amp;'
ROLES = {"student": "student", "start": "other", "vit": "teacher", "cnn": "teacher", "concat": "concat", "px": "pixels"}
TASKS = ["shapes/knn", "shapes/logistic", "other/knn", "other/logistic"]


@pytest.fixture(scope="session")
def labelled_images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with train/ and test/ and two classes; the name of one is HTML."""
    folder = tmp_path_factory.mktemp("shapes")
    draw = np.random.default_rng(0)
    for split, count in (("train", 12), ("test", 8)):
        for number in range(count):
            name = ("plain", HOSTILE.replace("/", ""))[number % 2]
            place = folder / split / name
            place.mkdir(parents=True, exist_ok=True)
            pixels = draw.integers(0, 256, (4, 4, 3), dtype=np.uint8)
            Image.fromarray(pixels).resize((40, 40), Image.Resampling.BICUBIC).save(place / f"{number}.png")
    return folder


def made_up_results(images: Path) -> dict[str, Any]:
    """What `unic eval` writes, of random marks; one cell has failed."""
    draw = np.random.default_rng(0)
    cells: dict[str, dict[str, Cell]] = {}
    for task in TASKS:
        row: dict[str, Cell] = {}
        for number, name in enumerate(ROLES):
            marks = draw.random((2, 200)) < 0.8 - 0.1 * number
            row[name] = [Outcome(seed[:, None].astype(np.float64)) for seed in marks]
        cells[task] = row
    cells["other/knn"]["px"] = HOSTILE
    models = {
        name: {"role": role, "uri": f"timm:{HOSTILE}", "num_parameters": 10_000 * (number + 1)}
        for number, (name, role) in enumerate(ROLES.items())
    }
    counts = {"shapes": {"train": 12, "test": 8, "classes": 2}}
    protocol = {"data": [f"shapes={images}"], "tasks": {"knn": {"k": 5}}, "seeds": [0, 1], "size": 32, "counts": counts}
    return {"models": models, **summarise(cells, ROLES), "protocol": protocol}


def metric_lines(steps: int = 900) -> str:
    rows = []
    for step in range(1, steps + 1):
        row: dict[str, Any] = {"step": step, "loss": None if step == 5 else 1 / math.sqrt(step), "lr": 1e-3 / step}
        row |= {"images_per_s": 100.0, "data_wait": 0.02}
        for name in ("vit", "cnn"):
            row |= {f"loss/{name}": 0.9 / step, f"kept/{name}": 0.75}
            row |= {f"cos/{name}/cls": 1 - 1 / step, f"cos/{name}/patch": 0.9 - 1 / step}
        if step % 300 == 0:
            row["knn/shapes"] = 50.0 + step / 100
        rows.append(json.dumps(row))
    return "\n".join(rows) + '\n{"step": 901, "lo'


@pytest.fixture
def run_folder(tmp_path: Path, labelled_images: Path, recipe: dict[str, Any]) -> Path:
    run = tmp_path / "run <b>one"
    run.mkdir()
    recipe["data"]["train"] = str(labelled_images)
    settings = load_recipe(recipe)
    (run / "recipe.yaml").write_text(settings.to_yaml(), encoding="utf-8")
    (run / "metrics.jsonl").write_text(metric_lines(), encoding="utf-8")
    (run / "environment.json").write_text(json.dumps({"torch": HOSTILE, "started": "2026-01-02 03:04:05"}))
    (run / "damaged.json").write_text(json.dumps([[f"{HOSTILE}.png", "truncated <file>"]]))
    (run / "results.json").write_text(json.dumps(made_up_results(labelled_images)))
    student = build_encoder(settings.student.model)
    export_timm(student, run / "export")  # type: ignore[arg-type]
    return run


@pytest.fixture
def page(run_folder: Path) -> str:
    return write_report(run_folder).read_text(encoding="utf-8")
