import errno
import functools
import io
import json
import re
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console
from safetensors.numpy import load_file
from written import evaluate_models

from unic.errors import InputError
from unic.eval import cells
from unic.eval.suite import Entry, Suite
from unic.eval.tasks import NotApplicableError, knn, logistic
from unic.features import store as _feature_store

KEYS = {"models", "tasks", "gain_over_best_teacher", "mean_gain", "protocol"}  # CONTRACT.md
FIXED = {"knn": Entry(k=5), "logistic": Entry(C=1.0)}


@pytest.fixture
def suite(coloured):
    return Suite(data=[f"colours={coloured}"], tasks=FIXED, seeds=[0, 1], size=8)


def test_results_have_the_contract_s_keys(suite, colours, tmp_path):
    models = {"student": colours(), "sharp": colours(0.05), "blind": colours(5.0), "again": colours(0.1)}
    roles = {"student": "student", "sharp": "teacher", "blind": "teacher"}
    out = tmp_path / "deep" / "results.json"
    results = evaluate_models(models, roles, suite=suite, out=[out], cache=tmp_path / "cache")
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
    assert protocol["tasks"] == {"knn": {"k": 5}, "logistic": {"C": 1.0}}
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
    assert row["concat"] == {"error": "RuntimeError: out of luck"}
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
    assert alone["tasks"]["mine/knn"]["m"]["spread"] is None  # nothing is drawn


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tasks": ["kn"]}, "'kn'.*'knn'"),
        ({"roles": {"m": "techer"}}, "'m'.*'techer'.*'teacher'"),
        ({"roles": {"n": "teacher"}}, "role.*'n'"),
        ({"models": {}}, "at least one model"),
        ({"suite": None}, "suite or data"),
        ({"suite": Suite(data=["clipat"])}, "'clipat'.*'clipart'"),
        (
            {"suite": Suite(data=["x=y"], tasks={"knn": Entry(kk=3)})},
            "'knn'.*'kk'.*'k'",
        ),
        ({"suite": Suite(data=["x=/nowhere"])}, "data '/nowhere'"),
    ],
)
def test_wrong_input_is_one_line(change, message, suite, colours):
    settings = {"models": {"m": colours()}, "roles": {}, "suite": suite} | change
    with pytest.raises(InputError) as error:
        evaluate_models(settings.pop("models"), settings.pop("roles"), **settings)
    assert re.search(message, str(error.value))
    assert "\n" not in str(error.value)


@pytest.fixture
def counted(monkeypatch):
    """How often the two probes have run."""
    calls = []
    for module in (knn, logistic):
        monkeypatch.setattr(module, "run", _counting(module.run, calls))
    return calls


def _counting(run, calls):
    @functools.wraps(run)
    def wrapped(*args, **options):
        calls.append(run.__module__.rpartition(".")[2])
        return run(*args, **options)

    return wrapped


def test_what_is_finished_is_never_measured_again(suite, colours, counted, tmp_path):
    first = evaluate_models({"a": colours()}, {}, suite=suite, cache=tmp_path)
    assert counted == ["knn", "logistic", "logistic"]  # knn draws nothing: one outcome stands for both seeds
    more = suite.model_copy(update={"seeds": [0, 1, 2]})
    both = evaluate_models({"a": colours(), "b": colours(0.3)}, {}, suite=more, cache=tmp_path)
    assert counted[3:].count("knn") == 1
    assert counted[3:].count("logistic") == 1 + 3
    assert both["tasks"]["colours/knn"]["a"]["score"] == first["tasks"]["colours/knn"]["a"]["score"]
    changed = suite.model_copy(update={"tasks": {"knn": Entry(k=3)}, "seeds": [0]})
    evaluate_models({"a": colours()}, {}, suite=changed, cache=tmp_path)
    assert counted[8:] == ["knn"]


def test_whatever_decides_a_cell_is_in_its_name(colours, tmp_path, monkeypatch, trust):
    from unic.data.sources.arrays import Arrays
    from unic.eval import datasets

    pixels = np.random.default_rng(0).integers(0, 255, (40, 8, 8, 3), dtype=np.uint8)
    labels = [np.arange(20) % 2]

    def load(root, **_):
        return datasets.DataPair(
            "made", *(Arrays("made", half, labels[0], ["a", "b"]) for half in (pixels[:20], pixels[20:]))
        )

    monkeypatch.setitem(sys.modules, "lab.made", SimpleNamespace(load=load))
    trust("lab.made")
    head, student, one, two = colours(0.1), colours(), colours(0.2), colours(5.0)
    models = {"s": student, "a": one, "b": two}

    def measured(task="influence", **named):
        results = evaluate_models(
            {**models, **named}, {"s": "student", **{name: "teacher" for name in {**models, **named} if name != "s"}},
            suite=Suite(data=["lab.made"], tasks={task: Entry()}, seeds=[0], size=8), cache=tmp_path,
            heads={"s": {"a": lambda: head}},
        )  # fmt: skip
        return {**results["tasks"], **results["descriptions"]}[f"made/{task}"]["s"]["details"][0]

    first = measured()["teachers"]
    swapped = measured(a=two, b=one)["teachers"]
    assert {name: entry["cka_cls"] for name, entry in swapped.items()} == {
        "a": first["b"]["cka_cls"], "b": first["a"]["cka_cls"],
    }  # fmt: skip
    head = colours(3.0)
    assert measured()["teachers"]["a"]["cosine_cls"] != first["a"]["cosine_cls"]
    by_k = measured("knn")
    labels[0] = 1 - np.arange(20) // 10
    assert measured("knn") != by_k
    kept = len(list((tmp_path / "cells").iterdir()))
    monkeypatch.setattr(cells, "FORMAT", -1)
    measured("knn")
    assert len(list((tmp_path / "cells").iterdir())) > kept


