import numpy as np
import pytest
from written import summarise

from unic.eval.tasks import Measure, Outcome, depth

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


RMSE = Measure("RMSE", lambda means: np.sqrt(means[:, 0]), lower_is_better=True)
RANK = Measure("rank", lambda means: means[:, 0], is_score=False)


def test_an_error_turns_the_sign():
    errors = {
        name: [Outcome(np.full((50, 1), value**2), RMSE)] for name, value in {"s": 0.4, "a": 0.5, "b": 0.8}.items()
    }
    roles = {"s": "student", "a": "teacher", "b": "teacher"}
    result = summarise({"rooms/depth": errors}, roles, {"rooms/depth": RMSE})
    assert result["tasks"]["rooms/depth"]["s"]["score"] == pytest.approx(0.4)
    assert result["best_teacher"] == {"rooms/depth": "a"}
    assert result["mean_gain"] == pytest.approx(20)
    assert result["difference_ci"]["rooms/depth"] == pytest.approx([0.1, 0.1])
    assert result["ranks"] == {"s": 1, "a": 2, "b": 3}
    assert result["single_teacher"] is None  # a mean over percentages only
    assert result["measures"]["rooms/depth"] == {"name": "RMSE", "lower_is_better": True}


def test_a_score_is_reduced_for_each_seed_and_resample():
    rng = np.random.default_rng(0)
    seeds = [Outcome(rng.random((60, 2)), Measure("ratio %", lambda means: 100 * means[:, 0] / means[:, 1]))] * 2
    entry = summarise({"a/b": {"m": seeds}}, {"m": "other"}, {"a/b": seeds[0].measure})["tasks"]["a/b"]["m"]
    assert entry["score"] == pytest.approx(100 * seeds[0].marks[:, 0].sum() / seeds[0].marks[:, 1].sum(), abs=1e-3)
    assert entry["ci"][0] < entry["score"] < entry["ci"][1]


def test_a_task_that_draws_nothing_has_no_seed_interval():
    """Whether it has one outcome or the same one for every seed; and one seed of a task that draws tells nothing."""
    for runs in ([outcome(0.6)], [outcome(0.6)] * 3):
        entry = summarise({"a/b": {"m": runs}}, {"m": "other"})["tasks"]["a/b"]["m"]
        assert (entry["spread"], entry["seed_ci"], entry["by_seed"]) == (None, None, None)


def test_seeds_have_student_s_interval():
    entry = summarise({"a/b": {"m": [outcome(0.6), outcome(0.7), outcome(0.8)]}}, {"m": "other"})["tasks"]["a/b"]["m"]
    assert entry["seed_ci"] == pytest.approx([70 - 4.303 * 10 / 3**0.5, 70 + 4.303 * 10 / 3**0.5], abs=0.01)


def test_descriptions_are_never_compared():
    table = cells() | {"cats/rank": {name: [Outcome(np.full((400, 1), 7.0), RANK)] for name in ROLES}}
    result = summarise(table, ROLES, {"cats/rank": RANK})
    assert list(result["tasks"]) == ["cats/knn", "dogs/knn"]
    assert result["descriptions"]["cats/rank"]["a"]["score"] == 7
    assert set(result["best_teacher"]) == {"cats/knn", "dogs/knn"}
    assert result["mean_gain"] == pytest.approx(0)


def test_equal_scores_share_their_rank():
    ranks = summarise(cells(), ROLES)["ranks"]
    assert ranks == {"concat": 1, "student": 3, "a": 4, "b": 3.25, "start": 3.75}


def test_the_best_teacher_of_an_axis_is_one_teacher():
    axis = summarise(cells(), ROLES, axes={"pets": ["cats/*", "dogs/*"]})["axes"]["pets"]
    assert axis["best_teacher"] == "b"  # a: 0 and -20, b: -16.7 and 0
    assert axis["gains"]["b"] == 0
    assert axis["gain"] == pytest.approx((100 * 0.16 / 0.5 - 10) / 2)


