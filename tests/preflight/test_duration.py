"""The time of a run: from steps like the run's own, as a range, with what decoding allows."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from unic.preflight import duration as module
from unic.preflight.duration import duration
from unic.preflight.trial import Trial, try_steps
from unic.recipe.schema import load_recipe
from unic.training.build import build

CPU = torch.device("cpu")
TRIAL = Trial(
    16, 0.0, 0.01, teachers=[1.0, 2.0, 4.0], student=[1.0, 1.0, 1.0], update=[0.5, 0.5, 0.5], waited=[0.0] * 3
)


def job(workers: int = 0, world_size: int = 1) -> Any:
    """A job of a hundred steps of 32 images."""
    train = SimpleNamespace(batch_size=32, steps=None, epochs=4.0)
    recipe = SimpleNamespace(train=train, data=SimpleNamespace(workers=workers))
    return SimpleNamespace(total_steps=100, world_size=world_size, recipe=recipe, device=CPU)


def test_the_range_is_that_of_the_steps_and_the_update_counts_once() -> None:
    found = duration(job(), [TRIAL], None, 3.0)
    # 32 images: twice the passes of 16, one update, 0.32 s of decoding.
    assert found["hours"] * 3600 == pytest.approx(100 * (2 * 3 + 0.5 + 0.32))
    assert [hours * 3600 for hours in found["hours_range"]] == pytest.approx([482, 1082])
    assert found["teachers_h"] * 3600 == pytest.approx(400)
    assert found["images_per_s"] == pytest.approx(32 / 6.82)
    assert found["price"] == pytest.approx(3 * 682 / 3600)
    assert found["tried"] | {"threads": 0} == {
        "steps": 3, "images": [16], "seconds": [2.5, 5.5], "waited": 0, "threads": 0,
    }  # fmt: skip


def test_where_other_processes_run_the_range_begins_without_them() -> None:
    busy = replace(TRIAL, waited=[0.5, 1.75, 4.4])  # a fifth, a half and four fifths of the steps
    found = duration(job(), [busy], None, None)
    assert found["hours"] * 3600 == pytest.approx(682)  # as busy as now
    # Passes: 1.6, 1.5 and 1 s; updates: 0.4, 0.25 and 0.1 s.
    assert [hours * 3600 for hours in found["hours_range"]] == pytest.approx([100 * (2 * 1.0 + 0.1 + 0.32), 1082])
    assert found["tried"]["waited"] == pytest.approx(6.65 / 11.5)


def test_cached_teachers_cost_what_the_cache_costs() -> None:
    found = duration(job(), [TRIAL], 60.0, None)
    assert found["hours"] * 3600 == pytest.approx(282 + 60)
    assert [hours * 3600 for hours in found["hours_range"]] == pytest.approx([282 + 30, 282 + 120])
    assert found["teachers_h"] * 3600 == pytest.approx(60)
    assert found["images_per_s"] == pytest.approx(32 / 2.82)


def test_processes_share_passes_and_not_updates() -> None:
    assert duration(job(world_size=2), [TRIAL], None, None)["hours"] * 3600 == pytest.approx(100 * (3 + 0.5 + 0.16))


def test_images_that_decode_slowly_are_what_takes_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "usable_cores", lambda: 64)
    monkeypatch.setattr(module, "threads_beside", lambda workers: 1)
    slow = Trial(16, 0.0, 1.0, TRIAL.teachers, TRIAL.student, TRIAL.update, TRIAL.waited)
    assert duration(job(workers=2), [slow], None, None)["hours"] * 3600 == pytest.approx(100 * 32 / 2)
    assert duration(job(workers=2), [TRIAL], None, None)["hours"] * 3600 == pytest.approx(650)  # they decode meanwhile
    monkeypatch.setattr(module, "usable_cores", lambda: 2)  # which work and decoding share
    assert duration(job(workers=2), [slow], None, None)["hours"] * 3600 == pytest.approx(100 * (6.5 + 32) / 2)


def test_steps_are_tried_with_as_many_images_as_the_run_has(recipe: dict[str, Any]) -> None:
    built = build(load_recipe(recipe, ["train.batch_size=24", "train.lr=1"]), CPU)
    before = {name: value.clone() for name, value in built.distiller.named_parameters()}
    found = try_steps(built, 32, patience=60.0)
    assert found.images == 24  # more than the 16 that are tried first
    assert len(found.teachers) == len(found.student) == len(found.update) == len(found.waited) == 10
    assert min(*found.teachers, *found.student, *found.update, found.decoding, found.saved_bytes) > 0
    assert all(torch.equal(before[name], value) for name, value in built.distiller.named_parameters())


def test_a_slow_machine_is_not_kept_waiting(recipe: dict[str, Any]) -> None:
    found = try_steps(build(load_recipe(recipe, ["train.batch_size=24"]), CPU), 32, patience=0.0)
    assert (found.images, len(found.update)) == (16, 2)
