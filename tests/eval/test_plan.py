"""What is measured on which set: seen and unseen ones, with the tasks of each."""

import pytest
from written import evaluate_models

from unic.errors import InputError
from unic.eval.plan import make_plan
from unic.eval.suite import Entry, Suite

TASKS = {"knn": Entry(k=20), "logistic": Entry(C=1.0), "spectrum": Entry()}
OWN = {"knn": Entry(k=5), "logistic": Entry(C=0.01)}


@pytest.fixture
def sets(coloured):
    """Two names of one set, which is allowed: nothing is trained here."""
    return {"data": [f"old={coloured}"], "unseen": [f"new={coloured}"]}


def rows(plan):
    return {row.title: (row.entry.options, row.is_unseen) for row in plan.rows}


def test_unseen_sets_are_measured_by_the_tasks_of_the_suite_or_by_their_own(sets):
    shared = rows(make_plan(Suite(**sets, tasks=TASKS)))
    assert list(shared) == [f"{name}/{task}" for name in ("old", "new") for task in TASKS]
    assert shared["new/knn"] == ({"k": 20}, True)
    own = rows(make_plan(Suite(**sets, tasks=TASKS, unseen_tasks=OWN)))
    assert list(own) == ["old/knn", "old/logistic", "old/spectrum", "new/knn", "new/logistic"]
    assert (own["old/knn"], own["new/knn"]) == (({"k": 20}, False), ({"k": 5}, True))


def test_a_task_may_name_unseen_sets(sets):
    tasks = {"knn": Entry(data=sets["data"]), "near": Entry(task="knn", k=1, data=sets["unseen"])}
    assert list(rows(make_plan(Suite(**sets, tasks=tasks)))) == ["old/knn", "new/near"]
    with pytest.raises(InputError, match="task 'knn': no set 'old=.*' in the suite"):
        make_plan(Suite(**sets, tasks=TASKS, unseen_tasks={"knn": Entry(data=sets["data"])}))


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("knn", {"old/knn": {"k": 20}, "new/knn": {"k": 5}}),
        ("knn(k=3)", {"old/knn(k=3)": {"k": 3}, "new/knn(k=3)": {"k": 3}}),
        ("retrieval", {"old/retrieval": {}, "new/retrieval": {}}),
        ("spectrum", {"old/spectrum": {}}),  # the suite has it, and not for unseen sets
    ],
)
def test_a_task_that_is_asked_for_keeps_what_each_kind_of_set_has(sets, asked, found):
    plan = make_plan(Suite(**sets, tasks=TASKS, unseen_tasks=OWN), asked)
    assert {title: options for title, (options, _) in rows(plan).items()} == found


def test_sets_of_the_command_take_the_place_of_unseen_ones_too(sets, coloured):
    plan = make_plan(Suite(**sets, tasks=TASKS, unseen_tasks=OWN), data={"mine": str(coloured)})
    assert {row.pair.name for row in plan.rows} == {"mine"}
    assert plan.unseen == []


def test_results_name_the_unseen_tasks_and_how_they_were_measured(sets, colours):
    suite = Suite(**sets, tasks={"knn": Entry(k=20)}, unseen_tasks={"knn": Entry(k=5)}, size=8, seeds=[0])
    results = evaluate_models(
        {"s": colours(0.3), "t": colours()}, {"s": "student", "t": "teacher"}, suite=suite
    )  # fmt: skip
    assert results["unseen"] == ["new/knn"]
    assert results["mean_gain"] == results["gain_over_best_teacher"]["old/knn"]
    assert results["mean_gain_unseen"] == results["gain_over_best_teacher"]["new/knn"]
    assert results["tasks"]["new/knn"]["s"]["details"][0]["k"] == 5
    protocol = results["protocol"]
    assert (protocol["unseen"], protocol["unseen_tasks"]) == (sets["unseen"], {"knn": {"k": 5}})
    assert protocol["counts"]["new"]["test"] == 30
