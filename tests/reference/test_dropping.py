"""Teacher dropping against METHOD §5 in a float64 loop."""

from __future__ import annotations

from typing import Literal

import pytest
import torch

from unic import rng
from unic.weightings import Pairs
from unic.weightings.teacher_dropping import Weighting as TeacherDropping
from unic.weightings.teacher_dropping import keep_worst
from unic.weightings.uniform import Weighting as Uniform

Normalise = Literal["pair", "image"]


def kept_teachers(losses: list[float], draws: list[float], p: float) -> list[int]:
    """The teachers that one image keeps: the first of the largest losses always, each other one unless it is drawn."""
    worst = losses.index(max(losses))
    return [t for t, draw in enumerate(draws) if t == worst or not draw < p]


@pytest.mark.parametrize("p", [0.0, 0.25, 0.5, 1.0])
def test_the_worst_is_kept_and_others_follow_their_draws(p: float) -> None:
    torch.manual_seed(0)
    losses, draws = torch.rand(4, 60, dtype=torch.float64), torch.rand(4, 60, dtype=torch.float64)
    losses[:, :30] = losses[:, :30].mul(3).floor()  # 0, 1 or 2: several teachers are the worst of an image
    kept = keep_worst(losses, draws, p)
    for image in range(60):
        expected = kept_teachers(losses[:, image].tolist(), draws[:, image].tolist(), p)
        assert kept[:, image].nonzero()[:, 0].tolist() == expected
        assert kept[:, image].max() == 1


@pytest.mark.parametrize("p", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("normalise", ["pair", "image"])
def test_loss_of_a_batch(p: float, normalise: Normalise) -> None:
    torch.manual_seed(0)
    losses, index = torch.rand(4, 50, requires_grad=True), torch.arange(50) * 7
    weighting = TeacherDropping(4, 5, p=p, normalise=normalise)
    weights = weighting.coefficients(Pairs(losses.detach(), 3, index))
    assert not weights.requires_grad
    numerator, denominator = weighting.sums(losses, weights)
    check_loss(losses, index, torch.ones(4, 50, dtype=torch.bool), p, normalise, weights, numerator / denominator)


@pytest.mark.parametrize("p", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("normalise", ["pair", "image"])
def test_only_owners_of_an_image_train_on_it(p: float, normalise: Normalise) -> None:
    torch.manual_seed(0)
    losses, index = torch.rand(4, 50), torch.arange(50) * 7
    owned = torch.rand(4, 50) < 0.5
    owned[2] |= ~owned.any(0)
    weighting = TeacherDropping(4, 5, p=p, normalise=normalise)
    weights = weighting.coefficients(Pairs(losses, 3, index, owned))
    numerator, denominator = weighting.sums(losses, weights)
    check_loss(losses, index, owned, p, normalise, weights, numerator / denominator)
    assert torch.equal(Uniform(4, 0).coefficients(Pairs(losses, 3, index, owned)), owned.float())


def check_loss(
    losses: torch.Tensor, index: torch.Tensor, owned: torch.Tensor, p: float, normalise: Normalise,
    weights: torch.Tensor, found: torch.Tensor,
) -> None:  # fmt: skip
    """The kept pairs of seed 5 and step 3, and the loss over them."""
    total, count = 0.0, 0.0
    for i in range(losses.shape[1]):
        owners = [t for t in range(len(losses)) if owned[t, i]]
        draws = [rng.number(5, rng.stream("teacher dropping"), 3, int(index[i]), t) for t in owners]
        kept = [owners[place] for place in kept_teachers([losses[t, i].item() for t in owners], draws, p)]
        assert weights[:, i].nonzero()[:, 0].tolist() == kept
        own = [losses[t, i].item() for t in kept]
        total += sum(own) / len(own) if normalise == "image" else sum(own)
        count += 1 if normalise == "image" else len(own)
    assert found.item() == pytest.approx(total / count, rel=1e-5)


def test_gradients_do_not_pass_through_the_choice() -> None:
    torch.manual_seed(0)
    losses = torch.rand(3, 20, dtype=torch.float64, requires_grad=True)
    weighting = TeacherDropping(3, 5, p=0.5)
    weights = weighting.coefficients(Pairs(losses.detach(), 3, torch.arange(20)))
    numerator, denominator = weighting.sums(losses, weights)
    (gradient,) = torch.autograd.grad(numerator / denominator, losses)
    torch.testing.assert_close(gradient, weights / weights.sum())
