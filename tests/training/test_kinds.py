"""Every weighting, standardiser and loss trains, resumes to the same numbers and takes a batch in parts."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from unic import lookup
from unic.encoders import Encoder
from unic.errors import InputError, StoppedError
from unic.recipe.schema import load_recipe
from unic.runs import checkpoint
from unic.runs.metrics import read_metrics
from unic.training.build import build
from unic.training.influence import shares
from unic.training.step import batch_loss
from unic.training.train import fit
from unic.training.untraced import untraced

CPU = torch.device("cpu")
WEIGHTINGS = [name for name in lookup.names("unic.weightings") if name not in ("base", "teacher_dropping")]
STANDARDIZERS = [name for name in lookup.names("unic.standardizers") if name not in ("base", "ema", "none")]
KINDS = [f"weighting={{type: {name}}}" for name in WEIGHTINGS] + [
    f"standardize={{type: {name}{', steps: 2' if name == 'phi_s' else ''}}}" for name in STANDARDIZERS
]
LOSSES = {name: f"loss={{cosine: 0.5, {name}: {{weight: 0.5{', length: 16' if name == 'queue_kl' else ''}}}}}"
          for name in lookup.names("unic.losses") if name not in ("base", "cosine", "smooth_l1")}  # fmt: skip
KINDS += LOSSES.values()
STATEFUL = {f"weighting={{type: {name}}}": "weighting" for name in ("uncertainty", "adaloss", "gradnorm", "adaptive")}
STATEFUL |= {LOSSES[name]: "losses" for name in ("queue_kl", "balanced_summary")}  # and the part of a checkpoint


def run(recipe: dict[str, Any], out: Path, *overrides: str, **options: Any) -> list[tuple[int, float]]:
    settings = load_recipe(recipe, ["train.steps=6", "trackers=[]", *overrides])
    fit(settings, out, console=Console(quiet=True), **options)
    return [(row["step"], row["loss"]) for row in read_metrics(out) if "loss" in row]


def tensors(out: Path) -> dict[str, torch.Tensor]:
    found = checkpoint.load_newest(out)
    assert found
    return found.checkpoint.tensors


@pytest.mark.parametrize("kind", KINDS)
def test_it_trains_resumes_and_takes_a_batch_in_parts(recipe: dict[str, Any], tmp_path: Path, kind: str) -> None:
    whole = run(recipe, tmp_path / "whole", kind)
    state = tensors(tmp_path / "whole")
    parts = {name.partition(".")[0] for name in state}
    assert parts.intersection(STATEFUL.values()) == ({STATEFUL[kind]} if kind in STATEFUL else set())

    def die(encoder: Encoder, step: int) -> dict[str, float]:
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        run(recipe, tmp_path / "broken", kind, "eval.every=4", callback=die)
    assert run(recipe, tmp_path / "broken", kind, "eval.every=4", resume=True) == whole
    assert all(torch.equal(value, state[name]) for name, value in tensors(tmp_path / "broken").items())

    if kind != LOSSES["relational"]:  # it needs the whole batch
        in_parts = run(recipe, tmp_path / "parts", kind, "train.micro_batches=3")
        assert [loss for _, loss in in_parts] == pytest.approx([loss for _, loss in whole], abs=1e-4)
        for name, value in tensors(tmp_path / "parts").items():
            if name.startswith(("weighting.", "standardizer.", "losses.")):
                torch.testing.assert_close(value, state[name], atol=1e-3, rtol=1e-3, msg=name)

    found = shares(tmp_path / "whole", "cpu")["gradient"]  # reads the states, too
    assert sum(found.values()) == pytest.approx(1)


@pytest.mark.parametrize("kind", sorted(STATEFUL))
def test_the_trial_batch_leaves_the_state_alone_and_a_later_stage_takes_it_over(
    recipe: dict[str, Any], tmp_path: Path, kind: str
) -> None:
    job, part = build(load_recipe(recipe, [kind]), CPU), STATEFUL[kind]
    stateful = job.weighting if part == "weighting" else job.loss_states
    fresh = {name: value.clone() for name, value in stateful.state_dict().items()}
    with untraced(job):
        batch_loss(job, job.live_teachers(), job.first_batch(4), 1).numerator.backward()
    assert all(torch.equal(value, fresh[name]) for name, value in stateful.state_dict().items())
    stages = "stages=[{train.steps: 6}, {train.steps: 1, train.lr: 1e-9}]"
    run(recipe, tmp_path / "run", kind, "checkpoint={every: 6, keep: 9}", stages)
    late = tensors(tmp_path / "run")
    early = load_file(tmp_path / "run/checkpoints/step-6/tensors.safetensors")
    assert any(not torch.equal(early[f"{part}.{name}"], value) for name, value in fresh.items())
    # One step after six: had the second stage begun anew, its end would lie nearer to the beginning.
    moved = [sum((late[f"{part}.{name}"] - x).float().norm() for name, x in each.items()) for each in (
        {name: early[f"{part}.{name}"] for name in fresh}, fresh,
    )]  # fmt: skip
    assert moved[0] < moved[1]


def test_a_later_stage_adds_resizes_and_removes_a_loss_with_a_state(recipe: dict[str, Any], tmp_path: Path) -> None:
    """A state of another size starts anew, one of the same size goes on; a resume changes nothing of either."""
    losses = [
        "{balanced_summary: 1, cosine: 1}",
        "{balanced_summary: 1, queue_kl: {length: 8}, cosine: 1}",
        "{balanced_summary: 1, queue_kl: {length: 16}, cosine: 1}",
        "{balanced_summary: 1, cosine: 1}",
    ]
    stages = [f"{{train.steps: 2, teachers.models.vit.loss: {loss}}}" for loss in losses]
    settings = ["checkpoint={every: 1, keep: 9}", f"stages=[{','.join(stages)}]"]
    whole = run(recipe, tmp_path / "whole", *settings)
    log = (tmp_path / "whole/train.log").read_text()
    assert re.findall(r"losses whose state starts anew in (.*)", log) == [
        f"stage {number}: vit/queue_kl" for number in (2, 3)
    ]
    saved = {step: load_file(tmp_path / f"whole/checkpoints/step-{step}/tensors.safetensors") for step in range(1, 9)}
    queues = [saved[step].get("losses.vit/queue_kl/queue") for step in range(1, 9)]
    assert [None if queue is None else len(queue) for queue in queues] == [None] * 2 + [8] * 2 + [16] * 2 + [None] * 2
    assert [int(saved[step]["losses.vit/queue_kl/seen"]) for step in (3, 4, 5, 6)] == [8, 16, 8, 16]
    weights = [float(saved[step]["losses.vit/balanced_summary/sums"][1]) for step in saved]
    # One average through all stages; nothing learns in the first step.
    assert weights == pytest.approx([1 - 0.99 ** (step - 1) for step in saved])

    for last in (2, 3):  # at the border and within the stage
        shutil.copytree(tmp_path / "whole", tmp_path / f"again-{last}")
        for step in range(last + 1, 9):
            shutil.rmtree(tmp_path / f"again-{last}/checkpoints/step-{step}")
        assert run(recipe, tmp_path / f"again-{last}", *settings, resume=True) == whole
        end = tensors(tmp_path / f"again-{last}")
        assert all(torch.equal(value, end[name]) for name, value in saved[8].items())


def test_a_resume_within_a_stage_needs_every_state(recipe: dict[str, Any]) -> None:
    job = build(load_recipe(recipe, [LOSSES["queue_kl"]]), CPU)
    lacking = {name: value for name, value in job.loss_states.state_dict().items() if not name.endswith("/seen")}
    with pytest.raises(RuntimeError, match="seen"):
        job.loss_states.load_state_dict(lacking)
    assert job.loss_states.take_over(lacking) == ["vit/queue_kl", "cnn/queue_kl"]


def test_gradients_are_those_of_each_teacher_at_the_last_tokens(
    recipe: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    job = build(load_recipe(recipe, ["weighting={type: gradnorm}", "train.patch_share=0.5"]), CPU)
    job.weighting.weights.copy_(torch.tensor([0.5, 1.5]))
    seen: list[Any] = []
    original = type(job.student).intermediates

    def noted(self: Encoder, *arguments: Any) -> Any:
        seen.append(original(self, *arguments))
        return seen[-1]

    monkeypatch.setattr(type(job.student), "intermediates", noted)
    job.distiller.train()
    loss = batch_loss(job, job.live_teachers(), job.first_batch(4), 1)
    loss.numerator.backward(retain_graph=True)
    assert loss.pairs.gradients is not None
    measured = loss.pairs.gradients.clone()
    last = seen[0][-1]
    for teacher, weight in enumerate((0.5, 1.5)):
        part = weight * loss.terms.losses[teacher].sum()
        gradients = torch.autograd.grad(part, [last.cls, last.patches], retain_graph=True)
        torch.testing.assert_close(measured[teacher], sum(g.double().square().sum().float() for g in gradients))


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["weighting={type: gradnorm}", "train.compile=true"], "weighting 'gradnorm' measures.*train.compile=false"),
        (["weighting={type: gradnorm}", "OWNERS"], "weighting 'gradnorm' does not support 'data.train.teachers'"),
        (["weighting.level=batch", "OWNERS"], r"'teacher_dropping' \(level: batch\) does not support"),
        (["weighting.level=batch", "train.micro_batches=2"], r"\(level: batch\) needs the whole batch"),
        (["weighting={type: gradnom}"], "weighting 'gradnom'.*'gradnorm'"),
        (["standardize={type: phi}"], "standardizer 'phi'.*'phi_s'"),
        (["standardize={type: phi_s, step: 3}"], "'step'.*'steps'"),
    ],
)
def test_what_does_not_go_together_is_named(recipe: dict[str, Any], overrides: list[str], line: str) -> None:
    path = recipe["data"]["train"]
    overrides = [f"data.train=[{{path: {path}, teachers: [vit]}}]" if item == "OWNERS" else item for item in overrides]
    with pytest.raises(InputError, match=line):
        build(load_recipe(recipe, overrides), CPU)


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trust: Callable[[str], None]) -> Callable[[str], str]:
    """Writes code into a module of one's own; gives its trusted name."""

    def write(code: str) -> str:
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine/own.py").write_text(code)
        monkeypatch.syspath_prepend(str(tmp_path))
        for name in ("mine", "mine.own"):  # another test may have imported its own
            sys.modules.pop(name, None)
        trust("mine.own")
        return "mine.own"

    return write


