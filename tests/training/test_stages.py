"""Stages at toy size: sizes change, steps count through, a resume across the border is bit-identical."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from operations import Operations
from rich.console import Console
from safetensors.torch import load_file

from unic.api import dry_run
from unic.data.batch import Batch
from unic.encoders import Encoder
from unic.errors import InputError
from unic.recipe.schema import Recipe, load_recipe
from unic.runs.metrics import read_metrics
from unic.training import stages
from unic.training import step as step_module
from unic.training.build import build
from unic.training.ema import Ema
from unic.training.job import Job
from unic.training.resample import resampled
from unic.training.teacher_cache import CachedTeachers
from unic.training.train import fit
from unic.training.trained import load_trained
from unic.training.window import BatchLoss

QUIET = Console(quiet=True)
LARGER = {
    "student.model": "timm:test_vit?pretrained=false&img_size=64",
    "data": {"size": 64},
    "train": {"steps": 4, "lr": 0.004},
}


def tensors(run: Path, step: int) -> dict[str, torch.Tensor]:
    return load_file(run / f"checkpoints/step-{step}/tensors.safetensors")


@pytest.mark.parametrize("dies_at", [5, 8, 10])
def test_resume_across_the_border_is_bit_identical(recipe: dict[str, Any], tmp_path: Path, dies_at: int) -> None:
    recipe |= {"stages": [{}, LARGER], "trackers": {}}
    recipe["train"]["ema"] = 0.9
    fit(load_recipe(recipe), tmp_path / "whole", console=QUIET)
    whole = read_metrics(tmp_path / "whole")
    assert [row["step"] for row in whole] == list(range(1, 13))

    def die(encoder: Encoder, step: int) -> dict[str, float]:
        if step == dies_at:
            raise RuntimeError("power cut")
        return {}

    settings = load_recipe(recipe, ["eval.every=1"])
    with pytest.raises(RuntimeError, match="power cut"):
        fit(settings, tmp_path / "broken", console=QUIET, callback=die)
    fit(load_recipe(recipe), tmp_path / "broken", console=QUIET, resume=True)
    resumed = [row for row in read_metrics(tmp_path / "broken") if "loss" in row]
    assert [(row["step"], row["loss"], row["lr"]) for row in resumed] == [
        (row["step"], row["loss"], row["lr"]) for row in whole
    ]
    a, b = tensors(tmp_path / "whole", 12), tensors(tmp_path / "broken", 12)
    assert all(torch.equal(a[name], b[name]) for name in a.keys() | b.keys())


def test_what_is_read_is_the_last_stage_and_the_average(recipe: dict[str, Any], tmp_path: Path) -> None:
    recipe |= {"stages": [{}, LARGER], "trackers": {}}
    recipe["train"]["ema"] = 0.9
    returned = fit(load_recipe(recipe), tmp_path / "run", console=QUIET)
    student = load_trained(tmp_path / "run").student()
    assert student.input_size == (64, 64)
    saved = tensors(tmp_path / "run", 12)
    for name, tensor in student.state_dict().items():
        assert torch.equal(tensor, saved[f"ema.student.{name}"])
        assert torch.equal(tensor, returned.state_dict()[name])
    assert not torch.equal(saved["ema.student.model.pos_embed"], saved["distiller.student.model.pos_embed"])


def test_early_stop_ends_the_stage(recipe: dict[str, Any], tmp_path: Path) -> None:
    """The best look is the second; after two worse ones each stage ends."""
    scores = iter([10.0, 20.0, 15.0, 20.0])
    settings = load_recipe(recipe, ["train.steps=30", "eval={every: 2, patience: 2}"])
    fit(settings, tmp_path / "run", console=QUIET, callback=lambda *_: {"knn/mean": next(scores)})
    assert max(row["step"] for row in read_metrics(tmp_path / "run")) == 8
    fit(settings, tmp_path / "run", console=QUIET, resume=True)  # it knows that it has ended
    assert max(row["step"] for row in read_metrics(tmp_path / "run")) == 8


def test_average_is_the_recurrence() -> None:
    module, expected = torch.nn.Linear(1, 1, bias=False), 1.0
    module.weight.data.fill_(1.0)
    ema = Ema(module, 0.5)
    for step, value in ((1, 2.0), (50, 4.0)):
        module.weight.data.fill_(value)
        ema.update(step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * value
    assert float(ema.tensors["weight"]) == pytest.approx(expected)


def test_average_of_many_tensors_takes_no_more_operations() -> None:
    module = torch.nn.Sequential(*(torch.nn.Linear(2, 2) for _ in range(9)), torch.nn.BatchNorm1d(2))
    ema = Ema(module, 0.5)
    before = {name: tensor.clone() for name, tensor in ema.tensors.items()}
    for tensor in module.state_dict().values():
        tensor.add_(3)
    with Operations() as operations:
        ema.update(50)
    assert [name for name in operations.names if name != "detach"] == ["copy_", "_foreach_mul_", "_foreach_add_"]
    for name, tensor in module.state_dict().items():  # bit for bit what it was, tensor by tensor
        expected = before[name].mul(0.5).add(tensor, alpha=0.5) if tensor.is_floating_point() else tensor
        assert torch.equal(ema.tensors[name], expected)


@pytest.mark.parametrize(
    ("stage", "line"),
    [
        ({"dat": {}}, "'dat'.*'data'"),
        ({"train": {"epoch": 3}}, "'train.epoch'.*'epochs'"),
        ({"student.model": "timm:vit_tiny_patch16_224?pretrained=false"}, "student.model.*sizes"),
    ],
)
def test_what_does_not_fit_is_refused(recipe: dict[str, Any], tmp_path: Path, stage: Any, line: str) -> None:
    recipe |= {"stages": [{"train": {"steps": 1}}, stage]}
    with pytest.raises(InputError, match=line):
        fit(load_recipe(recipe), tmp_path / "run", console=QUIET)
    assert not (tmp_path / "run").exists()


OTHER = {"teachers.models.other": "timm:test_vit2?pretrained=false&img_size=32"}


@pytest.mark.parametrize("stages", [[{}, OTHER], [OTHER, {}]])
@pytest.mark.parametrize("projector", ["ladder", "identity"])
def test_a_teacher_of_one_stage_is_named(recipe: dict[str, Any], stages: list[Any], projector: str) -> None:
    del recipe["teachers"]["models"]["cnn"]
    recipe |= {"stages": stages, "projector": projector}
    line = "teacher 'other' is not in every stage, .*; name it in 'teachers.models', or leave it out of the stages"
    with pytest.raises(InputError, match=line):
        dry_run(recipe)


def test_stages_may_name_further_teachers(recipe: dict[str, Any], tmp_path: Path) -> None:
    """In each stage, or in some where a teacher has neither projector nor statistics."""
    del recipe["teachers"]["models"]["cnn"]
    recipe |= {"trackers": {}, "train": recipe["train"] | {"steps": 1}}
    fit(load_recipe(recipe | {"stages": [OTHER, OTHER]}), tmp_path / "each", console=QUIET)
    projectors = load_trained(tmp_path / "each").part("distiller.projectors.")
    assert {key.partition(".")[0] for key in projectors} == {"vit", "other"}
    assert ["loss/other" in row for row in read_metrics(tmp_path / "each")] == [True, True]
    plain = {"projector": "identity", "standardize": "layer_norm"}
    fit(load_recipe(recipe | plain | {"stages": [{}, OTHER]}), tmp_path / "second", console=QUIET)
    assert ["loss/other" in row for row in read_metrics(tmp_path / "second")] == [False, True]


def test_cached_teachers_see_what_the_student_sees_in_every_stage(
    recipe: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe["teachers"]["cache"] = {"views": 2, "dtype": "fp32", "dir": str(tmp_path)}
    recipe["data"]["augment"] = "unic"
    recipe |= {"stages": [{"train.steps": 1}, {"train.steps": 3}], "trackers": {}}
    plain, compared = step_module.batch_loss, []

    def forward(job: Job, teachers: Any, batch: Batch, step: int, model: Any = None) -> BatchLoss:
        found = plain(job, teachers, batch, step, model)
        if isinstance(teachers, CachedTeachers):
            images = job.augmentation(batch.images, job.recipe.seed, batch.view, batch.index)
            for name, tokens in job.live_teachers()(images, batch.index, batch.view).items():
                torch.testing.assert_close(found.outputs[name].cls, tokens.cls, atol=1e-5, rtol=1e-4)
            compared.append(step)
        return found

    monkeypatch.setattr(step_module, "batch_loss", forward)
    fit(load_recipe(recipe), tmp_path / "run", console=QUIET)
    assert compared == [1, 2, 3, 4]


def test_later_stages_see_new_views_also_after_a_resume(
    recipe: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forty images, 8 a step: the first stage ends in its second epoch, so the next begins with the third."""
    recipe |= {"stages": [{"train.steps": 6}, {"train.steps": 6}], "trackers": {}}
    plain, seen = step_module.batch_loss, {}

    def forward(job: Job, teachers: Any, batch: Batch, step: int, model: Any = None) -> BatchLoss:
        seen.setdefault(step, []).append((batch.view.tolist(), batch.index.tolist()))
        return plain(job, teachers, batch, step, model)

    def die(encoder: Encoder, step: int) -> dict[str, float]:
        if step == 10:
            raise RuntimeError("power cut")
        return {}

    monkeypatch.setattr(step_module, "batch_loss", forward)
    with pytest.raises(RuntimeError, match="power cut"):
        fit(load_recipe(recipe, ["eval.every=1"]), tmp_path / "run", console=QUIET, callback=die)
    fit(load_recipe(recipe), tmp_path / "run", console=QUIET, resume=True)
    views = {step: {view for keys, _ in batches for view in keys} for step, batches in seen.items()}
    assert [views[step] for step in range(1, 13)] == [{0}] * 5 + [{1}] + [{2}] * 5 + [{3}]
    assert seen[10][0] == seen[10][1]  # before the cut and after it
    assert seen[1][0][1] != seen[7][0][1]  # in another order


