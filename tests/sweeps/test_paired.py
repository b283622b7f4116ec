"""Differences to the base and their intervals, against a plain loop that draws seeds and images by itself."""

from __future__ import annotations

import base64
from collections.abc import Sequence

import numpy as np
import pytest

from unic.sweeps.measured import Measured, Scored
from unic.sweeps.paired import Paired
from unic.sweeps.summary import hopeless, summarise

NUM_IMAGES = 200


def right(images: np.ndarray, **more: object) -> Scored:
    packed = base64.b64encode(np.packbits(images.astype(bool)).tobytes()).decode()
    return Scored(
        score=round(100 * float(images.mean()), 3), right=packed, num_images=len(images), images="same", **more
    )


def trained(variant: str, seed: int, tasks: dict[str, Scored], *, is_base: bool = False) -> Measured:
    return Measured(variant=variant, seed=seed, is_base=is_base, suites={"quick": tasks})


def answers(
    share: float, drop: float, seeds: Sequence[int]
) -> tuple[dict[int, list[np.ndarray]], dict[int, list[np.ndarray]]]:
    """Of base and variant, by seed, right and wrong images of two tasks. They share images, and seeds move both."""
    draw = np.random.default_rng(7)
    hard = draw.random((2, NUM_IMAGES))
    base, variant = {}, {}
    for seed in seeds:
        shift, noise = 0.05 * draw.standard_normal(), 0.1 * draw.standard_normal((2, NUM_IMAGES))
        own = 0.02 * draw.standard_normal()
        base[seed] = list((hard + noise < share + shift).astype(float))
        variant[seed] = list((hard + noise < share + shift - drop + own).astype(float))
    return base, variant


def naive(base: dict[int, list[np.ndarray]], variant: dict[int, list[np.ndarray]], count: int = 4000) -> list[float]:
    """Draws images of each set again, keeps pairs, and adds Student's t of the mean of the seeds."""
    draw, seeds = np.random.default_rng(1), list(base)
    of_seed = [np.mean([100 * (variant[s][task] - base[s][task]).mean() for task in range(2)]) for s in seeds]
    drawn = []
    for _ in range(count):
        means = []
        for task in range(2):
            images = draw.integers(0, NUM_IMAGES, NUM_IMAGES)
            means.append(np.mean([100 * (variant[s][task] - base[s][task])[images].mean() for s in seeds]))
        error = np.std(of_seed, ddof=1) / len(seeds) ** 0.5 * draw.standard_t(len(seeds) - 1) if len(seeds) > 1 else 0
        drawn.append(np.mean(means) + error)
    return [float(end) for end in np.percentile(drawn, [2.5, 97.5])]


@pytest.mark.parametrize("seeds", [[0], [0, 1, 2], [3, 4, 5, 6]])
def test_interval_of_the_mean_over_tasks_and_seeds(seeds: list[int]) -> None:
    base, variant = answers(0.7, 0.05, seeds)
    runs = [
        trained(name, seed, {f"set{task}/knn": right(each[seed][task]) for task in range(2)}, is_base=name == "base")
        for name, each in (("base", base), ("less", variant))
        for seed in seeds
    ]
    found = Paired(runs, "quick").difference(["set0/knn", "set1/knn"], "less", "base")
    assert found is not None
    expected = np.mean([100 * (variant[s][task] - base[s][task]).mean() for s in seeds for task in range(2)])
    assert found.mean == pytest.approx(expected, abs=0.002)
    assert (found.seeds, found.covers_images) == (seeds, True)
    ends = naive(base, variant)
    assert found.ci == pytest.approx(ends, abs=0.12 * (ends[1] - ends[0]))


def test_only_seeds_that_both_have_count_and_a_shift_of_both_cancels() -> None:
    scores = {"base": {0: 60, 1: 70, 2: 10}, "more": {0: 61, 1: 71, 3: 99}}
    runs = [
        trained(name, seed, {"a/knn": Scored(score=score)})
        for name, each in scores.items()
        for seed, score in each.items()
    ]
    found = Paired(runs, "quick").difference(["a/knn"], "more", "base")
    assert found == (1, [1, 1], [0, 1], False)
    assert Paired(runs, "quick").difference(["b/knn"], "more", "base") is None
    assert Paired(runs, "other").difference(["a/knn"], "more", "base") is None


def test_without_images_and_with_one_seed_there_is_no_interval() -> None:
    runs = [trained(name, 0, {"a/knn": Scored(score=score)}) for name, score in (("base", 60), ("more", 62))]
    found = Paired(runs, "quick").difference(["a/knn"], "more", "base")
    assert found == (2, None, [0], False)


