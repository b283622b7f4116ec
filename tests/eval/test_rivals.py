"""Who beats the best of several, simulated where nobody does: student and best teachers are equal in truth."""

import numpy as np
import pytest
from written import summarise

from unic.eval.results.bootstrap import RESAMPLES, seed_effect
from unic.eval.results.rivals import Rivals, interval_over_best
from unic.eval.tasks import Outcome

NUM_TASKS, NUM_IMAGES = 200, 200


def null_results(behind, spread, num_seeds=3):
    """Many independent tasks on one set. Student and `t0` are as good; teacher j is `behind[j]` deviations worse.

    Right and wrong come from an image's difficulty, what a model makes of it, and the luck of a probe's seed, which is
    the same for all images and shifts the score by `spread` points.
    """
    draw = np.random.default_rng(0)
    names = ["student", *(f"t{number}" for number in range(len(behind)))]
    shift = np.array([0.0, *behind])[:, None, None]
    cells = {}
    for task in range(NUM_TASKS):
        own = draw.standard_normal((len(names), 1, NUM_IMAGES)) + draw.standard_normal(NUM_IMAGES)
        luck = spread / 28 * draw.standard_normal((len(names), num_seeds, 1))  # 28 points a unit, at 50 %
        right = (own + luck > shift).astype(np.float64)
        cells[f"s/{task}"] = {
            name: [Outcome(marks[:, None]) for marks in rows] for name, rows in zip(names, right, strict=True)
        }
    return summarise(cells, {name: "student" if name == "student" else "teacher" for name in names})


@pytest.mark.parametrize(
    ("behind", "spread"),
    [([0.0], 0.0), ([0.0] * 8, 0.0), ([0.0, 0.1, 0.2, 0.3], 0.0), ([0.0] * 4, 2.5)],
)
def test_false_statements_are_rare(behind, spread):
    """2.5 % on each side in truth: of 200 evaluations more than 6 % once in 500 times."""
    results = null_results(behind, spread)
    ends = np.array(list(results["difference_ci"].values()))
    assert (ends[:, 0] > 0).mean() <= 0.06, "beats"
    assert (ends[:, 1] < 0).mean() <= 0.06, "stays below"
    low, high = results["mean_gain_ci"]  # over so many tasks that the luck of the best teachers is all there is to it
    assert low <= 0 <= high


def test_the_lower_end_is_the_smallest_of_those_over_each_teacher():
    draw = np.random.default_rng(0)
    rows = {name: [Outcome((draw.random((200, 1)) < 0.6).astype(float)) for _ in range(3)] for name in "sabc"}
    roles = {"s": "student", "a": "teacher", "b": "teacher", "c": "teacher"}

    def ends(teachers):
        cells = {"x/y": {name: rows[name] for name in ["s", *teachers]}}
        return summarise(cells, {name: roles[name] for name in ["s", *teachers]})["difference_ci"]["x/y"]

    alone = [ends(name) for name in "abc"]
    together = ends("abc")
    assert together[0] == min(low for low, _ in alone)
    assert together[1] >= min(high for _, high in alone), "several teachers do not make it easier to be below"


def test_a_single_rival_has_the_percentile_interval():
    drawn = np.random.default_rng(0).standard_normal((1, RESAMPLES))
    assert interval_over_best([Rivals(np.zeros(1), drawn)]) == pytest.approx(
        np.percentile(drawn, [2.5, 97.5]), abs=1e-3
    )


def test_hopeless_teachers_do_not_widen_the_interval():
    drawn = np.random.default_rng(0).standard_normal((6, RESAMPLES))
    measured = np.array([0.0, 20, 20, 20, 20, 20])
    drawn += measured[:, None]
    alone = interval_over_best([Rivals(measured[:1], drawn[:1])])
    assert interval_over_best([Rivals(measured, drawn)]) == alone
    near = interval_over_best([Rivals(0 * measured, drawn - measured[:, None])])
    assert near[1] > alone[1] + 0.3


def test_the_mean_over_tasks_is_bounded_over_all_choices_of_teachers():
    """Against all 3³ choices written out."""
    draw = np.random.default_rng(0)
    measured = draw.normal(0, 0.5, (3, 3))
    drawn = measured[..., None] + draw.standard_normal((3, 3, 200)) * draw.uniform(0.5, 2, (3, 3, 1))
    low, high = interval_over_best([Rivals(*pair) for pair in zip(measured, drawn, strict=True)])
    choices = np.stack(np.meshgrid(*[range(3)] * 3), axis=-1).reshape(-1, 3)
    centre = np.array([measured[range(3), choice].mean() for choice in choices])
    samples = np.array([drawn[range(3), choice].mean(axis=0) for choice in choices])
    assert low == pytest.approx(np.percentile(samples, 2.5, axis=1).min(), abs=1e-3)
    reach = np.percentile(drawn, 97.5, axis=2) - measured
    reaches = np.array([reach[range(3), choice].mean() for choice in choices])
    factor = np.percentile(((samples - centre[:, None]) / reaches[:, None]).max(axis=0), 97.5)
    assert high == pytest.approx((centre + factor * reaches).min(), abs=1e-3)


def test_an_undefined_resample_is_left_out():
    measured = np.array([0.0, 0.5])
    drawn = np.random.default_rng(0).standard_normal((2, RESAMPLES)) + measured[:, None]
    holes = np.concatenate([drawn, np.full((2, 100), np.nan)], axis=1)
    assert interval_over_best([Rivals(measured, holes)]) == interval_over_best([Rivals(measured, drawn)])


def test_seeds_have_student_s_t_in_differences_too():
    from scipy.stats import kstest, t

    first, second = np.array([70.0, 72.0, 77.0]), np.array([69.0, 72.5, 73.0])
    np.testing.assert_allclose(seed_effect(first) - seed_effect(second), seed_effect(first - second))
    for scores in (first, first - second):
        scaled = seed_effect(scores) / (scores.std(ddof=1) / np.sqrt(3))
        assert kstest(scaled, t(2).cdf).pvalue > 0.05
    assert not seed_effect(np.array([70.0])).any()


def test_a_rival_that_hardly_ever_rises_ends_no_interval() -> None:
    """In few resamples two rivals rise, of which one has a reach of 0: neither may be chosen in turn for ever."""
    draw = np.random.default_rng(0)
    near, flat = np.clip(draw.standard_normal(RESAMPLES), -2, 2), np.minimum(draw.standard_normal(RESAMPLES), 0)
    near[:10], flat[:10] = 6, 5
    low, high = interval_over_best([Rivals(np.zeros(2), np.array([near, flat]))])
    assert low < -1.5
    assert high == 0  # at most the flat one's
