"""Each weighting against its formula in a float64 loop."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import pytest
import torch

from unic import rng
from unic.weightings import Pairs, Weighting, adaloss, adaptive, gradnorm, random_teacher, uncertainty

T, STEPS = 3, 25


def batches(num_images: int = 6, width: int = 4) -> Iterator[Pairs]:
    """Losses of different sizes that fall, each at a pace of its own."""
    generator = torch.Generator().manual_seed(0)
    for step in range(1, STEPS + 1):
        scale = torch.tensor([math.exp(-step / 40), 3.0, 0.2 * math.exp(-step / 10)])[:, None]
        yield Pairs(
            (torch.rand(T, num_images, generator=generator) + 0.5) * scale,
            step,
            torch.arange(num_images) + step,
            cls=torch.randn(num_images, width, generator=generator) * 5 + 2,
            gradients=(torch.rand(T, generator=generator) + 0.5) * scale[:, 0],
        )


def follow(weighting: Weighting, expect: Callable[[Pairs], list[list[float]]]) -> None:
    """Compares the weights of every step; `expect` gives them as rows of teachers, then makes the step."""
    for pairs in batches():
        weights = weighting.coefficients(pairs)
        torch.testing.assert_close(
            weights.double(), torch.tensor(expect(pairs), dtype=torch.float64), rtol=2e-4, atol=1e-5
        )
        weighting.end_step(weighting.observe(pairs, weights))


def means(pairs: Pairs) -> list[float]:
    return [sum(row) / len(row) for row in pairs.losses.double().tolist()]


def alike(weights: list[float], pairs: Pairs) -> list[list[float]]:
    return [[weight] * len(pairs.index) for weight in weights]


def test_uncertainty() -> None:
    noise = [0.0] * T

    def expect(pairs: Pairs) -> list[list[float]]:
        found = alike([math.exp(-s) for s in noise], pairs)
        for t, loss in enumerate(means(pairs)):
            noise[t] -= 0.1 * (1 - math.exp(-noise[t]) * loss)
        return found

    follow(uncertainty.Weighting(T, 0, rate=0.1), expect)


def test_uncertainty_makes_all_parts_of_the_loss_equal() -> None:
    weighting, losses = uncertainty.Weighting(2, 0, rate=0.1), torch.tensor([[4.0, 4.0], [0.25, 0.25]])
    pairs = Pairs(losses, 1, torch.arange(2))
    for _ in range(500):
        weighting.end_step(weighting.observe(pairs, weighting.coefficients(pairs)))
    numerator, denominator = weighting.sums(losses, weighting.coefficients(pairs))
    torch.testing.assert_close(weighting.coefficients(pairs) * losses, torch.ones(2, 2))
    assert (numerator / denominator).item() == pytest.approx(1)


def test_uncertainty_is_not_thrown_off_by_one_huge_loss() -> None:
    weighting = uncertainty.Weighting(2, 0)
    pairs = Pairs(torch.tensor([[1e9], [1.0]]), 1, torch.arange(1))
    weighting.end_step(weighting.observe(pairs, weighting.coefficients(pairs)))
    assert weighting.log_noise.tolist() == [1.0, 0.0]


def test_adaloss() -> None:
    average, count = [0.0] * T, [0]

    def expect(pairs: Pairs) -> list[list[float]]:
        inverse = [1.0] * T
        if count[0]:
            inverse = [(1 - 0.9 ** count[0]) / a for a in average]
        found = alike([T * i / sum(inverse) for i in inverse], pairs)
        for t, loss in enumerate(means(pairs)):
            average[t] = 0.9 * average[t] + 0.1 * loss
        count[0] += 1
        return found

    follow(adaloss.Weighting(T, 0, momentum=0.9), expect)


def test_adaloss_of_a_teacher_that_comes_later() -> None:
    """Before it owns an image it counts as much as the mean of the others; then its average has no bias to 0."""
    weighting = adaloss.Weighting(3, 0)
    losses, index = torch.tensor([[1.0], [3.0], [8.0]]), torch.arange(1)
    first = Pairs(losses, 1, index, owned=torch.tensor([[True], [True], [False]]))
    weighting.end_step(weighting.observe(first, weighting.coefficients(first)))
    everyone = Pairs(losses, 2, index)
    torch.testing.assert_close(weighting.coefficients(everyone)[:, 0], torch.tensor([1.5, 0.5, 1.0]))
    weighting.end_step(weighting.observe(everyone, weighting.coefficients(everyone)))
    inverse = torch.tensor([1, 1 / 3, 1 / 8])
    torch.testing.assert_close(weighting.coefficients(everyone)[:, 0], inverse / inverse.mean())


def test_gradnorm() -> None:
    """The update is that of gradient descent on the loss of the paper, by autograd."""
    weights, first = torch.ones(T, dtype=torch.float64), []

    def expect(pairs: Pairs) -> list[list[float]]:
        nonlocal weights
        found = alike(weights.tolist(), pairs)
        losses = means(pairs)
        first.extend(losses if not first else [])
        assert pairs.gradients is not None
        norms = [math.sqrt(square / len(pairs.index)) for square in pairs.gradients.double().tolist()]
        plain = torch.tensor(norms, dtype=torch.float64) / weights  # of the gradient without its weight
        ratios = [loss / start for loss, start in zip(losses, first, strict=True)]
        mean = sum(norms) / T
        wanted = torch.tensor([mean * (r / (sum(ratios) / T)) ** 0.5 for r in ratios], dtype=torch.float64)
        w = weights.clone().requires_grad_()
        (gradient,) = torch.autograd.grad((w * plain - wanted).abs().sum(), w)
        weights = (weights - 0.05 * gradient / mean).clamp(min=1e-3)
        weights = weights * T / weights.sum()
        return found

    follow(gradnorm.Weighting(T, 0, alpha=0.5, rate=0.05), expect)


def test_gradnorm_makes_gradients_equal() -> None:
    """Gradients are proportional to the weights, 1 : 4 without them."""
    weighting = gradnorm.Weighting(2, 0, alpha=0.0)
    for step in range(1, 400):
        squares = (weighting.weights * torch.tensor([1.0, 4.0])).square()
        pairs = Pairs(torch.ones(2, 1), step, torch.arange(1), gradients=squares)
        weighting.end_step(weighting.observe(pairs, weighting.coefficients(pairs)))
    torch.testing.assert_close(weighting.weights, torch.tensor([1.6, 0.4]), atol=0.05, rtol=0)


def test_adaptive() -> None:
    """The gradient of θ by autograd, for the mean of the images."""
    factors = torch.zeros(T, 5, dtype=torch.float64)

    def expect(pairs: Pairs) -> list[list[float]]:
        nonlocal factors
        assert pairs.cls is not None
        theta, total = factors.clone().requires_grad_(), torch.zeros((), dtype=torch.float64)
        rows = []
        for i, cls in enumerate(pairs.cls.double()):
            centred = cls - cls.mean()
            h = torch.cat([centred / centred.norm(), torch.ones(1, dtype=torch.float64)])
            w = (theta @ h).softmax(0)
            rows.append((T * w.detach()).tolist())
            total = total + (w * pairs.losses[:, i].double()).sum() + 0.7 * (w * w.log()).sum()
        (gradient,) = torch.autograd.grad(total / len(rows), theta)
        factors = factors - 0.5 * gradient
        return [list(row) for row in zip(*rows, strict=True)]

    weighting = adaptive.Weighting(T, 0, temperature=0.7, rate=0.5)
    weighting.prepare(4)
    follow(weighting, expect)
    assert factors.abs().max() > 0.1


def test_random_teacher() -> None:
    pairs = Pairs(torch.rand(3, 40), 5, torch.arange(40) * 3)
    owned = torch.rand(3, 40) < 0.6
    for known in (None, owned):
        weights = random_teacher.Weighting(3, 8).coefficients(Pairs(pairs.losses, 5, pairs.index, known))
        for i in range(40):
            owners = [t for t in range(3) if known is None or known[t, i]]
            draws = {t: rng.number(8, rng.stream("random teacher"), 5, 3 * i, t) for t in owners}
            chosen = [max(draws, key=lambda t: draws[t])] if draws else []
            assert weights[:, i].nonzero()[:, 0].tolist() == chosen


def test_random_teachers_are_alike() -> None:
    shares = random_teacher.Weighting(4, 0).coefficients(Pairs(torch.rand(4, 20_000), 1, torch.arange(20_000))).mean(1)
    torch.testing.assert_close(shares, torch.full((4,), 0.25), atol=0.01, rtol=0)
