import json

import pytest

from unic.errors import InputError
from unic.eval.suite import SUITES, Suite, evaluate_models, load_suite

KEYS = {"models", "tasks", "gain_over_best_teacher", "mean_gain", "protocol"}  # CONTRACT.md
FIXED = {"knn": {"k": 5}, "logistic": {"C": 1.0}}


@pytest.fixture
def suite(coloured):
    return Suite(data=[f"colours={coloured}"], tasks=FIXED, seeds=[0, 1], size=8)


def test_results_have_the_contract_s_keys(suite, colours, tmp_path):
    models = {"student": colours(), "sharp": colours(0.05), "blind": colours(5.0), "again": colours(0.1)}
    roles = {"student": "student", "sharp": "teacher", "blind": "teacher"}
    out = tmp_path / "deep" / "results.json"
    results = evaluate_models(models, roles, suite=suite, out=out, cache=tmp_path / "cache")
    assert set(results) >= KEYS
    assert json.loads(out.read_text()) == results
    assert list(results["tasks"]) == ["colours/knn", "colours/logistic"]
    assert {name: model["role"] for name, model in results["models"].items()} == {
        "student": "student", "sharp": "teacher", "blind": "teacher", "again": "other", "concat": "concat",
    }  # fmt: skip
    assert results["models"]["concat"]["uri"] == "concat:sharp+blind"
    for row in results["tasks"].values():
        for entry in row.values():
            assert set(entry) >= {"score", "spread", "ci"}
            assert 0 <= entry["ci"][0] <= entry["score"] <= entry["ci"][1] <= 100
    assert set(results["best_teacher"].values()) == {"sharp"}
    protocol = results["protocol"]
    assert protocol["counts"] == {"colours": {"train": 60, "test": 30, "classes": 3}}
    assert protocol["tasks"] == FIXED
    assert protocol["seeds"] == [0, 1]
    assert protocol["size"] == 8
    assert "torch" in protocol["versions"]


def test_a_failing_model_is_reported_and_the_rest_is_finished(suite, colours, broken):
    results = evaluate_models(
        {"broken": broken, "fine": colours(), "student": colours(0.01)},
        {"broken": "teacher", "fine": "teacher", "student": "student"},
        suite=suite,
    )
    row = results["tasks"]["colours/knn"]
    assert row["broken"] == {"error": "RuntimeError: out of luck"}
    assert row["concat"] == {"error": "broken: RuntimeError: out of luck"}
    assert row["fine"]["score"] > 90
    assert results["mean_gain"] is not None


def test_a_vit_teacher_is_measured_with_its_patches_too(suite, colours):
    vit = colours()
    vit.has_cls, vit.architecture = True, "vit"
    wide = suite.model_copy(update={"teacher_vector": "cls+patch_mean"})
    models = evaluate_models({"t": vit, "s": vit}, {"t": "teacher", "s": "student"}, suite=wide)["models"]
    assert models["t"]["vector"] == "cls+patch_mean"
    assert models["s"]["vector"] == "cls"


def test_tasks_data_and_seeds_replace_the_suite_s(colours, coloured, suite):
    one = evaluate_models({"m": colours()}, {}, suite=suite, tasks=["knn"], data={"mine": str(coloured)}, seeds=[4])
    assert list(one["tasks"]) == ["mine/knn"]
    assert one["tasks"]["mine/knn"]["m"]["details"][0]["k"] == 5
    alone = evaluate_models({"m": colours()}, {}, tasks=["knn"], data={"mine": str(coloured)})
    assert alone["protocol"]["seeds"] == [0, 1, 2]
    assert alone["tasks"]["mine/knn"]["m"]["spread"] == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tasks": ["kn"]}, "unknown task 'kn'; did you mean 'knn'?"),
        ({"roles": {"m": "techer"}}, "model 'm': unknown role 'techer'; did you mean 'teacher'?"),
        ({"roles": {"n": "teacher"}}, "role of unknown model 'n'"),
        ({"models": {}}, "at least one model"),
        ({"suite": None}, "expected a suite or data"),
        ({"suite": Suite(data=["clipat"])}, "unknown evaluation set 'clipat'; did you mean 'clipart'?"),
        (
            {"suite": Suite(data=["x=y"], tasks={"knn": {"kk": 3}})},
            "task 'knn': unknown option 'kk'; did you mean 'k'?",
        ),
        ({"suite": Suite(data=["x=/nowhere"])}, "data '/nowhere': no such file or folder"),
    ],
)
def test_wrong_input_is_one_line(change, message, suite, colours):
    settings = {"models": {"m": colours()}, "roles": {}, "suite": suite} | change
    with pytest.raises(InputError) as error:
        evaluate_models(settings.pop("models"), settings.pop("roles"), **settings)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_suites_from_names_and_files(tmp_path):
    assert load_suite() is load_suite("quick") is SUITES["quick"]
    assert SUITES["quick"].tasks["logistic"] == {"C": 0.01}
    assert SUITES["samples"].seeds == [0, 1, 2]
    path = tmp_path / "mine.yaml"
    path.write_text("data: [a=b]\ntasks: {knn: {k: 3}}\n")
    assert load_suite(path).tasks == {"knn": {"k": 3}}
    path.write_text("data: [a=b]\nsede: [1]\n")
    with pytest.raises(InputError, match="'sede': .*did you mean 'seeds'"):
        load_suite(path)
    with pytest.raises(InputError, match="unknown suite 'quik'; did you mean 'quick'"):
        load_suite("quik")
