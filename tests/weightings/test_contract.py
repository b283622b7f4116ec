"""The contract that each file in the folder of weightings keeps."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from wrong_values import wrong_values

from unic import lookup
from unic.errors import InputError
from unic.weightings import Pairs, Weighting, base, build_weighting

NAMES = [name for name in lookup.names("unic.weightings") if name != "base"]
WRONG = [(name, *wrong) for name in NAMES for wrong in wrong_values(lookup.entry("unic.weightings", name, "Weighting"))]
TEACHERS, IMAGES, WIDTH = 3, 12, 5
READS = ("item", "tolist", "numpy", "__bool__", "__float__", "__int__", "__index__")


def built(name: str) -> Weighting:
    weighting = build_weighting(name, TEACHERS, 0, {})
    weighting.prepare(WIDTH)
    return weighting


def some_pairs(seed: int = 0, *, owners: bool = False) -> Pairs:
    generator = torch.Generator().manual_seed(seed)
    owned = torch.rand(TEACHERS, IMAGES, generator=generator) < 0.5
    owned[2, :-1] |= ~owned.any(0)[:-1]
    owned[:, -1] = False  # an image that nobody owns
    return Pairs(
        torch.rand(TEACHERS, IMAGES, generator=generator) + 0.1,
        step=3,
        index=torch.randperm(1000, generator=generator)[:IMAGES],
        owned=owned if owners else None,
        cls=torch.randn(IMAGES, WIDTH, generator=generator),
        gradients=torch.rand(TEACHERS, generator=generator) + 0.1,
    )


def part(pairs: Pairs, images: slice) -> Pairs:
    """Some images; each part has measured its share of the gradients."""
    count = len(pairs.index[images])
    return replace(
        pairs,
        losses=pairs.losses[:, images],
        index=pairs.index[images],
        owned=None if pairs.owned is None else pairs.owned[:, images],
        cls=None if pairs.cls is None else pairs.cls[images],
        gradients=None if pairs.gradients is None else pairs.gradients * count / IMAGES,
    )


def after_steps(weighting: Weighting, *, owners: bool = False) -> Weighting:
    for seed in range(3):
        pairs = some_pairs(seed, owners=owners)
        weighting.end_step(weighting.observe(pairs, weighting.coefficients(pairs)))
    return weighting


def state_of(weighting: Weighting) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in weighting.state_dict().items()}


def assert_equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("owners", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_weights_of_a_batch(name: str, owners: bool) -> None:
    fresh = built(name)
    if owners and not fresh.knows_owners:
        pytest.skip("it is refused with owners")
    for weighting in (fresh, after_steps(built(name), owners=owners)):
        pairs, before = some_pairs(7, owners=owners), state_of(weighting)
        losses = pairs.losses.clone().requires_grad_()
        weights = weighting.coefficients(pairs)
        assert weights.shape == (TEACHERS, IMAGES)
        assert not weights.requires_grad
        assert torch.isfinite(weights).all()
        assert (weights >= 0).all()
        if pairs.owned is not None:
            assert not weights[~pairs.owned].any()
        numerator, denominator = weighting.sums(losses, weights)
        assert denominator > 0
        assert not denominator.requires_grad
        numerator.backward()
        torch.testing.assert_close(losses.grad != 0, weights != 0)
        weighting.observe(pairs, weights)
        assert_equal(state_of(weighting), before)  # the trial batch and the diagnosis of a step end here


@pytest.mark.parametrize("owners", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_micro_batches_add_up_to_the_batch(name: str, owners: bool) -> None:
    weighting = after_steps(built(name))
    if weighting.needs_whole_batch or (owners and not weighting.knows_owners):
        pytest.skip("it is refused")
    whole = some_pairs(9, owners=owners)
    parts = [part(whole, images) for images in (slice(0, 5), slice(5, IMAGES))]
    weights = [weighting.coefficients(pairs) for pairs in parts]
    torch.testing.assert_close(torch.cat(weights, dim=1), weighting.coefficients(whole))
    sums = [weighting.sums(pairs.losses, own) for pairs, own in zip(parts, weights, strict=True)]
    for found, expected in zip(
        zip(*sums, strict=True), weighting.sums(whole.losses, torch.cat(weights, 1)), strict=True
    ):
        torch.testing.assert_close(sum(found), expected)
    observed = weighting.observe(whole, torch.cat(weights, 1))
    if observed is not None:
        of_parts = [weighting.observe(pairs, own) for pairs, own in zip(parts, weights, strict=True)]
        torch.testing.assert_close(sum(of_parts), observed)


@pytest.mark.parametrize("name", NAMES)
def test_state_is_saved_and_survives_a_step_that_is_not_finite(name: str) -> None:
    weighting, again = after_steps(built(name)), built(name)
    again.load_state_dict(state_of(weighting))
    pairs = some_pairs(11)
    assert torch.equal(weighting.coefficients(pairs), again.coefficients(pairs))
    before = state_of(weighting)
    broken = replace(pairs, losses=pairs.losses.clone().fill_(torch.nan))
    weighting.end_step(weighting.observe(broken, weighting.coefficients(pairs)))
    assert_equal(state_of(weighting), before)
    if before:
        weighting.end_step(weighting.observe(pairs, weighting.coefficients(pairs)))
        assert any(not torch.equal(value, before[key]) for key, value in state_of(weighting).items())


@pytest.mark.parametrize("name", NAMES)
def test_nothing_reads_a_tensor(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    weighting, pairs = built(name), some_pairs()

    def refuse(self: Tensor, *arguments: object) -> None:
        raise AssertionError("a tensor was read by the host")

    for read in READS:
        monkeypatch.setattr(Tensor, read, refuse)
    weights = weighting.coefficients(pairs)
    weighting.sums(pairs.losses, weights)
    weighting.end_step(weighting.observe(pairs, weights))


@pytest.mark.parametrize("name", NAMES)
def test_first_line_is_for_the_list(name: str) -> None:
    assert lookup.first_line(lookup.module("unic.weightings", name)).endswith(".")


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("uncertainty", {"rate": 0}), ("uncertainty", {"rate": math.nan}), ("adaloss", {"momentum": 1}),
        ("gradnorm", {"alpha": -1}), ("gradnorm", {"alpha": math.inf}), ("gradnorm", {"rate": 2}),
        ("adaptive", {"temperature": 0}), ("adaptive", {"temperature": math.nan}), ("adaptive", {"rate": -1}),
        ("adaptive", {"rate": math.inf}), ("teacher_dropping", {"p": 1.5}), ("teacher_dropping", {"p": math.nan}),
    ],
)  # fmt: skip
def test_wrong_options_are_named(name: str, option: dict[str, object]) -> None:
    with pytest.raises(InputError, match=f"'weighting.{next(iter(option))}'"):
        build_weighting(name, TEACHERS, 0, option)


@pytest.mark.parametrize(("name", "option", "value"), WRONG)
def test_a_value_of_a_wrong_type_is_one_line(name: str, option: str, value: object) -> None:
    with pytest.raises(InputError, match=f"^recipe: weighting '{name}': option '{option}': .*got ") as caught:
        build_weighting(name, TEACHERS, 0, {option: value})
    assert "\n" not in str(caught.value)


def test_dotted_path_names_foreign_code(
    trust: Callable[[str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trust("unic.weightings.adaloss")
    assert isinstance(build_weighting("unic.weightings.adaloss", TEACHERS, 0, {"momentum": 0.5}), base.Weighting)
    trust("unic.errors")
    with pytest.raises(InputError, match="no 'Weighting'"):
        build_weighting("unic.errors", TEACHERS, 0, {})
    (tmp_path / "weighting_lab").mkdir()
    (tmp_path / "weighting_lab/other.py").write_text("class Weighting: pass")
    (tmp_path / "weighting_lab/power.py").write_text(
        "from unic.weightings import base\n\n\n"
        "class Weighting(base.Weighting):\n"
        "    def __init__(self, num_teachers, seed, *, power: float = 1.0):\n"
        "        super().__init__(num_teachers, seed)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    trust("weighting_lab.other")
    with pytest.raises(InputError, match=r"subclass of unic.weightings.base.Weighting"):
        build_weighting("weighting_lab.other", TEACHERS, 0, {})
    trust("weighting_lab.power")
    build_weighting("weighting_lab.power", TEACHERS, 0, {"power": 2})
    with pytest.raises(InputError, match="weighting 'weighting_lab.power': option 'power': .*number"):
        build_weighting("weighting_lab.power", TEACHERS, 0, {"power": "x"})
