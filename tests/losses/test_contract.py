"""The contract that each file in the folder of losses keeps."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from wrong_values import wrong_values

from unic import lookup
from unic.errors import InputError
from unic.losses import Kind, Loss, build_losses, mse

NAMES = [name for name in lookup.names("unic.losses") if name != "base"]
WRONG = [
    (name, *wrong)
    for name in NAMES
    for found in [lookup.module("unic.losses", name)]
    for wrong in wrong_values(getattr(found, "Loss", None) or found.loss)
]
OPTIONS: dict[str, dict[str, Any]] = {"queue_kl": {"length": 16}}
IMAGES, WIDTH = 6, 5
READS = ("item", "tolist", "numpy", "__bool__", "__float__", "__int__", "__index__")


def built(name: str) -> Loss:
    return build_losses({name: OPTIONS.get(name, {})}, (WIDTH, WIDTH))[name].loss.double()


CASES = [(name, kind) for name in NAMES for kind in built(name).kinds]


def after_steps(loss: Loss) -> Loss:
    for seed in range(3):
        loss.end_step(tokens("cls", seed))
    return loss


def tokens(kind: Kind, seed: int) -> Tensor:
    shape = (IMAGES, WIDTH) if kind == "cls" else (IMAGES, 4, WIDTH)
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def state_of(loss: Loss) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in loss.state_dict().items()}


def assert_equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_one_value_for_each_image_0_at_the_target_with_gradient(name: str, kind: Kind) -> None:
    loss = after_steps(built(name))
    assert not list(loss.parameters())
    target, prediction, before = tokens(kind, 7), tokens(kind, 8).requires_grad_(), state_of(loss)
    values = loss(prediction, target)
    assert values.shape == (IMAGES,)
    assert (values >= 0).all()
    values.sum().backward()
    assert (prediction.grad != 0).flatten(1).any(1).all()
    exact = target.clone().requires_grad_()
    torch.testing.assert_close(loss(exact, target), torch.zeros(IMAGES, dtype=torch.float64), atol=1e-12, rtol=0)
    loss(exact, target).sum().backward()
    assert exact.grad.isfinite().all()
    assert_equal(state_of(loss), before)  # the trial batch and the diagnosis of a step end here


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_an_image_has_its_value_in_any_part_of_a_batch(name: str, kind: Kind) -> None:
    loss = after_steps(built(name))
    if loss.needs_whole_batch:
        pytest.skip("it is refused in parts")
    target, prediction = tokens(kind, 7), tokens(kind, 8)
    parts = [loss(prediction[part], target[part]) for part in (slice(0, 2), slice(2, IMAGES))]
    torch.testing.assert_close(torch.cat(parts), loss(prediction, target))


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_it_is_finite_before_the_first_step_and_for_a_single_token(name: str, kind: Kind) -> None:
    loss = built(name)
    for prediction, target in ((tokens(kind, 8), tokens(kind, 7)), (tokens(kind, 8)[:1, :1], tokens(kind, 7)[:1, :1])):
        if kind == "cls":
            prediction, target = tokens(kind, 8)[: len(prediction)], tokens(kind, 7)[: len(target)]
        prediction.requires_grad_()
        values = loss(prediction, target)
        values.sum().backward()
        assert values.isfinite().all()
        assert prediction.grad.isfinite().all()


@pytest.mark.parametrize("name", NAMES)
def test_state_is_saved_and_survives_a_step_that_is_not_finite(name: str) -> None:
    loss, again = after_steps(built(name)), built(name)
    again.load_state_dict(state_of(loss))
    for kind in loss.kinds:
        assert torch.equal(loss(tokens(kind, 8), tokens(kind, 7)), again(tokens(kind, 8), tokens(kind, 7)))
    before = state_of(loss)
    loss.end_step(tokens("cls", 9).fill_(torch.nan))
    assert_equal(state_of(loss), before)
    loss.end_step(tokens("cls", 9))
    assert not before or any(not torch.equal(value, before[key]) for key, value in state_of(loss).items())


@pytest.mark.parametrize("name", NAMES)
def test_nothing_reads_a_tensor(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    loss = built(name)

    def refuse(self: Tensor, *arguments: object) -> None:
        raise AssertionError("a tensor was read by the host")

    for read in READS:
        monkeypatch.setattr(Tensor, read, refuse)
    for kind in loss.kinds:
        loss(tokens(kind, 8), tokens(kind, 7))
    loss.end_step(tokens("cls", 9))


@pytest.mark.parametrize("name", NAMES)
def test_first_line_is_for_the_list(name: str) -> None:
    assert lookup.first_line(lookup.module("unic.losses", name)).endswith(".")


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("name", "option", "line"),
    [
        ("queue_kl", {"length": 0}, "'loss.queue_kl.length'"),
        ("queue_kl", {"temperature": 0.0}, "'loss.queue_kl.temperature'"),
        ("queue_kl", {"temperature": math.nan}, "'loss.queue_kl.temperature'"),
        ("queue_kl", {"temperature": math.inf}, "'loss.queue_kl.temperature'"),
        ("queue_kl", {"length": "long"}, "loss 'queue_kl': option 'length'"),
        ("queue_kl", {"lenght": 9}, "loss 'queue_kl': unknown option 'lenght'; did you mean 'length'"),
        ("balanced_summary", {"momentum": 0.0}, "'loss.balanced_summary.momentum'"),
        ("shift_equivariant", {"shift": 0}, "'loss.shift_equivariant.shift'"),
        ("cosine", {"margin": 1}, "loss 'cosine': unknown option 'margin'"),
    ],
)  # fmt: skip
def test_wrong_options_are_named(name: str, option: dict[str, object], line: str) -> None:
    with pytest.raises(InputError, match=line):
        build_losses({name: option}, (WIDTH, WIDTH))


@pytest.mark.parametrize(("name", "option", "value"), WRONG)
def test_a_value_of_a_wrong_type_is_one_line(name: str, option: str, value: object) -> None:
    with pytest.raises(InputError, match=f"^recipe: loss '{name}': option '{option}': .*got ") as caught:
        build_losses({name: {option: value}}, (WIDTH, WIDTH))
    assert "\n" not in str(caught.value)


def test_weights_and_options() -> None:
    losses = build_losses({"cosine": 0.5, "queue_kl": {"weight": 2.0, "length": 3}, "mse": {}}, (WIDTH, WIDTH))
    assert {name: weight for name, (weight, _) in losses.items()} == {"cosine": 0.5, "queue_kl": 2.0, "mse": 1.0}
    assert losses["queue_kl"].loss.length == 3
    with pytest.raises(InputError, match="'loss' needs at least one entry"):
        build_losses({"cosine": 0.0, "mse": {"weight": 0}}, (WIDTH, WIDTH))


def test_patches_that_no_teacher_gives() -> None:
    with pytest.raises(InputError, match=r"'loss'.*no loss compares CLS"):
        build_losses({"shift_equivariant": 1.0}, (WIDTH, 0))


def test_dotted_path_names_foreign_code(
    trust: Callable[[str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trust("unic.losses.mse")
    assert build_losses({"unic.losses.mse": 1.0}, (WIDTH, WIDTH))["unic.losses.mse"].loss.function is mse.loss
    trust("unic.errors")
    with pytest.raises(InputError, match="no 'loss'"):
        build_losses({"unic.errors": 1.0}, (WIDTH, WIDTH))
    (tmp_path / "loss_lab").mkdir()
    (tmp_path / "loss_lab/scaled.py").write_text(
        "def loss(z, y, *, by: float = 1.0): return by * (z - y).flatten(1).sum(1)"
    )
    (tmp_path / "loss_lab/other.py").write_text("class Loss: pass")
    monkeypatch.syspath_prepend(tmp_path)
    trust("loss_lab.scaled")
    loss = build_losses({"loss_lab.scaled": {"by": 3.0}}, (WIDTH, WIDTH))["loss_lab.scaled"].loss
    assert loss(torch.ones(1, 2), torch.zeros(1, 2)).item() == 6
    trust("loss_lab.other")
    with pytest.raises(InputError, match=r"subclass of unic.losses.base.Loss"):
        build_losses({"loss_lab.other": 1.0}, (WIDTH, WIDTH))


def test_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(InputError, match="'cosin'.*'cosine'"):
        build_losses({"cosin": 1.0}, (WIDTH, WIDTH))
