"""Tasks that read models through their kept heads: `tokens: head:T`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unic.errors import InputError, NotApplicableError
from unic.eval.datasets import resolve
from unic.eval.plan import make_plan
from unic.eval.runner import evaluate_models
from unic.eval.subject import Subject
from unic.eval.suite import Entry, Suite

ROLES = {"mine": "student", "t": "teacher"}


@pytest.fixture
def models(colours: Any) -> dict[str, Any]:
    return {"mine": colours(3.0), "t": colours(0.2), "other": colours(0.1)}


def suite_of(coloured: Path, **tasks: Entry) -> Suite:
    return Suite(data=[f"set={coloured}"], tasks=tasks, seeds=[0])


def test_a_student_is_read_through_its_head(
    coloured: Path, models: dict[str, Any], colours: Any, tmp_path: Path
) -> None:
    suite = suite_of(
        coloured,
        knn=Entry(k=3),
        through=Entry(task="knn", k=3, tokens="head:t"),
        noisy=Entry(
            task="robustness", tokens="head:t", probe_options={"C": 1.0}, corruptions=["contrast"], severities=[1]
        ),
    )
    heads = {"mine": {"t": lambda: colours(0.2)}}
    found = evaluate_models(models, ROLES, suite=suite, heads=heads, cache=tmp_path).as_dict()["tasks"]
    for task in ("set/through", "set/noisy"):
        assert found[task]["mine"]["score"] == found[task]["t"]["score"], "the head is as good as its teacher"
        assert "other" not in found[task], "a model without a head has no cell"
    assert found["set/through"]["mine"]["score"] > found["set/knn"]["mine"]["score"] + 5
    assert found["set/through"]["t"]["score"] == found["set/knn"]["t"]["score"]
    worse = {"mine": {"t": lambda: colours(3.5)}}  # another head is another cell
    again = evaluate_models(models, ROLES, suite=suite, heads=worse, cache=tmp_path).as_dict()["tasks"]
    assert again["set/through"]["mine"]["score"] < found["set/through"]["mine"]["score"]


def test_patches_of_a_head_are_read(colours: Any, coloured: Path) -> None:
    subject = Subject(
        "mine", "student", resolve(f"set={coloured}"), lambda: colours(1.0), heads={"t": lambda: colours()}
    )
    through = subject.through("t")
    assert subject.through("t") is through, "features are computed once"
    np.testing.assert_array_equal(through.features("test").cls, subject.features("test", encoder=colours()).cls)
    assert (through.vector, through.fingerprint()) != (subject.vector, subject.fingerprint())
    with pytest.raises(NotApplicableError, match="model 'mine' has no kept head for 'x'"):
        subject.through("x")


def test_a_head_that_no_model_has_is_refused(coloured: Path, models: dict[str, Any], colours: Any) -> None:
    suite = suite_of(coloured, knn=Entry(tokens="head:tt"))
    with pytest.raises(InputError, match="task 'knn': no model has a kept head for 'tt'.*did you mean 't'"):
        evaluate_models(models, ROLES, suite=suite, heads={"mine": {"t": colours}})


@pytest.mark.parametrize(
    ("task", "says"),
    [
        ("knn(tokens='head:')", "'tokens': Input should be 'cls', 'patch_mean', 'cls\\+patch_mean' or 'head:TEACHER'"),
        ("influence(tokens='head:t')", "this task chooses the heads that it reads"),
        ("segmentation(tokens='head:t', blocks=2)", "leave out 'blocks'"),
        ("robustness(tokens=cls)", "option 'tokens' is for tasks on vectors"),
    ],
)
def test_heads_where_they_make_no_sense(coloured: Path, task: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        make_plan(None, task, {"set": str(coloured)})
