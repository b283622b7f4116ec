"""One name, one model: what is given, and what runs bring."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from unic.errors import InputError
from unic.eval import columns
from unic.eval.columns import columns_of
from unic.eval.entrants import enter
from unic.eval.suite import Suite

SUITE = Suite(data=["x=y"])


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Makes a run folder with these teachers, whose student had a pretrained start."""
    monkeypatch.setattr(columns, "build_encoder", lambda _: SimpleNamespace(from_scratch=False))

    def make(name: str, **teachers: str) -> str:
        folder: Path = tmp_path / name
        folder.mkdir(parents=True)
        recipe = {
            "teachers": {"models": teachers},
            "student": {"model": f"timm:start_of_{name}"},
            "data": {"train": "x"},
        }
        (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))
        return str(folder)

    return make


def by_role(found, role):
    return {name: found.models[name] for name, kind in found.roles.items() if kind == role}


def test_a_run_that_is_alone_is_called_student(run):
    found = columns_of({"mine": run("mine", vit="pixels:8", cnn="pixels:4")})
    assert list(found.models) == ["student", "start", "vit", "cnn", "pixels"]
    assert found.given == {"mine": "student"}
    assert found.teachers == {"student": {"vit": "vit", "cnn": "cnn"}}


def test_a_run_named_like_its_teacher_keeps_its_student(run):
    folder = run("vit", vit="pixels:8")
    found = columns_of({"vit": folder, "other": "pixels:2"})
    assert by_role(found, "student") == {"vit": f"run:{folder}"}
    assert by_role(found, "teacher") == {"vit/vit": "pixels:8"}
    assert found.teachers == {"vit": {"vit": "vit/vit"}}


def test_two_runs_with_different_teachers_of_one_name(run):
    found = columns_of({"a": run("a", vit="pixels:8"), "b": run("b", vit="pixels:4")})
    assert by_role(found, "teacher") == {"vit": "pixels:8", "b/vit": "pixels:4"}
    assert by_role(found, "other") == {"start": "timm:start_of_a", "b/start": "timm:start_of_b"}
    assert found.teachers == {"a": {"vit": "vit"}, "b": {"vit": "b/vit"}}


def test_what_is_given_keeps_its_name(run):
    found = columns_of({"a": run("a", dino="pixels:8"), "dino": "pixels:4", "start": "pixels:3", "pixels": "pixels:2"})
    assert [found.models[name] for name in ("dino", "start", "pixels")] == ["pixels:4", "pixels:3", "pixels:2"]
    assert [found.models[name] for name in ("a/dino", "a/start", "a/pixels")] == [
        "pixels:8", "timm:start_of_a", "pixels:32",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["student", "start", "pixels", "concat"])
def test_an_old_run_with_a_reserved_teacher_name_opens(run, name):
    found = columns_of({"old": run("old", **{name: "pixels:8", "vit": "pixels:4"})})
    assert by_role(found, "teacher") == {f"old/{name}": "pixels:8", "vit": "pixels:4"}
    assert by_role(found, "student").keys() == {"student"}
    assert by_role(found, "other") == {"start": "timm:start_of_old"}
    assert by_role(found, "pixels") == {"pixels": "pixels:32"}


def test_a_name_that_is_taken_twice_over_gets_a_number(run):
    found = columns_of({"a": run("a", vit="pixels:8"), "vit": "pixels:4", "a/vit": "pixels:2"})
    assert by_role(found, "teacher") == {"a/vit-2": "pixels:8"}


def test_student_is_a_name_unless_a_run_brings_one(run):
    assert columns_of({"student": "pixels:4"}).models == {"student": "pixels:4"}
    folder = run("a", vit="pixels:8")
    assert columns_of({"student": folder, "b": "pixels:8"}).roles["student"] == "student"
    with pytest.raises(InputError, match="model 'student': run 'a' has a student in the same table; give the model"):
        columns_of({"student": "pixels:4", "a": folder})


def test_heads_follow_their_teacher_and_no_other_model_of_its_name(run):
    """Without the run's teachers a model is its teacher if it has the URI, whatever it is called."""
    folder = run("a", dino="pixels:8", vit="pixels:4")
    found = columns_of({"a": folder, "dino": "pixels:2", "v": "pixels:4"}, teachers=False)
    assert list(found.models) == ["a", "dino", "v"]
    assert found.teachers == {"a": {"dino": "a/dino", "vit": "v"}}


def entered(models, roles, brought, **heads):
    return enter(models, roles, SUITE, heads, brought=brought)


def test_the_same_model_of_two_runs_is_one_column(colours):
    models = {"a": colours(1.0), "b": colours(2.0), "vit": colours(0.1), "b/vit": colours(0.1), "b/cnn": colours(0.2)}
    roles = {"a": "student", "b": "student", "vit": "teacher", "b/vit": "teacher", "b/cnn": "teacher"}
    heads = {"a": {"vit": 1}, "b": {"b/vit": 2, "b/cnn": 3}}
    found = entered(models, roles, {"vit": "a", "b/vit": "b", "b/cnn": "b"}, **heads)
    assert list(found) == ["a", "b", "vit", "b/cnn", "concat"]
    assert found["vit"].facts.also == ["b/vit"]
    assert found["concat"].members == ("vit", "b/cnn")
    assert found["b"].heads == {"vit": 2, "b/cnn": 3}


def test_a_given_model_that_is_a_run_s_teacher_is_that_teacher(colours):
    vit = colours()
    vit.has_cls, vit.architecture = True, "vit"
    wide = SUITE.model_copy(update={"teacher_vector": "cls+patch_mean"})
    models = {"mine": vit, "a": colours(1.0), "vit": vit}
    found = enter(models, {"a": "student", "vit": "teacher"}, wide, brought={"vit": "a"})
    assert list(found) == ["mine", "a"]
    assert (found["mine"].role, found["mine"].vector, found["mine"].name) == ("teacher", "cls+patch_mean", "mine")
    assert found["mine"].facts.role == "teacher"


def test_students_starts_and_equal_teachers_of_one_run_stay(colours):
    models = {"a": colours(), "start": colours(), "vit": colours(), "twin": colours(), "far": colours(3.0)}
    roles = {"a": "student", "vit": "teacher", "twin": "teacher"}
    found = entered(models, roles, {"start": "a", "vit": "a", "twin": "a"})
    assert [(name, one.role) for name, one in found.items()] == [
        ("a", "student"), ("start", "other"), ("vit", "teacher"), ("twin", "teacher"), ("far", "other"),
        ("concat", "concat"),
    ]  # fmt: skip


def test_what_cannot_be_identified_stays(colours):
    """Where something decides the output that is not in the fingerprint, equal ones may be different models."""
    one, two = colours(0.1), colours(0.1)
    one.unknown = two.unknown = "a file that is read when it runs"
    found = entered({"a": colours(), "vit": one, "b/vit": two}, {}, {"vit": "a", "b/vit": "b"})
    assert list(found) == ["a", "vit", "b/vit"]


def test_all_teachers_together_take_no_one_s_name(colours):
    models = {"concat": colours(3.0), "a": colours(0.1), "b": colours(0.2)}
    found = entered(models, {"a": "teacher", "b": "teacher"}, {})
    assert [(name, one.role) for name, one in found.items()] == [
        ("concat", "other"), ("a", "teacher"), ("b", "teacher"), ("concat-2", "concat"),
    ]  # fmt: skip
