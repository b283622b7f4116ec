"""docs/findings.md: made from the committed results, by rules that can be computed by hand."""

from __future__ import annotations

import base64
import importlib
import math
import statistics
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from scipy import stats

from unic.sweeps.asked import read_asked
from unic.sweeps.measured import Measured, Scored, read_all
from unic.sweeps.paired import Difference
from unic.sweeps.plan import make_plan

ROOT = Path(__file__).parents[2]


@pytest.fixture
def findings(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module("findings")


@pytest.fixture
def law(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module("_seeds_and_images")


def test_the_page_is_what_the_results_say(findings: ModuleType) -> None:
    assert findings.PAGE.read_text() == findings.page(read_all(findings.RESULTS), findings.teachers_of())


def test_every_variant_of_a_claim_is_one_of_the_sweep(findings: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    known = make_plan(read_asked(findings.SWEEP)).recipes
    for claim in findings.CLAIMS:
        for comparison in claim.comparisons:
            assert {comparison.preferred, comparison.other} <= known.keys()


@pytest.mark.parametrize(
    ("difference", "is_held", "expected"),
    [
        (None, False, "not trained yet"),
        (Difference(3.0, [2.0, 4.0], [0], True), False, "one seed: nothing is shown"),
        (Difference(1.0, [0.1, 1.9], [0, 1, 2], True), True, "**holds**"),
        (Difference(1.0, [0.1, 1.9], [0, 1, 2], True), False, "a hint that it holds"),
        (Difference(-1.0, [-1.9, -0.1], [0, 1, 2], True), True, "**the opposite**"),
        (Difference(-1.0, [-1.9, -0.1], [0, 1, 2], True), False, "a hint of the opposite"),
        (Difference(0.1, [-0.7, 0.9], [0, 1, 2], True), False, "no difference of a point"),
        (Difference(0.1, [-0.7, 0.98], [0, 1, 2], True), False, "open: the interval is too wide"),
        (Difference(1.0, [0.02, 1.9], [0, 1, 2], True), True, "open: the interval is too wide"),
    ],
)
def test_an_outcome_is_said_by_the_printed_interval_and_the_corrected_p(
    findings: ModuleType, difference: Difference, is_held: bool, expected: str
) -> None:
    assert findings.outcome(difference, is_held=is_held) == expected


def test_p_values_of_seeds_alone_are_those_of_the_t_test(law: ModuleType) -> None:
    differences = [0.3, 0.9, 1.4, 0.2]
    mean, deviation = statistics.mean(differences), statistics.stdev(differences)
    expected = stats.ttest_1samp(differences, 0).pvalue
    assert law.p_value(mean, 4, deviation, 0.0) == pytest.approx(expected, rel=1e-6)
    assert law.p_value(-mean, 4, deviation, 0.0) == pytest.approx(expected, rel=1e-6)
    # Where seeds hardly differ, the error is that of the test images alone, which is normal.
    assert law.p_value(0.5, 4, 1e-3, 0.25) == pytest.approx(2 * stats.norm.sf(2), rel=0.02)


def test_p_values_are_corrected_together(law: ModuleType) -> None:
    # 0.01 ≤ 0.05 / 4 and 0.015 ≤ 0.05 / 3, but 0.03 > 0.05 / 2, so what follows is not held either.
    assert law.holm([0.03, 0.01, 0.04, 0.015]) == [False, True, False, True]
    assert law.holm([]) == []


@pytest.mark.parametrize("seeds", [2, 3, 5, 8])
def test_so_many_seeds_show_a_difference(law: ModuleType, seeds: int) -> None:
    difference = law.can_show(seeds, 1.0, 0.0)
    bound = stats.t.ppf(0.975, seeds - 1)
    assert stats.nct.sf(bound, seeds - 1, difference * math.sqrt(seeds)) == pytest.approx(0.8, abs=0.01)
    assert law.can_show(seeds, 1.0, 0.3) > difference
    assert law.can_show(seeds, 0.01, 0.3) == pytest.approx(0.3 * (1.960 + 0.842), rel=0.1)  # images alone


def test_the_number_of_seeds_that_show_a_difference(law: ModuleType) -> None:
    count = law.needed(1.0, 1.0, 0.1)
    assert law.can_show(count, 1.0, 0.1) <= 1 < law.can_show(count - 1, 1.0, 0.1)
    assert law.needed(1.0, 100.0, 0.0) is None


def test_the_error_by_test_images(findings: ModuleType) -> None:
    """Two tasks of one set of four images, one task of another set, whose images are all right."""
    bits = {"method": [1, 1, 0, 0], "uniform": [1, 0, 0, 1]}
    trainings = []
    for variant, right in bits.items():
        marks = base64.b64encode(np.packbits(right).tobytes()).decode()
        every = base64.b64encode(np.packbits([1, 1]).tobytes()).decode()
        scores = {"a/knn": (50.0, marks, 4), "a/logistic": (50.0, marks, 4), "b/knn": (100.0, every, 2)}
        tasks = {task: Scored(score=score, right=bit, num_images=n) for task, (score, bit, n) in scores.items()}
        trainings.append(Measured(variant=variant, is_base=variant == "method", seed=0, suites={"choice": tasks}))
    # The images of `a` differ by 0, 100, 0 and -100: variance 20,000 / 3; the set is two thirds of the mean.
    expected = 2 / 3 * math.sqrt(20_000 / 3 / 4)
    assert findings.Findings(trainings).image_error("method", "uniform") == pytest.approx(expected)


def measured(variant: str, seed: int, score: float) -> Measured:
    tasks = {"a/knn": Scored(score=score), "b/knn": Scored(score=score, is_unseen=True)}
    return Measured(variant=variant, is_base=variant == "method", seed=seed, suites={"choice": tasks})


def test_deviations_are_those_of_paired_differences(findings: ModuleType) -> None:
    method, other = [50.0, 52.0, 51.0], [49.0, 52.0, 49.5]
    trainings = [measured("method", seed, score) for seed, score in enumerate(method)]
    trainings += [measured("uniform", seed, score) for seed, score in enumerate(other)]
    found = findings.Findings(trainings)
    assert found.deviation_of_method() == pytest.approx(math.sqrt(2) * statistics.stdev(method))
    differences = [own - base for own, base in zip(other, method, strict=True)]
    assert found.deviation_of_pairs() == pytest.approx(statistics.stdev(differences))
    assert found.difference("method", "uniform").mean == pytest.approx(-statistics.mean(differences), abs=1e-3)


def test_the_summary_names_what_two_seeds_or_more_show(findings: ModuleType) -> None:
    scores = {"method": [50.0, 51.0, 50.5], "no standardisation": [40.0, 41.1, 40.4], "uniform": [50.1, 50.9, 50.5]}
    trainings = [measured(variant, seed, score) for variant, each in scores.items() for seed, score in enumerate(each)]
    found = findings.Findings([*trainings, measured("gradnorm", 0, 60.0)])
    lines = list(findings.in_short(found, findings.judge(found)))
    assert lines[2].startswith("| **holds** | standardisation against none | +10.0 [")
    assert "| < 0.001 | +10.0 [" in lines[2]
    assert lines[2].endswith(" | 3 |")
    assert lines[3].startswith("| no difference of a point | dropping against equal weights | +0.0 [-")
    count = sum(len(claim.comparisons) for claim in findings.CLAIMS) - 2
    assert lines[4:] == ["", f"{count} more comparisons have one seed or none, which shows nothing."]


def test_sets_of_teachers_are_compared_on_the_seeds_of_all(findings: ModuleType) -> None:
    trainings = [measured("method", seed, 50.0 + seed) for seed in range(3)]
    for name in ("a", "b"):
        one = measured(f"{name} alone", 0, 40.0)
        trainings.append(one.model_copy(update={"overrides": [f"teachers.models={{{name}: 'timm:x'}}"]}))
    lines = list(findings.by_number(findings.Findings(trainings), ["a", "b"]))
    assert lines[2:] == [
        "| 1 | 2 of 2 | 40.0 | 40.0 | 40.0 | a (40.0) |", "| 2 | 1 of 1 | 50.0 | 50.0 | 50.0 | a + b (50.0) |"
    ]  # fmt: skip
