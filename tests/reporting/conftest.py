"""A whole run folder: recipe, log, export and results of made-up scores, with names that hold HTML."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file
from written import summarise

from unic.encoders import build_encoder
from unic.eval.datasets import resolve
from unic.eval.outcome import Outcome
from unic.eval.results.scored import Measured
from unic.eval.tasks import influence, spectrum
from unic.exporting.timm import export_timm
from unic.recipe.schema import load_recipe
from unic.reporting.page import write_report

HOSTILE = '<script>alert("x")&amp;'
ROLES = {"student": "student", "start": "other", "vit": "teacher", "cnn": "teacher", "concat": "concat", "px": "pixels"}
TASKS = ["shapes/knn", "shapes/logistic", "other/knn", "other/logistic"]
VOID = {"meta", "link", "img", "br", "hr", "input"}
NUM_OTHER = 40  # classes of the set `other`, whose images do not exist


class Outline(HTMLParser):
    """Checks that tags are balanced; collects ids, tags and what would be loaded."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        named = {key: value or "" for key, value in attrs}
        assert len(named) == len(attrs), (tag, attrs)
        if "id" in named:
            self.ids.append(named["id"])
        self.loads += [named[key] for key in ("src", "srcset", "href", "data", "poster", "xlink:href") if key in named]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def words(self) -> str:
        return " ".join("".join(self.text).split())


@pytest.fixture
def outline() -> Callable[[str], Outline]:
    return Outline


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


def _predicted(labels: np.ndarray, wrong: Sequence[int] | np.ndarray, num_classes: int) -> np.ndarray:
    predicted = labels.copy()
    predicted[wrong] = (predicted[wrong] + 1) % num_classes
    return predicted


def made_up_cells(images: Path) -> tuple[dict[str, dict[str, Measured]], dict[str, np.ndarray]]:
    """Outcomes of random answers, with the predictions of the first of two seeds; one cell has failed.

    Of the eight images of `shapes` the student gets number 3 wrong, the best teacher 4 and 5.
    """
    draw = np.random.default_rng(0)
    shapes = resolve(f"shapes={images}").test
    labels = {
        "shapes": np.array([shapes.label(index) for index in range(len(shapes))]),
        "other": np.arange(200) % NUM_OTHER,
    }
    wrong = {"student": [3], "vit": [4, 5], "cnn": [0, 1, 2, 4, 5]}
    cells: dict[str, dict[str, Measured]] = {}
    predictions = {f"{name}/labels": array.astype(np.int32) for name, array in labels.items()}
    predictions |= {f"{name}/index": np.arange(len(array), dtype=np.int32) for name, array in labels.items()}
    for task in TASKS:
        name, row = task.partition("/")[0], {}
        for number, model in enumerate(ROLES):
            outcomes = []
            for _ in range(2):
                y = labels[name]
                errors = (
                    wrong.get(model, [0, 1])
                    if name == "shapes"
                    else np.flatnonzero(draw.random(200) > 0.9 - 0.15 * number)
                )
                predicted = _predicted(y, errors, 2 if name == "shapes" else NUM_OTHER)
                outcomes.append(Outcome((predicted == y)[:, None].astype(np.float64), predicted=predicted))
            row[model] = outcomes
            predictions[f"{task}/{model}"] = outcomes[0].predicted.astype(np.int32)
        cells[task] = row
    cells["other/knn"]["px"] = HOSTILE
    del predictions["other/knn/px"]
    return cells, predictions