def test_stages_to_come_are_tried_one_at_a_time(recipe: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    recipe |= {"stages": [{}, {}, LARGER]}
    alive: list[Any] = []

    def build_alone(plan: Recipe, *rest: Any) -> Job:
        values = [tensor for reference in alive if (tensor := reference()) is not None and not tensor.is_meta]
        assert not values
        job = build(plan, *rest)
        alive.extend(map(weakref.ref, [*job.distiller.parameters(), *job.encoders["vit"].parameters()]))
        return job

    monkeypatch.setattr(stages, "build", build_alone)
    first = stages.first_of(load_recipe(recipe).plans(), torch.device("cpu"))
    assert first.grid == (2, 2)
    assert len(alive) > 200


def test_a_dry_run_without_weights_loads_none_in_any_stage(
    recipe: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe |= {"stages": [{}, LARGER | {"student.model": "timm:test_vit?img_size=64"}]}
    loaded = []
    monkeypatch.setattr("timm.models._builder.load_pretrained", lambda *_, **__: loaded.append(1))
    monkeypatch.setattr("unic.encoders.schemes.timm._is_cached", lambda _: True)
    assert dry_run(load_recipe(recipe), random_weights=True)
    assert not loaded
    dry_run(load_recipe(recipe))
    assert loaded


def test_what_the_next_stage_has_not_is_refused() -> None:
    module = torch.nn.Linear(2, 2)
    more = {**module.state_dict(), "blocks.11.weight": torch.zeros(2)}
    with pytest.raises(InputError, match="'blocks.11.weight'"):
        resampled(more, module, (1, 1), (1, 1))


def test_a_recipe_with_fewer_stages_does_not_resume(recipe: dict[str, Any], tmp_path: Path) -> None:
    recipe |= {"stages": [{"train.steps": 1}, {"train.steps": 1}], "trackers": {}}
    fit(load_recipe(recipe), tmp_path / "run", console=QUIET)
    with pytest.raises(InputError, match="stage 2.* 1"):
        fit(load_recipe(recipe | {"stages": []}), tmp_path / "run", console=QUIET, resume=True)
