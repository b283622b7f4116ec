"""Several trainings as one student: its mean, an interval that holds for another training, and what is beside it."""

from __future__ import annotations

import re
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest
import yaml
from written import summarise

from unic.errors import InputError
from unic.eval import columns
from unic.eval.columns import columns_of
from unic.eval.outcome import Outcome
from unic.eval.results.grid import make_grid
from unic.eval.results.schema import ModelEntry, Results
from unic.eval.results.trainings import TRAINING, mean_gains_of_trainings, with_joint, without_joint

SEEDS = ["seed-0", "seed-1", "seed-2"]
ROLES = {"student": "student", **dict.fromkeys(SEEDS, TRAINING), "t": "teacher"}


def always(score: float) -> list[Outcome]:
    """A score that does not depend on the test images."""
    return [Outcome(np.full((50, 1), score / 100))]


def test_the_interval_has_student_s_t_of_the_trainings() -> None:
    row = {"seed-0": always(60), "seed-1": always(70), "seed-2": always(80), "t": always(50)}
    found = summarise({"x/knn": row}, ROLES, trainings={"student": SEEDS})
    entry = found["tasks"]["x/knn"]["student"]
    assert (entry["score"], entry["by_training"], entry["training_spread"]) == (70, [60, 70, 80], 10)
    half = 4.303 * 10 / 3**0.5  # t of two degrees of freedom
    np.testing.assert_allclose(entry["ci"], [70 - half, 70 + half], atol=0.15 * half)
    np.testing.assert_allclose(found["difference_ci"]["x/knn"], [20 - half, 20 + half], atol=0.15 * half)
    assert found["mean_gain"] == pytest.approx(40)
    assert {name: found["mean_gains"][name]["gain"] for name in SEEDS} == pytest.approx(
        {"seed-0": 20, "seed-1": 40, "seed-2": 60}
    )
    assert found["tasks"]["x/knn"]["seed-1"]["ci"] == [70, 70]
    assert found["ranks"] == {"student": 1, "t": 2}
    assert found["differences"] == {}


def test_what_moves_all_tasks_of_a_training_alike_is_not_averaged_away() -> None:
    """The mean over two tasks is as uncertain as each; where trainings differ in opposite ways it is certain."""
    better = {"seed-0": always(60), "seed-1": always(70), "seed-2": always(80), "t": always(50)}
    worse = {"seed-0": always(80), "seed-1": always(70), "seed-2": always(60), "t": always(50)}
    alike, apart = (
        summarise({"x/knn": better, "y/knn": other}, ROLES, trainings={"student": SEEDS}) for other in (better, worse)
    )
    assert alike["mean_gain_ci"] == pytest.approx(alike["gain_ci"]["x/knn"], abs=0.01)
    assert apart["mean_gain_ci"] == pytest.approx([40, 40], abs=0.01)


def test_one_training_is_a_plain_student() -> None:
    marks = (np.arange(100) % 3 > 0).astype(float)[:, None]
    own = [Outcome(marks), Outcome(marks[::-1].copy() * 0.9)]
    plain = summarise({"x/knn": {"student": own, "t": always(50)}}, {"student": "student", "t": "teacher"})
    roles = {"student": "student", "seed-0": TRAINING, "t": "teacher"}
    joint = summarise({"x/knn": {"seed-0": own, "t": always(50)}}, roles, trainings={"student": ["seed-0"]})
    for key in ("mean_gain", "mean_gain_ci", "difference_ci", "gain_ci", "single_teacher", "ranks"):
        assert joint[key] == plain[key]
    entries = joint["tasks"]["x/knn"]["student"], plain["tasks"]["x/knn"]["student"]
    assert entries[0]["training_spread"] is None
    assert all(entries[0][key] == entries[1][key] for key in ("score", "spread", "ci", "by_seed", "seed_ci"))


def test_students_are_compared_seed_by_seed() -> None:
    """Two recipes whose trainings rise and fall together: their difference is certain, their scores are not."""
    row = {"a0": always(60), "a1": always(80), "b0": always(63), "b1": always(83)}
    trainings = {"a": ["a0", "a1"], "b": ["b0", "b1"]}
    roles = {"a": "student", "b": "student", **dict.fromkeys(row, TRAINING)}
    found = summarise({"x/knn": row}, roles, trainings=trainings)
    assert found["differences"]["tasks"]["x/knn"] == {"b": {"difference": 3, "ci": pytest.approx([3, 3])}}
    low, high = found["tasks"]["x/knn"]["a"]["ci"]
    assert high - low > 40


def test_a_training_that_failed_is_named() -> None:
    row = {"seed-0": always(60), "seed-1": "RuntimeError: out of luck", "seed-2": always(80), "t": always(50)}
    found = summarise({"x/knn": row}, ROLES, trainings={"student": SEEDS})
    assert found["tasks"]["x/knn"]["student"] == {"error": "seed-1: RuntimeError: out of luck"}
    assert found["mean_gain"] is None