def descriptions() -> dict[str, dict[str, Measured]]:
    """What the tasks influence and spectrum give, of random features."""
    draw = np.random.default_rng(1)
    marks = np.ones((8, 1))
    found = {
        name: {
            "teachers": {
                teacher: {
                    "cka_cls": 0.25 + 0.5 * (name == "student"), "cka_patch": 0.125,
                    "cosine_cls": 0.875 if name == "student" else None, "cosine_patch": None,
                }
                for teacher in ("vit", "cnn")
            }
        }
        for name in ("student", "start")
    }  # fmt: skip
    use = {"num_matrices": 2, "effective_rank": 0.75, "stable_rank": 0.3}
    use["by_block"] = {f"blocks.{block}": {"effective_rank": 0.5 + block / 4, "stable_rank": 0.2} for block in range(2)}
    spectra = {
        name: {
            kind: spectrum.spectrum(draw.standard_normal((50, 6)).astype(np.float32)) for kind in ("cls", "patch_mean")
        }
        | {"weights": None if name == "concat" else use}
        for name in ROLES
    }
    return {
        "shapes/influence": {name: [Outcome(marks, influence.MEASURE, details)] for name, details in found.items()},
        "shapes/spectrum": {name: [Outcome(marks, spectrum.MEASURE, details)] for name, details in spectra.items()},
    }


def made_up_results(images: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What `unic eval` writes: results.json and predictions.safetensors."""
    cells, predictions = made_up_cells(images)
    described = descriptions()
    models = {
        name: {"role": role, "uri": f"timm:{HOSTILE}", "num_parameters": 10_000 * (number + 1)}
        for number, (name, role) in enumerate(ROLES.items())
    }
    counts = {"shapes": {"train": 12, "test": 8, "classes": 2}}
    classes = {"shapes": resolve(f"shapes={images}").classes, "other": [f"{HOSTILE} {n}" for n in range(NUM_OTHER)]}
    protocol = {
        "data": [f"shapes={images}", "other=/gone"], "missing": {"other=/gone": "not here"}, "tasks": {"knn": {"k": 5}},
        "seeds": [0, 1], "size": 32, "counts": counts, "classes": classes,
    }  # fmt: skip
    measures = {"shapes/influence": influence.MEASURE, "shapes/spectrum": spectrum.MEASURE}
    measured = summarise({**cells, **described}, ROLES, measures)
    shares = {"gradient": {"vit": 0.375, "cnn": 0.625}, "kept": {"vit": 0.75, "cnn": 0.5}}
    return {"models": models, **measured, "influence": shares, "protocol": protocol}, predictions


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


@pytest.fixture(scope="session")
def evaluation(labelled_images: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Results and predictions; read only."""
    return made_up_results(labelled_images)


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory, labelled_images: Path, evaluation: Any) -> Path:
    """A whole run folder; read only."""
    run = tmp_path_factory.mktemp("runs") / "run <b>one"
    run.mkdir()
    model = "timm:test_vit?pretrained=false&img_size=32"
    settings = load_recipe(
        {
            "teachers": {"models": {"vit": model, "cnn": "timm:test_efficientnet?pretrained=false&img_size=64"}},
            "student": {"model": model},
            "projector": {"type": "ladder", "hidden_dim": 8, "last_hidden_dim": 16},
            "data": {"train": str(labelled_images), "size": 32, "workers": 0},
            "train": {"steps": 8, "batch_size": 8, "precision": "fp32", "warmup_epochs": 0},
        }
    )
    results, predictions = evaluation
    (run / "recipe.yaml").write_text(settings.to_yaml(), encoding="utf-8")
    (run / "metrics.jsonl").write_text(metric_lines(), encoding="utf-8")
    (run / "environment.json").write_text(json.dumps({"torch": HOSTILE, "started": "2026-01-02 03:04:05"}))
    (run / "damaged.json").write_text(json.dumps([[f"{HOSTILE}.png", "truncated <file>"]]))
    (run / "results.json").write_text(json.dumps(results))
    save_file(predictions, run / "predictions.safetensors")
    export_timm(build_encoder(settings.student.model), run / "export")  # type: ignore[arg-type]
    return run


@pytest.fixture
def run_folder(finished_run: Path, tmp_path: Path) -> Path:
    """The same run, to change."""
    return Path(shutil.copytree(finished_run, tmp_path / finished_run.name))


@pytest.fixture(scope="session")
def page(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNIC_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        return write_report(finished_run).read_text(encoding="utf-8")
