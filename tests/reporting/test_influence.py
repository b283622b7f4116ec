"""Influence and spectrum, as their tasks write them."""

from __future__ import annotations

import copy
import re
from typing import Any

import numpy as np

from unic.eval.results.schema import Results
from unic.recipe.schema import load_recipe
from unic.reporting.draw.looks import Looks
from unic.reporting.read.scores import Scores
from unic.reporting.sections.influence import influence
from unic.reporting.sections.spectrum import spectrum

Evaluation = tuple[dict[str, Any], dict[str, np.ndarray]]


def test_shares_of_the_training(evaluation: Evaluation) -> None:
    table = influence(Scores(Results.load(evaluation[0])))["tables"][0]
    assert table["columns"] == ["gradient", "kept"]
    assert [row["name"] for row in table["rows"]] == ["vit", "cnn"]
    assert [cell["text"] for cell in table["rows"][0]["cells"]] == ["0.38", "0.75"]
    assert [cell["share"] for cell in table["rows"][1]["cells"]] == [0.625, 0.5]


def test_weights_above_one_are_no_shares_of_images(evaluation: Evaluation, recipe: dict[str, Any]) -> None:
    learned = load_recipe({**recipe, "weighting": {"type": "uncertainty"}})
    results = copy.deepcopy(evaluation[0])
    results["influence"]["kept"] = {"vit": 1.5, "cnn": 0.75}
    table = influence(Scores(Results.load(results)), learned)["tables"][0]
    assert [row["cells"][1] for row in table["rows"]] == [
        {"text": "1.50", "share": 1.0, "before": ""}, {"text": "0.75", "share": 0.5, "before": ""}
    ]  # fmt: skip
    assert "kept: the mean weight of the teacher over the images" in table["note"]
    assert "share of images" not in table["note"]


def test_tokens_beside_those_of_the_start(evaluation: Evaluation) -> None:
    """What no teacher has is no column."""
    table = influence(Scores(Results.load(evaluation[0])))["tables"][1]
    assert table["title"] == "Student and teacher on shapes"
    assert table["columns"] == ["CKA, cls", "CKA, patches", "cosine, cls"]
    cells = table["rows"][1]["cells"]
    assert [cell["text"] for cell in cells] == ["0.75", "0.12", "0.88"]
    assert [cell["before"] for cell in cells] == ["start 0.25", "start 0.12", ""]


def test_negative_values_have_empty_bars(evaluation: Evaluation) -> None:
    results = copy.deepcopy(evaluation[0])
    results["descriptions"]["shapes/influence"]["student"]["details"][0]["teachers"]["vit"]["cka_cls"] = -0.01
    cell = influence(Scores(Results.load(results)))["tables"][1]["rows"][0]["cells"][0]
    assert (cell["text"], cell["share"]) == ("-0.01", 0.0)


def test_spectra_of_all_models(evaluation: Evaluation) -> None:
    scores = Scores(Results.load(evaluation[0]))
    made = spectrum(scores, Looks.of(scores))
    (shapes,) = made["sets"]
    assert shapes["name"] == "shapes"
    assert [row["name"] for row in shapes["rows"]] == scores.names
    details = evaluation[0]["descriptions"]["shapes/spectrum"]["vit"]["details"][0]
    row = next(row for row in shapes["rows"] if row["name"] == "vit")
    assert row["cells"][:4] == [
        "6", f"{details['cls']['effective_rank']:.1f}", f"{details['cls']['participation_ratio']:.1f}",
        str(details["cls"]["components"]["90"]),
    ]  # fmt: skip
    for chart in shapes["charts"]:
        paths = re.findall(r' d="([^"]*)"', chart["svg"])
        assert len(paths) == len(scores.names)
        assert all(path.count("L") == 5 for path in paths)


def test_weights_of_those_that_have_some(evaluation: Evaluation) -> None:
    scores = Scores(Results.load(evaluation[0]))
    weights = spectrum(scores, Looks.of(scores))["weights"]
    assert "concat" not in {row["name"] for row in weights["rows"]}
    assert weights["rows"][0] == {"name": "student", "matrices": 2, "effective": "0.75", "stable": "0.30"}
    assert "vit, block 2: 0.75" in weights["chart"]["svg"]


def test_what_was_not_measured_is_said() -> None:
    scores = Scores(Results.load({"models": {}, "tasks": {}}))
    assert "was not measured" in influence(scores)["note"]
    assert "were not measured" in spectrum(scores, Looks.of(scores))["note"]