def test_scores_on_other_images_are_not_compared() -> None:
    def on(variant: str, seed: int, images: str, content: str | None = "a") -> Measured:
        cell = right(np.ones(9)).model_copy(update={"images": images})
        made = trained(variant, seed, {"a/knn": cell, "b/knn": Scored(score=1)}, is_base=variant == "base")
        return made.model_copy(update={"set_digests": {"quick": {"a": content, "b": "b"}} if content else {}})

    base = on("base", 0, "same")
    for other in (on("more", 0, "others", None), on("more", 0, "others"), on("more", 0, "same", "other pictures")):
        assert Paired([base, other], "quick").difference(["a/knn"], "more", "base") is None
        assert Paired([base, other], "quick").difference(["b/knn"], "more", "base") is not None
        (found,) = summarise([base, other])
        assert found.rows[1].means["seen"].difference is None
        assert "not compared with base, as the test images differ: more, seed 0" in found.notes()
    # A seed on the same images counts, and one of an earlier version that does not tell its content.
    runs = [base, on("more", 0, "others"), on("base", 1, "same"), on("more", 1, "same", None)]
    assert Paired(runs, "quick").difference(["a/knn"], "more", "base") == (0, [0, 0], [1], True)
    # Seeds that were measured on different images are not drawn again together.
    runs = [on(name, seed, "same", f"of seed {seed}") for name in ("base", "more") for seed in (0, 1)]
    assert Paired(runs, "quick").difference(["a/knn"], "more", "base") == (0, [0, 0], [0, 1], False)


def test_less_of_an_error_is_better() -> None:
    errors = {"base": 0.5, "more": 0.4}
    runs = [
        trained(name, 0, {"a/depth": Scored(score=score, measure="RMSE", lower_is_better=True)})
        for name, score in errors.items()
    ]
    found = Paired(runs, "quick").difference(["a/depth"], "more", "base")
    assert found is not None
    assert found.mean == pytest.approx(0.1)


def test_probe_seeds_widen_the_interval() -> None:
    marks = np.arange(NUM_IMAGES) % 2
    steady = [trained(name, 0, {"a/knn": right(marks)}, is_base=name == "base") for name in ("base", "more")]
    cell = right(marks, by_seed=[50.0, 40.0, 60.0])
    moved = [steady[0], trained("more", 0, {"a/knn": cell})]
    ends = [Paired(runs, "quick").difference(["a/knn"], "more", "base") for runs in (steady, moved)]
    assert ends[0] is not None
    assert ends[0].ci == [0, 0]
    assert ends[1] is not None
    half = 4.303 * 10 / 3**0.5  # Student's t of two degrees of freedom
    assert ends[1].ci == pytest.approx([-half, half], rel=0.15)


def test_hopeless_is_what_is_below_on_two_seeds_by_the_whole_interval() -> None:
    def runs(deviation: float, seeds: int) -> list[Measured]:
        found = []
        for seed in range(seeds):
            up = deviation * (-1) ** seed
            found.append(trained("base", seed, {"a/knn": Scored(score=60)}, is_base=True))
            found.append(trained("worse", seed, {"a/knn": Scored(score=50 + up)}))
            found.append(trained("better", seed, {"a/knn": Scored(score=70 + up)}))
        return found

    assert hopeless(runs(0.1, 2), "base") == {"worse"}
    assert hopeless(runs(2, 2), "base") == set()  # t of one degree of freedom: 12.7 · 2
    assert hopeless(runs(0.1, 1), "base") == set()


def test_unseen_tasks_and_other_measures_are_in_no_mean_of_seen_ones() -> None:
    def row(score: float) -> dict[str, Scored]:
        return {
            "a/knn": Scored(score=score),
            "b/knn": Scored(score=score + 10),
            "a/segmentation": Scored(score=1, measure="mIoU %"),
            "c/knn": Scored(score=score / 2, is_unseen=True),
        }

    runs = [
        trained("other", 0, row(50)),
        trained("base", 0, row(60), is_base=True),
        trained("base", 1, row(62), is_base=True),
    ]
    (found,) = summarise(runs, ["base", "other"])
    assert found.kinds == {"seen": ["a/knn", "b/knn"], "unseen": ["c/knn"]}
    assert found.left_out == ["a/segmentation"]
    base, other = found.rows
    assert (base.name, base.seeds, other.seeds) == ("base", [0, 1], [0])
    assert base.means["seen"].score == 66
    assert base.means["seen"].spread == pytest.approx(2**0.5)
    assert base.means["seen"].difference is None
    assert other.means["seen"].difference is not None
    assert other.means["seen"].difference.mean == -10
    assert other.means["unseen"].difference is not None
    assert other.means["unseen"].difference.mean == -5
    assert "not in the means, as measured otherwise: a/segmentation" in found.notes()
