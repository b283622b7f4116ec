import numpy as np
import pytest

from unic.eval.results import summarise
from unic.eval.tasks import Outcome

ROLES = {"student": "student", "a": "teacher", "b": "teacher", "concat": "concat", "start": "other"}


def outcome(share, count=400):
    correct = np.zeros(count)
    correct[: round(share * count)] = 1
    return Outcome(correct[:, None])


def cells():
    cats = {"student": 0.66, "a": 0.6, "b": 0.5, "concat": 0.9, "start": 0.3}
    dogs = {"student": 0.45, "a": 0.4, "b": 0.5, "concat": 0.7, "start": 0.5}
    tables = {"cats/knn": cats, "dogs/knn": dogs}
    return {task: {name: [outcome(share)] for name, share in row.items()} for task, row in tables.items()}


def test_gain_is_relative_to_the_best_single_teacher_of_each_task():
    result = summarise(cells(), ROLES)
    assert result["best_teacher"] == {"cats/knn": "a", "dogs/knn": "b"}
    assert result["gain_over_best_teacher"] == pytest.approx({"cats/knn": 10, "dogs/knn": -10})
    assert result["mean_gain"] == pytest.approx(0)
    assert result["gains"]["start"] == pytest.approx({"cats/knn": -50, "dogs/knn": 0})
    assert result["gains"]["concat"] == pytest.approx({"cats/knn": 50, "dogs/knn": 40})
    assert result["mean_gains"]["start"]["gain"] == pytest.approx(-25)
    assert "a" not in result["gains"]


def test_intervals_hold_their_values_and_say_who_beats_whom():
    result = summarise(cells(), ROLES)
    low, high = result["tasks"]["cats/knn"]["student"]["ci"]
    assert low < 66 < high
    assert result["difference_ci"]["cats/knn"][0] > 0
    assert result["difference_ci"]["dogs/knn"][1] < 0
    assert result["mean_gain_ci"][0] < 0 < result["mean_gain_ci"][1]


def test_spread_is_the_sample_deviation_over_seeds():
    runs = [outcome(0.6), outcome(0.7), outcome(0.8)]
    result = summarise({"cats/knn": {"a": runs}}, {"a": "teacher"})
    entry = result["tasks"]["cats/knn"]["a"]
    assert entry["score"] == pytest.approx(70)
    assert entry["spread"] == pytest.approx(10)
    assert result["mean_gain"] is None  # no student
    assert result["gain_over_best_teacher"] == {}


def test_a_failed_cell_is_named_and_leaves_no_mean():
    table = cells()
    table["dogs/knn"]["student"] = "RuntimeError: out of luck"
    result = summarise(table, ROLES)
    assert result["tasks"]["dogs/knn"]["student"] == {"error": "RuntimeError: out of luck"}
    assert set(result["gain_over_best_teacher"]) == {"cats/knn"}
    assert result["mean_gain"] is None
    assert result["mean_gains"]["concat"]["gain"] == pytest.approx(45)


def test_a_failed_teacher_is_not_the_best_one():
    table = cells()
    table["cats/knn"]["a"] = "broken"
    result = summarise(table, ROLES)
    assert result["best_teacher"]["cats/knn"] == "b"
    assert result["gain_over_best_teacher"]["cats/knn"] == pytest.approx(32)


def test_single_teacher_is_the_one_with_the_highest_mean():
    single = summarise(cells(), ROLES)["single_teacher"]
    assert (single["name"], single["score"], single["student"]) == ("a", pytest.approx(50), pytest.approx(55.5))
    assert 0 < single["difference_ci"][0] < 5.5 < single["difference_ci"][1]


def test_no_single_teacher_without_a_whole_row():
    table = cells()
    table["dogs/knn"]["student"] = "RuntimeError: out of luck"
    assert summarise(table, ROLES)["single_teacher"] is None
