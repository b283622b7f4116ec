"""results.json as a contract: files of every version open, what is something else is refused by name."""

import ast
import json
from pathlib import Path

import numpy as np
import pytest
from written import summarise

import unic
from unic import cli
from unic.errors import InputError
from unic.eval.results.schema import VERSION, Cell, Results
from unic.eval.tasks import Outcome

ROOT = Path(__file__).parents[2]
BARE = {"models": {"s": {"role": "student"}}, "tasks": {"a/knn": {"s": {"score": 50.0}}}}


def kept_results():
    """The results of evaluations among the files of benchmarks, those of earlier versions too."""
    trees = {file: json.loads(file.read_text()) for file in sorted((ROOT / "benchmarks/results").rglob("*.json"))}
    return {file: tree for file, tree in trees.items() if isinstance(tree, dict) and {"models", "tasks"} <= set(tree)}


KEPT = kept_results()


def test_results_of_versions_with_and_without_unseen_sets_are_kept():
    assert {"unseen" in tree for tree in KEPT.values()} == {True, False}


@pytest.mark.parametrize("file", KEPT, ids=lambda file: file.name)
def test_kept_results_open_and_are_written_as_they_were(file):
    results = Results.read(file)
    assert results.as_dict() == KEPT[file]
    known = set(Results.model_fields)
    assert set(KEPT[file]) <= known, "a key without a description"


def test_what_an_evaluation_writes_has_every_key_that_earlier_ones_had():
    """The quickstart's results of an earlier version are the oracle, level by level."""
    earlier = KEPT[ROOT / "benchmarks/results/quickstart.json"]
    marks = np.arange(40)[:, None] % 3 > 0
    row = {name: [Outcome(marks * share), Outcome(marks[::-1] * share)] for name, share in (("s", 1.0), ("t", 0.9))}
    cells = {"a/knn": row, "b/knn": row, "a/logistic": row}
    found = summarise(cells, {"s": "student", "t": "teacher"}, axes={"all": ["*"]}, unseen=["b/knn"])
    assert next(iter(found)) == "version"
    beside = {"models", "influence", "protocol", "duration_s"}  # the runner's
    assert [key for key in found if key != "version"] == [key for key in earlier if key not in beside]
    cell, was = found["tasks"]["a/knn"]["s"], earlier["tasks"]["clipart/knn"]["student"]
    assert list(cell) == list(was)
    for key in ("measures", "mean_gains", "mean_gains_unseen"):
        assert {name for entry in found[key].values() for name in entry} == {
            name for entry in earlier[key].values() for name in entry
        }
    assert found["single_teacher"].keys() == earlier["single_teacher"].keys()
    assert set(found["axes"]["all"]) == {"tasks", "scores", "best_teacher", "gains", "gain", "ci"}


def test_files_without_a_number_and_with_keys_of_later_versions_open():
    tree = {**BARE, "mean_luck": 1.0}
    results = Results.load(tree)
    assert (results.version, results.mean_gain, results.protocol.seeds) == (0, None, [])
    assert results.tasks["a/knn"]["s"] == Cell(score=50.0)
    assert results.as_dict() == tree


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        ([], ": expected a JSON object"),
        ({"machine": {}, "rows": []}, ": 'models': Field required"),
        ({**BARE, "models": {"s": 3}}, ": 'models.s': expected a JSON object"),
        ({**BARE, "models": {"s": {"role": "boss"}}}, ": 'models.s.role': Input should be 'student', 'teacher'"),
        (
            {**BARE, "tasks": {"a/knn": {"s": {"score": "50"}}}},
            ": 'tasks.a/knn.s.score': Input should be a valid number",
        ),
        ({**BARE, "mean_gain_ci": [1.0]}, ": 'mean_gain_ci': List should have at least 2 items"),
        ({**BARE, "protocol": "none"}, ": 'protocol': expected a JSON object"),
        ({**BARE, "version": VERSION + 1}, f" has format {VERSION + 1}, and this version of unic reads"),
    ],
)
def test_another_file_is_refused_with_its_path_and_key(tree, said, tmp_path):
    file = tmp_path / "results.json"
    file.write_text(json.dumps(tree))
    with pytest.raises(InputError) as error:
        Results.read(file)
    assert str(error.value).startswith(str(file))
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [None, "", "{", "[" * 200_000, "\xff"])
def test_a_file_that_cannot_be_read_is_named(content, tmp_path):
    file = tmp_path / "results.json"
    if content is not None:
        file.write_text(content, encoding="latin-1")
    with pytest.raises(InputError, match=r"results\.json cannot be read: "):
        Results.read(file)


def test_the_command_line_prints_the_schema_and_every_key_is_described(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["unic", "schema", "results"])
    cli.main()
    tree = json.loads(capsys.readouterr().out)
    assert set(tree["properties"]) == set(Results.model_fields)
    assert tree["required"] == ["models", "tasks"]
    for part in (tree, *tree["$defs"].values()):
        assert all(key.get("description") for key in (part, *part["properties"].values())), part["title"]


@pytest.mark.parametrize(
    ("words", "said"), [(["result"], "did you mean 'results'?"), (["results", "--markdown"], "recipe")]
)
def test_wrong_words_after_schema_are_one_line(words, said, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["unic", "schema", *words])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 2
    assert said in capsys.readouterr().err


def test_keys_are_spelt_in_the_schema_alone():
    """Only names that mean nothing else: a reader that spells one reads the JSON past the contract."""
    package = Path(unic.__file__).parent
    keys = {key for part in (Results, Cell) for key in part.model_fields if "_" in key}
    spelt = [
        f"{file.relative_to(package)}: {node.value}"
        for file in sorted(package.rglob("*.py"))
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and node.value in keys
    ]
    assert spelt == ["eval/runner.py: duration_s"]  # written with what the runner adds