@pytest.fixture
def own_weighting(own: Callable[[str], str]) -> Callable[[str], str]:
    """Writes a weighting with these coefficients into a module of one's own; gives its trusted name."""

    def write(coefficients: str) -> str:
        return own(
            "from unic.weightings import base\n\n\n"
            "class Weighting(base.Weighting):\n"
            "    def coefficients(self, pairs):\n"
            f"        return {coefficients}\n"
        )

    return write


def test_a_module_of_ones_own(recipe: dict[str, Any], tmp_path: Path, own_weighting: Callable[[str], str]) -> None:
    name = own_weighting("(pairs.losses == pairs.losses.max(0).values).float()")
    run(recipe, tmp_path / "run", f"weighting={{type: {name}}}", "train.steps=2")
    kept = [row["kept/vit"] + row["kept/cnn"] for row in read_metrics(tmp_path / "run")]
    assert kept == [1.0, 1.0]


def test_coefficients_of_another_shape_are_refused(
    recipe: dict[str, Any], tmp_path: Path, own_weighting: Callable[[str], str]
) -> None:
    """One coefficient an image would count for all teachers."""
    name = own_weighting("pairs.losses[0] * 0 + 1")
    expected = r"'mine.own': coefficients has the shape \(8,\); expected \(teachers, images\), here \(2, 8\)"
    with pytest.raises(InputError, match=expected):
        run(recipe, tmp_path / "run", f"weighting={name}")