OWN_TASK = """
import numpy as np
from unic.eval.tasks import Outcome

INPUT = "subject"
CALLS = []

def run(subject, *, seed=0):
    CALLS.append(subject.name)
    cls = sum(float(teacher.features("test").cls.sum()) for teacher in subject.teachers.values())
    return Outcome(np.zeros((30, 1)), details={"sum": cls, "teachers": list(subject.teachers)})
"""


def _own_task(tmp_path, monkeypatch, trust, text):
    name = f"lab_{tmp_path.name}.task"
    trust(name)
    (tmp_path / name.partition(".")[0]).mkdir()
    (tmp_path / name.partition(".")[0] / "task.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))

    def measured(suite, student, **teachers):
        roles = {"student": "student", **dict.fromkeys(teachers, "teacher")}
        results = evaluate_models(
            {"student": student, **teachers}, roles, suite=suite.model_copy(update={"tasks": {name: Entry()}}),
            cache=tmp_path / "cache",
        )  # fmt: skip
        return results["tasks"][f"colours/{name}"]["student"]["details"][0]

    return measured


def test_what_a_task_of_one_s_own_reads_decides(suite, colours, tmp_path, monkeypatch, trust):
    measured = _own_task(tmp_path, monkeypatch, trust, OWN_TASK)
    first = measured(suite, colours(), a=colours(0.1))
    other = measured(suite, colours(), a=colours(5.0))
    assert first["sum"] != other["sum"]
    assert measured(suite, colours(), b=colours(0.1))["teachers"] == ["b"]
    assert measured(suite, colours(), a=colours(0.1)) == first


def test_what_is_not_in_the_key_a_task_is_not_given(suite, colours, tmp_path, monkeypatch, trust):
    measured = _own_task(tmp_path, monkeypatch, trust, f"READS_TEACHERS = False\n{OWN_TASK}")
    assert measured(suite, colours(), a=colours(0.1))["teachers"] == []


def test_cells_of_unknown_code_are_measured_each_time(suite, colours, counted, tmp_path, caplog):
    for _ in range(2):
        unknown = colours(0.1)
        unknown.uri, unknown.unknown = "py:lab:net", "code in no file"
        results = evaluate_models({"m": unknown}, {}, suite=suite, cache=tmp_path)
        assert results["tasks"]["colours/knn"]["m"]["score"] > 50
    assert counted == ["knn", "logistic", "logistic"] * 2
    assert not list(tmp_path.rglob("*.safetensors"))
    (message,) = caplog.messages
    assert re.match("py:lab:net: .*code in no file", message)


def test_a_cache_that_cannot_be_written_is_read(suite, colours, counted, tmp_path, monkeypatch, caplog):
    """Root may write anywhere, so the system is not asked."""
    first = evaluate_models({"a": colours()}, {}, suite=suite, cache=tmp_path)
    kept = sorted(tmp_path.rglob("*"))

    def refused_below(function):
        def refusing(path, *rest):
            if tmp_path in Path(path).parents:
                raise PermissionError(errno.EACCES, "no")
            return function(path, *rest)

        return refusing

    monkeypatch.setattr(_feature_store, "FileLock", refused_below(_feature_store.FileLock))
    monkeypatch.setattr(cells, "write_bytes", refused_below(cells.write_bytes))
    both = evaluate_models({"a": colours(), "b": colours(0.3)}, {}, suite=suite, cache=tmp_path)
    assert both["tasks"]["colours/knn"]["a"] == first["tasks"]["colours/knn"]["a"]
    assert "score" in both["tasks"]["colours/knn"]["b"]
    assert counted == ["knn", "logistic", "logistic"] * 2
    assert sorted(tmp_path.rglob("*")) == kept
    (message,) = caplog.messages
    assert message.startswith(f"cache {tmp_path} cannot be written")


def test_a_task_asked_for_by_name_that_measures_nothing_says_why(suite, colours):
    console = Console(file=io.StringIO(), width=200)
    evaluate_models({"m": colours()}, {}, suite=suite, tasks=["knn", "influence"], console=console)
    assert re.search(r"colours/influence: .*no teacher", console.file.getvalue())
    assert "knn" not in console.file.getvalue()


def test_weights_under_two_names_fail_under_both(suite, broken, colours):
    row = evaluate_models({"b1": broken, "b2": broken, "ok": colours()}, {}, suite=suite)["tasks"]["colours/knn"]
    assert row["b1"] == row["b2"] == {"error": "RuntimeError: out of luck"}
    assert row["ok"]["score"] > 50


def test_predictions_that_nobody_asked_for_cost_nothing(suite, colours, tmp_path):
    cache = tmp_path / "cache"
    evaluate_models({"m": colours()}, {}, suite=suite, cache=cache)
    for entry in cache.iterdir():
        if entry.name != "cells":
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    encoder = colours()
    encoder.encode = None  # any forward pass fails
    evaluate_models({"m": encoder}, {}, suite=suite, cache=cache, out=[tmp_path / "r.json"])
    assert (tmp_path / "r.json").exists()


def test_a_killed_evaluation_goes_on(suite, colours, counted, monkeypatch, tmp_path):
    real, seen = logistic.run, []

    @functools.wraps(real)
    def killed(*args, **options):
        seen.append(options["seed"])
        if len(seen) == 2:
            raise KeyboardInterrupt
        return real(*args, **options)

    monkeypatch.setattr(logistic, "run", killed)
    with pytest.raises(KeyboardInterrupt):
        evaluate_models({"a": colours()}, {}, suite=suite, cache=tmp_path)
    results = evaluate_models({"a": colours()}, {}, suite=suite, cache=tmp_path)
    assert seen == [0, 1, 1]
    assert counted.count("knn") == 1
    assert results["tasks"]["colours/logistic"]["a"]["score"] > 50


def test_several_processes_measure_the_same(suite, tmp_path):
    models = {"fine": "pixels:8", "coarse": "pixels:2"}
    roles = {"fine": "teacher", "coarse": "teacher"}
    alone = evaluate_models(models, roles, suite=suite, cache=tmp_path / "1")
    pooled = evaluate_models(models, roles, suite=suite, cache=tmp_path / "2", jobs=2)
    assert pooled["tasks"] == alone["tasks"]
    assert set(pooled["tasks"]["colours/knn"]) == {"fine", "coarse", "concat"}


def test_predictions_are_written_beside_the_results(suite, colours, tmp_path):
    results = evaluate_models({"a": colours()}, {}, suite=suite, out=[tmp_path / "r.safetensors"])
    stored = load_file(tmp_path / "r.safetensors")
    assert set(stored) == {f"colours/{key}" for key in ("index", "labels", "knn/a", "logistic/a")}
    right = stored["colours/knn/a"] == stored["colours/labels"]
    assert 100 * right.mean() == pytest.approx(results["tasks"]["colours/knn"]["a"]["score"])


def test_tokens_of_a_task_are_for_every_model(suite, colours):
    both = suite.model_copy(update={"tasks": {"knn": Entry(), "wide": Entry(task="knn", tokens="patch_mean")}})
    results = evaluate_models({"a": colours(5.0)}, {}, suite=both)
    assert results["tasks"]["colours/wide"]["a"]["score"] > results["tasks"]["colours/knn"]["a"]["score"] + 20


def test_a_task_that_does_not_apply_leaves_an_empty_cell(suite, colours, monkeypatch):
    real = knn.run

    def run(train, test, *, seed=0, k=20):
        if train.x.shape[1] == 6:
            raise NotApplicableError("not for two at once")
        return real(train, test, k=k)

    monkeypatch.setattr(knn, "run", run)
    roles = {"a": "teacher", "b": "teacher"}
    results = evaluate_models({"a": colours(), "b": colours(0.1)}, roles, suite=suite)
    assert set(results["tasks"]["colours/knn"]) == {"a", "b"}
    assert set(results["tasks"]["colours/logistic"]) == {"a", "b", "concat"}


def test_sets_that_are_not_here_can_be_left_out(suite, colours):
    more = suite.model_copy(update={"data": ["gone=/nowhere", *suite.data]})
    results = evaluate_models({"a": colours()}, {}, suite=more, skip_missing=True)
    assert list(results["tasks"]) == ["colours/knn", "colours/logistic"]
    assert list(results["protocol"]["missing"]) == ["gone=/nowhere"]


def test_axes_hold_the_gain_over_their_own_best_teacher(suite, colours):
    named = suite.model_copy(update={"axes": {"all": ["*/knn", "colours/logistic"], "none": ["x/*"]}})
    models = {"s": colours(), "a": colours(0.3), "b": colours(0.2)}
    roles = {"s": "student", "a": "teacher", "b": "teacher"}
    axes = evaluate_models(models, roles, suite=named)["axes"]
    assert list(axes) == ["all"]
    assert axes["all"]["best_teacher"] == "b"
    assert axes["all"]["gains"]["b"] == 0
    assert axes["all"]["ci"][0] <= axes["all"]["gain"] <= axes["all"]["ci"][1]
