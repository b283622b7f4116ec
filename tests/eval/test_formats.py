import csv
import io
import json
from pathlib import Path

import pytest

from unic.errors import InputError
from unic.eval.results.formats import check_targets, to_csv, to_latex, to_markdown, write_results
from unic.eval.results.schema import Results


@pytest.fixture
def results():
    cell = {"score": 44.72, "spread": 0.1, "ci": [40.0, 50.0]}
    return {
        "models": {"student": {"role": "student"}, "a_b": {"role": "teacher"}},
        "tasks": {
            "clipart/knn": {"student": cell, "a_b": cell},
            "nyud/depth": {
                "student": {"score": 0.3651, "spread": 0.0, "ci": [0.3, 0.4]},
                "a_b": {"error": "no | luck"},
            },
        },
        "descriptions": {"clipart/spectrum": {"student": {"score": 35.24, "spread": 0.0, "ci": [30, 40]}}},
        "measures": {
            "clipart/knn": {"name": "top-1 %", "lower_is_better": False},
            "nyud/depth": {"name": "RMSE m", "lower_is_better": True},
            "clipart/spectrum": {"name": "effective rank", "lower_is_better": False},
        },
        "best_teacher": {"clipart/knn": "a_b"},
        "gain_over_best_teacher": {"clipart/knn": 12.34},
        "gain_ci": {"clipart/knn": [0.9, 23.8]},
        "gains": {"student": {"clipart/knn": 12.34}},
        "difference_ci": {"clipart/knn": [1, 2]},
        "mean_gain": None,
        "axes": {"all": {"gains": {"student": 3.0, "a_b": 0.0}, "best_teacher": "a_b", "gain": 3.0, "ci": [1, 5]}},
        "ranks": {"student": 1.0, "a_b": 2.0},
    }


def test_markdown_names_measures_axes_and_ranks(results):
    lines = to_markdown(Results.load(results)).splitlines()
    assert lines[0] == "| score \\[95 % interval\\] | student | a_b | gain % |"
    assert lines[2] == "| clipart/knn top-1 % | **44.7** [40.0, 50.0] | *44.7* [40.0, 50.0] | +12.3 [+0.9, +23.8] |"
    assert lines[3] == "| nyud/depth RMSE m ↓ | 0.365 [0.3, 0.4] | failed |  |"
    assert "| all, gain % | +3.0 | *±0.0* | **+3.0** [+1.0, +5.0] |" in lines
    assert "| mean rank | 1.0 | 2.0 |  |" in lines
    assert lines[-1] == "| clipart/spectrum (effective rank) | 35.2 [30, 40] | – |  |"


def test_csv_has_a_line_for_each_cell(results):
    rows = list(csv.DictReader(io.StringIO(to_csv(Results.load(results)))))
    assert len(rows) == 5
    first, _, depth, failed, spectrum = rows
    assert (first["set"], first["task"], first["score"], first["gain_percent"]) == ("clipart", "knn", "44.72", "12.34")
    assert (depth["measure"], depth["ci_low"]) == ("RMSE m", "0.3")
    assert (failed["score"], failed["error"]) == ("", "no | luck")
    assert spectrum["task"] == "spectrum"


def test_latex_escapes_and_balances(results):
    text = to_latex(Results.load(results))
    assert r"a\_b" in text
    ends = r"{\scriptsize [40.0, 50.0]}"
    own, best = rf"\textbf{{44.7}} {ends}", rf"\underline{{44.7}} {ends}"
    assert rf"{own} & {best} & +12.3 {{\scriptsize [+0.9, +23.8]}} \\" in text
    assert r"score {[}95 \% interval]" in text
    assert r"nyud/depth RMSE m $\downarrow$" in text
    assert text.startswith(r"\begin{tabular}{lrrr}")
    body = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert {line.count("&") for line in body} == {3}


def test_files_are_written_by_suffix(results, tmp_path):
    for name in ("deep/r.json", "r.csv", "r.md", "r.tex"):
        write_results(Results.load(results), tmp_path / name)
    assert json.loads((tmp_path / "deep" / "r.json").read_text()) == results
    assert (tmp_path / "r.tex").read_text() == to_latex(Results.load(results))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["deep", "r.csv", "r.md", "r.tex"]


def test_wrong_targets_are_refused(tmp_path):
    with pytest.raises(InputError, match="'.jsn'.*'.json'"):
        check_targets([tmp_path / "r.jsn"])
    (tmp_path / "x.json").mkdir()
    with pytest.raises(InputError, match="is a folder"):
        check_targets([Path(tmp_path / "x.json")])


def test_latex_has_minus_signs_and_one_rule_above_the_summary(results):
    results["gain_over_best_teacher"]["clipart/knn"], results["gain_ci"]["clipart/knn"] = -1.5, [-4.0, 1.0]
    text = to_latex(Results.load(results))
    assert r"\textminus{}1.5 {\scriptsize [\textminus{}4.0, +1.0]}" in text
    assert text.count(r"\midrule") == 2


def test_csv_has_the_differences_to_the_first_model(results):
    assert "compared_with" not in to_csv(Results.load(results))
    difference = {"difference": -2.0, "ci": [-5.5, 1.5]}
    results["differences"] = {"to": "student", "tasks": {"clipart/knn": {"a_b": difference}}, "means": {}, "mean": {}}
    rows = list(csv.DictReader(io.StringIO(to_csv(Results.load(results)))))
    columns = ("compared_with", "difference", "difference_low", "difference_high")
    assert [rows[1][name] for name in columns] == ["student", "-2.0", "-5.5", "1.5"]
    assert [rows[0][name] for name in columns] == [""] * 4