def test_a_step_that_leaves_out_every_pair_is_skipped_and_named(
    recipe: dict[str, Any], tmp_path: Path, own_weighting: Callable[[str], str]
) -> None:
    name = own_weighting("pairs.losses * (pairs.step % 4 < 2)")
    with pytest.raises(StoppedError, match="^step 3: 2 .* the weighting gives all 8 images the coefficient 0"):
        run(recipe, tmp_path / "run", f"weighting={name}", "train.max_skipped=2")
    found = {row["step"]: (row["loss"] is None, row.get("skipped")) for row in read_metrics(tmp_path / "run")}
    assert found == {1: (False, None), 2: (True, 1), 3: (True, 2)}


LOSS = "def loss(prediction, target):\n    return {}\n"
STANDARDIZER = """
from unic.standardizers import base
class Standardizer(base.Standardizer):
    def standardised(self, teacher, kind, x):
        return {}
"""
PROJECTOR = """
from torch import nn
from unic.tokens import tokens_of
class Projector(nn.Module):
    def __init__(self, rung_dims, output_dims, width):
        super().__init__()
        self.cls = nn.Linear(rung_dims[-1][0], output_dims[0])
        self.patches = nn.Linear(rung_dims[-1][1], output_dims[1])
    def forward(self, rungs):
        cls, patches = self.cls(rungs[-1].cls), self.patches(rungs[-1].patches)
        return {}
"""


