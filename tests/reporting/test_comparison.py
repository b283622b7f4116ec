"""Several runs on one page: names, paired intervals, marks, recipes, and runs that lack something."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from written import summarise

from unic.errors import InputError
from unic.eval.outcome import Outcome
from unic.reporting.read.run_files import read_run
from unic.reporting.several.page import collect_runs, unique_names, write_comparison
from unic.reporting.several.recipes import flattened
from unic.reporting.several.students import Compared, sentence
from unic.reporting.several.table import compared_table

Read = Callable[[str], Any]  # conftest.Outline


@pytest.fixture
def runs(finished_run: Path, tmp_path: Path) -> list[Path]:
    """The run, and a worse one: of another recipe, and wrong on 40 more images of `other/logistic`."""
    worse = Path(shutil.copytree(finished_run, tmp_path / "worse", ignore=shutil.ignore_patterns("export")))
    recipe = worse / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("seed: 0", "seed: 7").replace("hidden_dim: 8", "hidden_dim: 4"))
    arrays, results = load_file(worse / "predictions.safetensors"), json.loads((worse / "results.json").read_text())
    labels, predicted = arrays["other/labels"], arrays["other/logistic/student"].copy()
    right = np.flatnonzero(predicted == labels)[:40]
    predicted[right] = (predicted[right] + 1) % 40
    results["tasks"]["other/logistic"]["student"]["score"] -= 20
    save_file({**arrays, "other/logistic/student": predicted}, worse / "predictions.safetensors")
    (worse / "results.json").write_text(json.dumps(results))
    return [finished_run, worse]


def _compared(paths: list[Path]) -> Compared:
    return Compared(unique_names(paths), [read_run(path) for path in paths])


def test_page(runs: list[Path], tmp_path: Path, outline: Read) -> None:
    target = write_comparison(runs, tmp_path / "new" / "page.html")
    text = target.read_text(encoding="utf-8")
    read = outline(text)
    assert [name for name in read.ids if not name.startswith("h-")] == ["scores", "radar", "training", "recipes"]
    assert "script" not in read.tags
    assert all(load.startswith(("data:", "#")) for load in read.loads)
    assert "<b>one" not in text
    words = read.words()
    assert "run <b>one · worse" in words
    assert "2 runs, 4 tasks in common" in words
    assert 'class="radar"' in text
    assert text.count('class="chart"') == 4
    assert 'class="note"' not in text


def test_paired_interval_is_the_bootstrap_of_the_difference(runs: list[Path]) -> None:
    """Against resampled differences written out; 40 of 200 images went wrong."""
    interval = _compared(runs).paired.difference("other/logistic", 0, 1)
    assert interval is not None
    marks = np.zeros(200)
    marks[:40] = 100
    draw = np.random.default_rng(1)
    expected = np.percentile([draw.choice(marks, 200).mean() for _ in range(4000)], [2.5, 97.5])
    np.testing.assert_allclose(interval, expected, atol=0.8)


def test_only_a_supported_lead_is_marked(runs: list[Path]) -> None:
    compared = _compared(runs)
    assert compared.leader("other/logistic") == 0
    assert compared.leader("shapes/knn") is None
    table = compared_table(compared)
    assert table is not None
    rows = {row["label"]: row["cells"] for row in table["rows"]}
    assert [cell["is_leader"] for cell in rows["other/logistic"]] == [True, False]
    assert rows["other/logistic"][0]["difference"] is None
    assert rows["other/logistic"][1]["difference"]["outcome"] == "below"
    assert rows["shapes/knn"][1]["difference"] == {"text": "0.0 to 0.0", "outcome": "level"}
    assert "every other run" in sentence(compared)


def test_nothing_is_marked_without_predictions(runs: list[Path]) -> None:
    (runs[1] / "predictions.safetensors").unlink()
    compared = _compared(runs)
    table = compared_table(compared)
    assert table is not None
    cells = [cell for row in [*table["rows"], *table["foot"]] for cell in row["cells"]]
    assert not any(cell["is_leader"] or cell["difference"] for cell in cells)
    assert "chance" in sentence(compared)
    assert "no predictions.safetensors" in compared.notes()[0]


def test_other_images_are_not_paired(runs: list[Path]) -> None:
    arrays = load_file(runs[1] / "predictions.safetensors")
    arrays["other/index"] = arrays["other/index"] + 1
    save_file(arrays, runs[1] / "predictions.safetensors")
    compared = _compared(runs)
    assert compared.paired.difference("other/logistic", 0, 1) is None
    assert compared.paired.difference("shapes/knn", 0, 1) is not None


def test_other_protocols_are_said(runs: list[Path]) -> None:
    results = json.loads((runs[1] / "results.json").read_text())
    results["protocol"]["size"] = 64
    (runs[1] / "results.json").write_text(json.dumps(results))
    (note,) = _compared(runs).notes()
    assert "size (run <b>one 32, worse 64)" in note


def test_run_without_results_or_with_strange_ones(runs: list[Path], tmp_path: Path, outline: Read) -> None:
    bare, strange = tmp_path / "bare", tmp_path / "strange"
    for folder in (bare, strange):
        shutil.copytree(runs[0], folder, ignore=shutil.ignore_patterns("export", "*.safetensors", "results.json"))
    (strange / "results.json").write_text(json.dumps({"models": {"s": {"role": "student"}}, "tasks": {"a/knn": ["s"]}}))
    text = write_comparison([*runs, bare, strange], tmp_path / "page.html").read_text(encoding="utf-8")
    words = outline(text).words()
    assert "4 runs, 2 of them evaluated" in words
    assert re.search("bare: .*not been evaluated", words)
    assert "strange: results.json " in words
    assert "bare 100 strange 100" in words  # images per second: the log is drawn all the same


def test_nothing_evaluated(runs: list[Path], tmp_path: Path, outline: Read) -> None:
    for number in range(2):
        (tmp_path / f"run{number}").mkdir()
    paths = [tmp_path / "run0", tmp_path / "run1"]
    words = outline(write_comparison(paths, tmp_path / "page.html").read_text(encoding="utf-8")).words()
    assert "None of these runs" in words
    assert "recipe cannot be read" in words


@pytest.mark.parametrize("state", [{}, {"position": {}, "places": []}, {"position": {}, "places": {"written": [1]}}])
def test_a_damaged_state_beside_a_damaged_recipe_does_not_cost_the_page(
    runs: list[Path], tmp_path: Path, outline: Read, state: dict[str, Any]
) -> None:
    folder = tmp_path / "damaged"
    (folder / "checkpoints/step-1").mkdir(parents=True)
    (folder / "checkpoints/last").write_text("step-1")
    (folder / "checkpoints/step-1/state.json").write_text(json.dumps({"step": 1, "state": state}))
    (folder / "recipe.yaml").write_text("nothing: known\n")
    text = write_comparison([*runs, folder], tmp_path / "page.html").read_text(encoding="utf-8")
    assert "recipe cannot be read" in outline(text).words()


def test_recipes_show_only_what_differs(runs: list[Path]) -> None:
    rows = {row["key"]: row["values"] for row in collect_runs([read_run(run) for run in runs])["differences"]}
    assert rows == {"seed": ["0", "7"], "projector.hidden_dim": ["8", "4"]}


def test_flattened_lists_are_one_value() -> None:
    tree = {"a": {"b": 0.0, "c": False, "d": None}, "e": [{"path": "x", "limit": None}, {"path": "y"}], "f": "g"}
    assert flattened(tree) == {"a.b": "0.0", "a.c": "false", "a.d": "null", "e": "path=x\npath=y", "f": "g"}


def test_names_are_unique() -> None:
    paths = [Path(path) for path in ("/x/a/run", "/x/b/run", "/x/other", "/x/b/run")]
    assert unique_names(paths) == ["a/run", "b/run", "other", "b/run (2)"]
    taken = [Path("/x/run"), Path("/x/run"), Path("/x/run (2)"), Path("/x/run")]
    assert unique_names(taken) == ["run", "run (2)", "run (2) (2)", "run (3)"]


def test_errors(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="two .* 1"):
        write_comparison([tmp_path], tmp_path / "page.html")
    with pytest.raises(InputError, match="no such folder"):
        write_comparison([tmp_path, tmp_path / "gone"], tmp_path / "page.html")


def test_lower_is_better(runs: list[Path], evaluation: Any) -> None:
    """The best mean is the lowest; errors have no predictions, so nothing is marked."""
    paths = [runs[1], runs[1].parent / "other"]
    shutil.copytree(runs[1], paths[1])
    for path, score in zip(paths, (0.7, 0.5), strict=True):
        tasks = {"d/depth": {"student": {"score": score, "ci": [0.4, 0.6]}}}
        measures = {"d/depth": {"name": "RMSE m", "lower_is_better": True}}
        (path / "results.json").write_text(json.dumps({**evaluation[0], "tasks": tasks, "measures": measures}))
    compared = _compared(paths)
    table = compared_table(compared)
    assert table is not None
    assert (table["unit"], table["rows"][0]["unit"]) == ("RMSE m", "↓")
    assert compared.leader("d/depth") is None
    assert "0.5 (RMSE m), of other" in sentence(compared)


def _with_seeds(run: Path, by_seed: list[float] | None) -> None:
    results = json.loads((run / "results.json").read_text())
    entry = results["tasks"]["other/logistic"]["student"]
    first = entry["by_seed"][0]
    entry |= {"score": first, "spread": 8.0, "by_seed": by_seed and [first + step for step in by_seed]}
    (run / "results.json").write_text(json.dumps(results))


def test_seeds_are_in_the_interval_of_a_difference(runs: list[Path], tmp_path: Path) -> None:
    """Equal runs but for one whose seeds differ; a shift that all seeds share is no luck of a seed."""
    paths = [Path(shutil.copytree(runs[0], tmp_path / name / "run")) for name in ("even", "shifted", "lucky")]
    for path, by_seed in zip(paths, ([0.0, 8.0], [0.0, 8.0], [0.0, -8.0]), strict=True):
        _with_seeds(path, by_seed)
    paired = _compared(paths).paired
    assert paired.difference("other/logistic", 0, 1) == [0, 0]
    low, high = paired.difference("other/logistic", 0, 2) or [0, 0]
    assert low < -30
    assert high > 30


def test_an_older_file_has_no_interval_where_seeds_matter(runs: list[Path], tmp_path: Path) -> None:
    old = Path(shutil.copytree(runs[0], tmp_path / "old"))
    _with_seeds(old, None)
    results = json.loads((old / "results.json").read_text())
    results["protocol"]["bootstrap"] = {"resamples": 1000, "level": 95, "unit": "test image"}
    (old / "results.json").write_text(json.dumps(results))
    compared = _compared([runs[0], old])
    assert compared.paired.difference("other/logistic", 0, 1) is None
    assert compared.paired.difference("other/knn", 0, 1) is not None
    fixed, unpaired = compared.notes()
    assert re.match("old: .*mean gain", fixed)
    assert re.match("old: .*other/logistic", unpaired)


def test_intervals_are_those_of_an_evaluation_of_both(runs: list[Path]) -> None:
    """One place: `unic eval A B` computes of the marks what `unic report RUN1 RUN2` computes of the files."""
    both = []
    for path in runs:
        arrays = load_file(path / "predictions.safetensors")
        right = arrays["other/logistic/student"] == arrays["other/labels"]
        both.append(Outcome(right[:, None].astype(np.float64)))
    cells = {"other/logistic": {"one": both[:1], "worse": both[1:]}}
    measured = summarise(cells, {"one": "other", "worse": "other"})["differences"]["tasks"]["other/logistic"]["worse"]
    for path, outcome in zip(runs, both, strict=True):
        results = json.loads((path / "results.json").read_text())
        results["tasks"]["other/logistic"]["student"] |= {"score": outcome.score, "spread": None, "by_seed": None}
        copy = path.parent / f"{path.name} alone"
        shutil.copytree(path, copy, ignore=shutil.ignore_patterns("export"))
        (copy / "results.json").write_text(json.dumps(results))
    found = _compared([path.parent / f"{path.name} alone" for path in runs]).paired.difference("other/logistic", 1, 0)
    np.testing.assert_allclose(found, measured["ci"], atol=2e-3)


def test_both_mean_gains_are_compared(runs: list[Path], tmp_path: Path, outline: Read) -> None:
    """What one evaluation calls unseen is in no mean; the other one, of an older version, has one mean gain."""
    results = json.loads((runs[1] / "results.json").read_text())
    results |= {"unseen": ["shapes/knn", "shapes/logistic"], "mean_gain": -2.5, "mean_gain_ci": [-9.0, 1.0]}
    results |= {"mean_gain_unseen": -12.5, "mean_gain_unseen_ci": [-20.0, -5.0]}
    (runs[1] / "results.json").write_text(json.dumps(results))
    older = Path(shutil.copytree(runs[0], tmp_path / "older", ignore=shutil.ignore_patterns("export")))
    known = json.loads((older / "results.json").read_text())
    (older / "results.json").write_text(json.dumps({key: known[key] for key in known if "unseen" not in key}))
    compared = _compared([older, runs[1]])
    assert compared.mean_tasks() == ["other/knn", "other/logistic"]
    assert "2 seen tasks" in sentence(compared)
    table = compared_table(compared)
    assert table is not None
    assert [row["label"] for row in table["rows"] if "unseen" in row["unit"]] == ["shapes/knn", "shapes/logistic"]
    foot = {row["label"]: [cell["text"] for cell in row["cells"]] for row in table["foot"]}
    assert foot.keys() == {"mean score (seen)", "mean gain (seen)", "mean gain (unseen)"}
    assert foot["mean gain (unseen)"] == ["", "−12.5 %"]
    (note,) = compared.notes()
    assert re.match("shapes/knn, shapes/logistic: .*unseen", note)
    page = write_comparison([older, runs[1]], tmp_path / "page.html").read_text(encoding="utf-8")
    heads = re.findall(r">(Mean (?:gain|rank)<small>\w+)<", page)
    assert heads == ["Mean gain<small>seen", "Mean gain<small>unseen", "Mean rank<small>seen"]
    assert "−20.0 to −5.0 %" in outline(page).words()


def test_a_run_with_unseen_tasks_shares_its_radar_with_an_older_one(runs: list[Path]) -> None:
    results = json.loads((runs[1] / "results.json").read_text())
    (runs[1] / "results.json").write_text(json.dumps({**results, "unseen": ["shapes/knn"]}))
    drawn = collect_runs([read_run(run) for run in runs])["radar"]
    assert drawn is not None
    assert drawn["axis_is"].startswith("a task")
    assert [len(shape.points) for shape in drawn["series"]] == [3, 3]
