"""Steps that are not finite: skipped and counted, the rate lowered, then an end with a case that can be run again."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from unic.data.batch import Batch
from unic.errors import StoppedError
from unic.recipe.schema import load_recipe
from unic.recipe.sections import TrainSection
from unic.runs.metrics import read_metrics
from unic.training import diagnosis as diagnoses
from unic.training import stages
from unic.training.build import build
from unic.training.guard import Guard
from unic.training.job import Job
from unic.training.teachers import LiveTeachers
from unic.training.train import fit

QUIET = Console(quiet=True)


def guard(**setting: Any) -> Guard:
    return Guard(TrainSection(**setting), torch.device("cpu"))


def diagnosis(step: int, batches: list[Batch]) -> str:
    return f"diagnosis of step {step}"


def feed(watched: Guard, skipped: list[int]) -> None:
    for value in skipped:
        watched.count(torch.tensor(float(value)))


def test_only_a_row_ends_the_run() -> None:
    watched = guard(max_skipped=3)
    feed(watched, [1, 1, 0, 1, 1, 0, 1, 1])
    watched.check(diagnosis)
    assert watched.values() == {"skipped": 6}
    feed(watched, [1])
    with pytest.raises(StoppedError, match="3 steps.*not finite.*train.max_skipped.*step 0"):
        watched.check(diagnosis)


def test_the_rate_is_lowered_by_the_number_in_all_and_a_resume_knows() -> None:
    watched = guard(lower_after=2)
    feed(watched, [1, 0])
    watched.check(diagnosis)
    assert watched.lr_scale == 1
    feed(watched, [1, 0, 1, 1])
    watched.check(diagnosis)
    assert watched.lr_scale == 0.25
    resumed = guard(lower_after=2, max_skipped=4)
    resumed.load_state_dict(json.loads(json.dumps(watched.state_dict())))
    assert (resumed.lr_scale, resumed.values()) == (0.25, {"skipped": 4})
    feed(resumed, [1, 1])  # with the two before the checkpoint four in a row
    with pytest.raises(StoppedError, match="4 steps in a row"):
        resumed.check(diagnosis)


def test_healthy_steps_say_nothing() -> None:
    watched = guard()
    assert watched.values() == {}
    feed(watched, [0, 0])
    watched.check(diagnosis)
    assert watched.values() == {}


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_counting_does_not_wait_for_the_device() -> None:
    watched, skipped = guard(), torch.ones((), device="cuda")
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(3):
            watched.count(skipped)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert watched.values() == {"skipped": 3}


@pytest.fixture
def poisoned(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Makes the teacher `vit` give NaN for the image with this index, live and in any replay."""
    original = LiveTeachers.__call__

    def poison(image: int) -> None:
        def call(self: LiveTeachers, images: Any, index: Any, *keys: Any) -> Any:
            targets = original(self, images, index, *keys)
            targets["vit"].cls[index == image] = float("nan")
            return targets

        monkeypatch.setattr(LiveTeachers, "__call__", call)

    return poison


def test_the_end_names_teacher_and_image_and_the_case_runs_again(
    recipe: dict[str, Any], tmp_path: Path, poisoned: Callable[[int], None]
) -> None:
    """Batches of all 40 images, in two micro-batches: image 7 is in each of them."""
    poisoned(7)
    changes = ["train.batch_size=40", "train.micro_batches=2", "train.max_skipped=3", "trackers=[]"]
    run = tmp_path / "run"
    with pytest.raises(StoppedError, match="^step 3: 3 steps in a row") as error:
        fit(load_recipe(recipe, changes), run, console=QUIET)
    line = str(error.value)
    assert "\n" not in line
    assert re.search("teacher 'vit'.* 1 of 40 images", line)
    assert [row["skipped"] for row in read_metrics(run)] == [1, 2, 3]
    case = run / "non_finite/step-3.json"
    assert str(case) in line
    found = json.loads(case.read_text())
    assert found["teachers"] == {
        "vit": {"output": 1, "target": 1, "loss": 1}, "cnn": {"output": 0, "target": 0, "loss": 0},
    }  # fmt: skip
    assert [(image["index"], image["teachers"]) for image in found["images"]] == [(7, ["vit"])]
    assert found.pop("recipe") == load_recipe(recipe, changes).model_dump(mode="json")
    assert diagnoses.replay(case) == found


def test_a_replay_without_the_fault_says_so(
    recipe: dict[str, Any], tmp_path: Path, poisoned: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context():
        poisoned(7)
        with pytest.raises(StoppedError):
            fit(load_recipe(recipe, ["train.batch_size=40", "train.max_skipped=1"]), tmp_path / "run", console=QUIET)
    monkeypatch.undo()
    found = diagnoses.replay(tmp_path / "run/non_finite/step-1.json")
    assert found["images"] == []
    assert diagnoses.explain(found).startswith("the same batch is finite")


def test_a_case_of_a_later_stage_runs_again_in_that_stage(
    recipe: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second stage sees larger images; the teachers fail there only."""
    original = LiveTeachers.__call__

    def call(self: LiveTeachers, images: Any, *keys: Any) -> Any:
        targets = original(self, images, *keys)
        if images.shape[-1] == 64:
            targets["vit"].cls[0] = float("nan")
        return targets

    monkeypatch.setattr(LiveTeachers, "__call__", call)
    larger = {"data.size": 64, "student.model": "timm:test_vit?pretrained=false&img_size=64"}
    recipe |= {"stages": [{"train.steps": 1}, larger], "trackers": {}}
    with pytest.raises(StoppedError, match="^step 3: 2 steps in a row"):
        fit(load_recipe(recipe, ["train.max_skipped=2"]), tmp_path / "run", console=QUIET)
    found = diagnoses.replay(tmp_path / "run/non_finite/step-3.json")
    assert found["teachers"]["vit"] == {"output": 1, "target": 1, "loss": 1}


def test_student_weights_are_named(recipe: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: Any) -> Job:
        job = build(*arguments)
        job.student.get_parameter("model.blocks.0.attn.qkv.weight").data[0, 0] = float("inf")
        return job

    monkeypatch.setattr(stages, "build", broken)
    with pytest.raises(StoppedError, match=r"not finite: student\.model\.blocks\.0"):
        fit(load_recipe(recipe, ["train.max_skipped=2"]), tmp_path / "run", console=QUIET)