IMAGES, EVALUATIONS, SPREAD = 300, 200, 0.3  # the last: of trainings, in shifts of all images; 8 points


@pytest.mark.parametrize("count", [2, 3, 5])
def test_intervals_hold_the_true_mean(count: int) -> None:
    """Right and wrong come from an image's difficulty, from what each training makes of it, and from the training.

    Drawing the trainings with replacement, the plain hierarchical bootstrap, holds the truth far too seldom.
    """
    draw = np.random.default_rng(count)
    truth = 100 * NormalDist(sigma=(2 + SPREAD**2) ** 0.5).cdf(0.5)
    names = [f"seed-{seed}" for seed in range(count)]
    images = 100 * draw.multinomial(IMAGES, np.full(IMAGES, 1 / IMAGES), 200) / IMAGES
    cells, naive = {}, 0
    for number in range(EVALUATIONS):
        own = draw.standard_normal(IMAGES) + draw.standard_normal((count, IMAGES))
        marks = (own + SPREAD * draw.standard_normal((count, 1)) + 0.5 > 0).astype(float)
        cells[f"x/{number}"] = {name: [Outcome(row[:, None])] for name, row in zip(names, marks, strict=True)}
        scores = images @ marks.T
        trainings = draw.integers(0, count, (200, count))
        ends = np.percentile(np.take_along_axis(scores, trainings, axis=1).mean(1), [2.5, 97.5])
        naive += ends[0] <= truth <= ends[1]
    found = summarise(cells, {"s": "student", **dict.fromkeys(names, TRAINING)}, trainings={"s": names})
    ends = np.array([row["s"]["ci"] for row in found["tasks"].values()])
    held = ((ends[:, 0] <= truth) & (truth <= ends[:, 1])).mean()
    assert held >= 0.93
    assert naive / EVALUATIONS < min(0.92, held)


def test_the_table_shows_the_mean_and_names_the_trainings() -> None:
    row = {"seed-0": always(60), "seed-1": always(70), "seed-2": always(80), "t": always(50)}
    facts = {name: ModelEntry(role="teacher" if name == "t" else "student", uri=f"run:{name}") for name in row}
    models = with_joint(facts, {"student": SEEDS})
    assert list(models) == ["student", *SEEDS, "t"]
    mean = {"role": "student", "uri": "trainings:seed-0+seed-1+seed-2", "trainings": SEEDS}
    assert models["student"].model_dump(exclude_unset=True) == mean
    written = {"models": models, **summarise({"x/knn": row}, ROLES, trainings={"student": SEEDS})}
    written["mean_gains_unseen"] = {"seed-0": {"gain": -3.0}, "seed-2": {"gain": -5.0}}
    results = Results.load(written)
    assert make_grid(results).names == ["student", "t"]
    assert mean_gains_of_trainings(results) == {
        "student": {"mean gain": pytest.approx([20, 40, 60]), "mean gain unseen": [-3.0, None, -5.0]}
    }


def test_several_trainings_are_no_teacher() -> None:
    assert without_joint({"a": "student", "b": "teacher"}, {"a": ["a0", "a1"]}) == {"b": "teacher"}
    with pytest.raises(InputError, match="teacher.*: a0, a1"):
        without_joint({"a": "teacher"}, {"a": ["a0", "a1"]})


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three trainings of one recipe, of which the second has not ended."""
    monkeypatch.setattr(columns, "_has_ended", lambda run: run.name != "seed-1")
    for seed in range(3):
        run = tmp_path / f"mine/seed-{seed}"
        run.mkdir(parents=True)
        recipe = {"teachers": {"models": {"vit": "pixels:8"}}, "student": {"model": "pixels:4"}, "data": {"train": "x"}}
        (run / "recipe.yaml").write_text(yaml.safe_dump(recipe | {"seed": seed}))
    return tmp_path / "mine"


def test_a_folder_of_trainings_is_one_student_and_brings_its_models_once(folder: Path) -> None:
    found = columns_of({"mine": f"run:{folder}?img_size=64"})
    assert found.trainings == {"student": ["seed-0", "seed-2"]}
    assert found.models["seed-2"] == f"run:{folder}/seed-2?img_size=64"
    assert [name for name, role in found.roles.items() if role == "teacher"] == ["vit"]
    assert found.teachers == {"seed-0": {"vit": "vit"}, "seed-2": {"vit": "vit"}}
    (left_out,) = found.left_out
    assert re.match(f"{folder}/seed-1: .*not ended", left_out)
    beside = columns_of({"mine": str(folder), "raw": "pixels:2"})
    assert beside.trainings == {"mine": ["mine/seed-0", "mine/seed-2"]}
    assert beside.given == {"mine": "mine", "raw": "raw"}


def test_without_a_training_that_has_ended_there_is_no_student(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "_has_ended", lambda _: False)
    with pytest.raises(InputError, match="trainings"):
        columns_of({"mine": str(folder)})