def test_an_axis_has_the_mean_of_its_tasks_and_needs_no_teacher_for_it():
    table = cells() | {"birds/knn": {name: [outcome(0.2)] for name in ROLES}}
    patterns = {"transfer": ["cats/knn", "birds/*"], "none": ["fish/*"]}
    with_teachers = summarise(table, ROLES, axes=patterns)["axes"]
    without = summarise(table, dict.fromkeys(ROLES, "other"), axes=patterns)["axes"]
    for found in (with_teachers, without):
        assert list(found) == ["transfer"]
        assert found["transfer"]["tasks"] == ["cats/knn", "birds/knn"]
        assert found["transfer"]["scores"] == pytest.approx(
            {"student": 43, "a": 40, "b": 35, "concat": 55, "start": 25}
        )
    assert with_teachers["transfer"]["gain"] == pytest.approx((10 + 0) / 2)
    assert set(without["transfer"]) == {"tasks", "scores"}


def test_a_resample_without_a_hit_of_the_best_teacher_is_left_out():
    table = {"cats/knn": {"s": [outcome(0.5, 8)], "a": [outcome(0.125, 8)]}}
    low, high = summarise(table, {"s": "student", "a": "teacher"})["mean_gain_ci"]
    assert 0 <= low < 300 < high < 1000


def test_resamples_without_a_measured_image_are_left_out():
    """One image in 40 has a known depth in most resamples' absence: its error must not be counted as 0."""
    marks = np.zeros((40, 2))
    marks[:2] = [[2.0, 1.0], [3.0, 1.0]]
    cells = {
        "rooms/depth": {
            name: [Outcome(marks * [factor, 1], depth.MEASURE)] for name, factor in {"s": 1, "t": 2}.items()
        }
    }
    found = summarise(cells, {"s": "student", "t": "teacher"}, {"rooms/depth": depth.MEASURE})
    assert found["tasks"]["rooms/depth"]["s"]["ci"] == [2, 3]
    assert found["difference_ci"]["rooms/depth"] == [2, 3]
    assert found["mean_gain_ci"] == [50, 50]


def test_seeds_widen_the_intervals_of_scores_and_differences():
    """Seeds that differ by 8 points: without them the interval would be that of the images."""
    lucky = [outcome(0.66 + step) for step in (-0.08, 0.0, 0.08)]
    teacher = [outcome(0.6)] * 3
    roles = {"s": "student", "t": "teacher"}
    still = summarise({"a/b": {"s": [outcome(0.66)] * 3, "t": teacher}}, roles)
    drawn = summarise({"a/b": {"s": lucky, "t": teacher}}, roles)
    assert still["difference_ci"]["a/b"][0] > 0 > drawn["difference_ci"]["a/b"][0]
    assert still["mean_gain_ci"][0] > 0 > drawn["mean_gain_ci"][0]
    assert still["single_teacher"]["difference_ci"][0] > 0 > drawn["single_teacher"]["difference_ci"][0]
    low, high = drawn["tasks"]["a/b"]["s"]["ci"]
    assert low < 66 - 4.3 * 8 / 3**0.5 + 3
    assert high > 66 + 4.3 * 8 / 3**0.5 - 3
    assert drawn["tasks"]["a/b"]["s"]["by_seed"] == [58, 66, 74]


def test_gains_are_over_the_best_teacher_as_it_was_measured_whatever_the_interval():
    result = summarise(cells(), ROLES, axes={"pets": ["*"]})
    for ends, value in (
        (result["mean_gain_ci"], result["mean_gain"]),
        (result["axes"]["pets"]["ci"], result["axes"]["pets"]["gain"]),
        (result["difference_ci"]["cats/knn"], 6),
        (result["difference_ci"]["dogs/knn"], -5),
    ):
        assert ends[0] < value < ends[1]


