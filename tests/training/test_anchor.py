"""Features held near the start's: the term by hand, the sources that have it, runs that keep to it and go on alike."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from unic.data.image_list import ImageList
from unic.data.loader import view_batches
from unic.encoders import Encoder
from unic.errors import InputError
from unic.recipe.schema import load_recipe
from unic.runs.metrics import read_metrics
from unic.training.anchor import Anchor
from unic.training.build import build
from unic.training.job import Job
from unic.training.step import batch_loss
from unic.training.train import fit

QUIET = Console(quiet=True)


def two_sources(recipe: dict[str, Any], weight: float) -> dict[str, Any]:
    path = recipe["data"]["train"]
    recipe["data"] |= {"train": [{"path": path}, {"path": path, "anchor": weight}], "augment": "none"}
    return recipe


def last_cls(job: Job, images: torch.Tensor) -> torch.Tensor:
    return job.student.intermediates(images, [5])[0].cls.detach()


def anchored(job: Job) -> Anchor:
    assert job.anchor is not None
    return job.anchor


def test_a_student_that_points_elsewhere_pays_on_the_named_source_alone(recipe: dict[str, Any]) -> None:
    job = build(load_recipe(two_sources(recipe, 0.5)), torch.device("cpu"))
    anchor, images = anchored(job), torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    job.student.eval()
    start, centre = last_cls(job, images), anchor._centre
    of_second = len(job.images.sources[0])
    index = torch.tensor([0, of_second, of_second + 1, of_second + 2])
    turned = torch.stack([start[0], start[1], 2 * centre - start[2], centre + 3 * (start[3] - centre)])
    held = anchor(images, turned.requires_grad_(), index)
    # Not held; where it was; the opposite direction, so the cosine is -1; further out in the same direction.
    assert held.terms.tolist() == pytest.approx([0, 0, 0.5 * 2, 0], abs=1e-5)
    assert held.distances.tolist() == pytest.approx([0, 2, 0], abs=1e-5)
    held.terms.sum().backward()
    assert turned.grad is not None
    assert turned.grad[0].abs().sum() == 0


def test_the_centre_is_the_mean_of_the_start_on_the_named_images(recipe: dict[str, Any]) -> None:
    job = build(load_recipe(two_sources(recipe, 1.0)), torch.device("cpu"))
    views = torch.cat([batch.images for batch in view_batches(job.images.sources[1], size=32)]) / 255
    job.student.eval()
    torch.testing.assert_close(anchored(job)._centre, last_cls(job, views).mean(0), rtol=1e-4, atol=1e-4)


def test_each_teachers_loss_has_the_term(recipe: dict[str, Any]) -> None:
    job = build(load_recipe(two_sources(recipe, 1.0), ["weighting={type: uniform}"]), torch.device("cpu"))
    job.distiller.eval()
    loss = batch_loss(job, job.live_teachers(), job.first_batch(8), 1)
    assert loss.held is not None
    plain, _ = job.weighting.sums(loss.terms.losses, loss.weights)
    assert loss.denominator == 16
    assert (loss.numerator - plain).item() == pytest.approx(2 * loss.held.terms.sum().item(), abs=1e-4)


def test_a_strong_anchor_keeps_the_features_and_a_resume_knows_the_start(
    recipe: dict[str, Any], tmp_path: Path
) -> None:
    recipe = two_sources(recipe, 0.0) | {"trackers": {}, "stages": [{}, {"train.steps": 4}]}

    def run(name: str, *changes: str, **options: Any) -> dict[str, torch.Tensor]:
        fit(load_recipe(recipe, ["student.drop_path=0", *changes]), tmp_path / name, console=QUIET, **options)
        return load_file(tmp_path / name / "checkpoints/step-12/tensors.safetensors")

    def drift(name: str) -> float:
        return [row["drift"] for row in read_metrics(tmp_path / name) if "drift" in row][-1]

    def die(encoder: Encoder, step: int) -> dict[str, float]:
        raise RuntimeError("power cut")

    strong = "data.train.1.anchor=100"
    run("weak", "data.train.1.anchor=1e-6")
    held = run("strong", strong)
    assert drift("strong") < 0.5 * drift("weak")
    with pytest.raises(RuntimeError, match="power cut"):
        run("broken", strong, "eval.every=10", callback=die)
    resumed = run("broken", strong, resume=True)
    assert all(torch.equal(held[name], resumed[name]) for name in held.keys() | resumed.keys())


def test_without_it_nothing_is_kept_or_logged(recipe: dict[str, Any], tmp_path: Path) -> None:
    fit(load_recipe(two_sources(recipe, 0.0)), tmp_path / "run", console=QUIET)
    saved = load_file(tmp_path / "run/checkpoints/step-8/tensors.safetensors")
    assert not any(name.startswith("start.") for name in saved)
    assert not any("drift" in row for row in read_metrics(tmp_path / "run"))
    assert all(math.isfinite(row["loss"]) for row in read_metrics(tmp_path / "run") if "loss" in row)


def test_images_in_their_order_alone_are_refused(recipe: dict[str, Any]) -> None:
    recipe = load_recipe(two_sources(recipe, 1.0))
    job = build(recipe, torch.device("cpu"))
    job.images.sources[1].in_pieces = True
    images = ImageList(job.images.sources, job.images.weights)
    with pytest.raises(InputError, match=r"data\.train\.anchor.*streamed"):
        Anchor.of(recipe, job.distiller, images)