@pytest.mark.parametrize(
    ("code", "override", "line"),
    [
        (
            LOSS.format("(prediction - target).square().mean()"), "loss={{cosine: 1, {}: 1}}",
            "loss 'mine.own': what it returns has the shape (); expected a number for each image, here (8,)",
        ),
        (
            LOSS.format("(prediction - target).square().mean(-1, keepdim=True)"), "loss={{{}: 1}}",
            "loss 'mine.own': what it returns has the shape (8, 1); expected a number for each image, here (8,)",
        ),
        (
            LOSS.format("0.5"), "loss={{{}: 1}}",
            "loss 'mine.own': what it returns is of type float; expected a number for each image, here (8,)",
        ),
        (
            STANDARDIZER.format("x.mean(-1, keepdim=True)"), "standardize={}",
            "standardizer 'mine.own': what standardised('vit', 'cls', x) returns has the shape (8, 1); "
            "expected the shape of x, here (8, 64)",
        ),
        (
            STANDARDIZER.format("x.mean(1) if kind == 'patch' else x"), "standardize={}",
            "standardizer 'mine.own': what standardised('vit', 'patch', x) returns has the shape (8, 64); "
            "expected the shape of x, here (8, 4, 64)",
        ),
        (
            PROJECTOR.format("tokens_of(cls[:, :1], patches, rungs[-1].grid)"), "projector={}",
            "projector 'mine.own' of teacher 'vit': its CLS has the shape (8, 1); "
            "expected that of the teacher's, here (8, 64)",
        ),
        (
            PROJECTOR.format("tokens_of(cls, None, rungs[-1].grid)"), "projector={}",
            "projector 'mine.own' of teacher 'vit': its tensor of patches has the shape (8, 0, 0); "
            "expected that of the teacher's, here (8, 4, 64)",
        ),
        (
            PROJECTOR.format("cls, patches"), "projector={}",
            "projector 'mine.own' of teacher 'vit': expected Tokens, found tuple",
        ),
    ],
)  # fmt: skip
def test_a_part_of_ones_own_that_returns_another_shape_is_named(
    recipe: dict[str, Any], own: Callable[[str], str], unchecked: None, code: str, override: str, line: str
) -> None:
    """torch would broadcast some of these: the losses then compare each channel with one number."""
    with pytest.raises(InputError, match=f"^{re.escape(line)}$"):
        build(load_recipe(recipe, [override.format(own(code))]), CPU)