def test_teachers_without_a_right_answer_are_compared_in_points_only():
    nothing = {"cats/knn": {"student": [outcome(0.0)], "a": [outcome(0.0)], "b": [outcome(0.0)]}}
    result = summarise(nothing, ROLES, axes={"all": ["*"]})
    assert result["single_teacher"]["difference_ci"] == [0.0, 0.0]
    assert (result["best_teacher"], result["difference_ci"], result["axes"]) == ({}, {}, {})
    table = cells()
    table["dogs/knn"]["a"] = [outcome(0.0)]
    result = summarise(table, ROLES, axes={"all": ["*"]})
    assert result["axes"]["all"]["best_teacher"] == "b"
    assert result["axes"]["all"]["ci"] is not None
    assert result["difference_ci"]["dogs/knn"][1] < 0


def pair_of(right: np.ndarray, other: np.ndarray):
    return {"a": [Outcome(right[:, None].astype(float))], "b": [Outcome(other[:, None].astype(float))]}


def test_without_teachers_models_are_compared_with_the_first_one():
    """Against the bootstrap of the difference, written out: 30 of 400 images are right for b alone, 10 for a alone."""
    a, b = np.zeros(400), np.zeros(400)
    a[:210], b[:200], b[210:240] = 1, 1, 1
    found = summarise({"x/knn": pair_of(a, b)}, {"a": "other", "b": "other"})["differences"]
    assert found["to"] == "a"
    assert found["tasks"]["x/knn"].keys() == {"b"}
    entry = found["tasks"]["x/knn"]["b"]
    assert entry["difference"] == pytest.approx(5)
    draw = np.random.default_rng(5)
    drawn = [100 * (b - a)[draw.integers(0, 400, 400)].mean() for _ in range(4000)]
    np.testing.assert_allclose(entry["ci"], np.percentile(drawn, [2.5, 97.5]), atol=0.5)
    assert (found["means"], found["mean"]) == ({}, {})


def test_means_of_differences_are_of_one_measure_that_both_have():
    ones, none = np.ones(50), np.zeros(50)
    cells = {
        "x/knn": pair_of(ones, none), "y/knn": pair_of(none, none), "x/logistic": pair_of(ones, ones),
        "y/logistic": {"a": [Outcome(ones[:, None])], "b": "out of luck"},
    }  # fmt: skip
    roles = {"a": "other", "b": "other"}
    found = summarise(cells, roles)["differences"]
    assert found["means"]["knn"]["b"] == {"difference": -50, "ci": [-50, -50]}
    assert found["means"]["logistic"] == found["mean"] == found["tasks"]["y/logistic"] == {}
    del cells["y/logistic"]
    assert summarise(cells, roles)["differences"]["mean"]["b"]["difference"] == pytest.approx(-100 / 3, abs=1e-3)
    metres = summarise(cells, roles, {"x/logistic": RMSE})["differences"]
    assert metres["mean"] == {}
    assert metres["tasks"]["x/logistic"]["b"]["difference"] == 0


def test_beside_teachers_only_students_are_compared_with_the_first_one():
    table = cells()
    roles = {"a": "teacher", "student": "student", "b": "student", "concat": "concat", "start": "other"}
    found = summarise(table, roles)["differences"]
    assert (found["to"], found["tasks"]["cats/knn"].keys()) == ("student", {"b"})
    assert summarise(table, ROLES)["differences"] == {}
    assert summarise({"x/knn": {"m": [outcome(0.5)]}}, {"m": "other"})["differences"] == {}


def test_a_gain_has_an_interval_in_percent():
    """With one teacher it is that of the relative difference, written out."""
    own, best = np.zeros(400), np.zeros(400)
    own[:264], best[:240] = 1, 1
    table = {"x/knn": {"s": [Outcome(own[:, None])], "t": [Outcome(best[:, None])]}}
    found = summarise(table, {"s": "student", "t": "teacher"})
    draw = np.random.default_rng(5)
    picks = [draw.integers(0, 400, 400) for _ in range(4000)]
    drawn = [100 * (own[pick].mean() / best[pick].mean() - 1) for pick in picks]
    assert found["gain_over_best_teacher"]["x/knn"] == pytest.approx(10)
    np.testing.assert_allclose(found["gain_ci"]["x/knn"], np.percentile(drawn, [2.5, 97.5]), atol=0.5)
