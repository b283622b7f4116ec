"""`unic check --json`: its keys are public, and its values too, but for those that are measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest
import torch

from unic.preflight import check_recipe, spread
from unic.recipe.schema import load_recipe


def test_the_whole_report_of_a_small_recipe(
    recipe: dict[str, Any], image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spread, "_FEWEST", 30)
    vit, cnn = recipe["teachers"]["models"].values()
    recipe["teachers"]["models"]["cnn"] = {"uri": cnn, "tokens": "cls"}
    recipe["teachers"]["cache"] = {"dir": str(tmp_path / "cache")}
    recipe["eval"] = {"suite": {"data": [f"blobs={image_folder}?test=0.25"], "tasks": {"knn": {}}}}
    report = check_recipe(load_recipe(recipe), torch.device("cpu"), price=2.0)
    student = {
        "name": "student", "uri": vit, "source": "timm", "licence": "", "revision": None, "num_parameters": 300096,
        "input_size": [32, 32], "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "cls": 64, "patch": 64,
        "has_cls": True, "grid": [2, 2], "normalisation_error": None, "precision": "fp32", "images_per_s": ANY,
        "weights_mb": 1.2,
    }  # fmt: skip
    narrower = {"name": "cnn", "uri": cnn, "num_parameters": 99196, "input_size": [64, 64], "cls": 256, "patch": 256}
    narrower |= {"has_cls": False, "weights_mb": 0.4, "tokens": "cls", "options": ["matched by CLS alone"]}
    assert json.loads(json.dumps(report.to_json())) == {
        "ready": True,
        "recipe": "recipe",
        "models": [student, student | {"name": "vit", "tokens": "both", "options": []}, student | narrower],
        "images": [
            {
                "path": str(image_folder), "images": 40, "weight": 1.0, "share": 1.0, "anchor": 0.0, "short_side": 46,
                "looked_at": 40, "damaged": [],
            },
        ],
        "facts": {
            "views": [32],
            "ladder": {"type": "ladder", "blocks": 6, "num_parameters": 34728},
            "memory": {
                "models_gb": 0.006952304, "batch_gb": ANY, "at_a_time": 8, "available_gb": ANY, "largest_batch": ANY,
            },
            "time": {
                "steps": 8, "epochs": None, "processes": 1, "images_per_s": ANY, "teachers_h": ANY, "hours": ANY,
                "hours_range": [ANY, ANY],
                "tried": {"steps": ANY, "images": [8], "seconds": [ANY, ANY], "waited": ANY, "threads": ANY},
                "price": ANY,
            },
            "disk": {"checkpoints_gb": 0.012053664, "cache_gb": 0.00012512, "cache_missing_gb": 0.00012512},
            "spread": {
                "images": 40, "times": ANY,
                "teachers": {name: {"own": ANY, "generated": ANY} for name in ("vit", "cnn")},
            },
            "duplicates": {
                "found": {"blobs": 10}, "looked_at": "40 of 40 training images compared with 10 test images",
            },
        },
        "findings": [
            {"level": level, "about": about, "text": ANY}
            for level, about in (
                ("warning", "data blobs"), ("warning", "train"), ("warning", "teacher cnn"), ("warning", "data.train"),
                ("note", "eval.suite"),
            )
        ],
        "stages": [],
    }  # fmt: skip
