"""docs/findings.md: made from the committed results, by rules that can be computed by hand."""

from __future__ import annotations

import importlib.util
import math
import statistics
from pathlib import Path
from types import ModuleType

import pytest

from unic.sweeps.asked import read_asked
from unic.sweeps.measured import Measured, Scored, read_all
from unic.sweeps.paired import Difference
from unic.sweeps.plan import make_plan

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def findings() -> ModuleType:
    spec = importlib.util.spec_from_file_location("findings", ROOT / "benchmarks/findings.py")
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def test_the_page_is_what_the_results_say(findings: ModuleType) -> None:
    assert findings.PAGE.read_text() == findings.page(read_all(findings.RESULTS), findings.teachers_of())


def test_every_variant_of_a_claim_is_one_of_the_sweep(findings: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    known = make_plan(read_asked(findings.SWEEP)).recipes
    for claim in findings.CLAIMS:
        for comparison in claim.comparisons:
            assert {comparison.preferred, comparison.other} <= known.keys()


@pytest.mark.parametrize(
    ("difference", "expected"),
    [
        (None, "not trained yet"),
        (Difference(3.0, [2.0, 4.0], [0], True), "one seed: nothing is shown"),
        (Difference(1.0, [0.1, 1.9], [0, 1, 2], True), "**holds**"),
        (Difference(-1.0, [-1.9, -0.1], [0, 1, 2], True), "**the opposite**"),
        (Difference(0.1, [-0.7, 0.9], [0, 1, 2], True), "no difference of a point"),
        (Difference(0.1, [-0.7, 1.1], [0, 1, 2], True), "open: the interval is too wide"),
    ],
)
def test_an_outcome_is_said_by_the_interval(findings: ModuleType, difference: Difference, expected: str) -> None:
    assert findings.outcome(difference) == expected


def test_so_many_seeds_show_a_difference(findings: ModuleType) -> None:
    # Quantiles of Student's t with 4 degrees of freedom: 2.776 for 0.975, 0.941 for 0.8.
    assert findings.can_show(5, 1.0) == pytest.approx((2.776 + 0.941) / math.sqrt(5), abs=1e-3)
    count = findings.needed(1.0)
    assert findings.can_show(count, 1.0) <= 1 < findings.can_show(count - 1, 1.0)
    assert findings.needed(100.0) is None


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
    lines = list(findings.in_short(findings.Findings([*trainings, measured("gradnorm", 0, 60.0)])))
    assert lines[2].startswith("| **holds** | standardisation against none | +10.0 [")
    assert lines[2].endswith(" | 3 |")
    assert lines[3].startswith("| no difference of a point | dropping against equal weights | +0.0 [-")
    count = sum(len(claim.comparisons) for claim in findings.CLAIMS) - 2
    assert lines[4:] == ["", f"{count} more comparisons have one seed, which shows nothing."]
