"""The learning rate against the reference's table of rates: a warm-up from 0, then a cosine that starts at the peak."""

from __future__ import annotations

import math

import pytest

from unic.training.optimizer import learning_rate


def reference_rates(total: int, warmup: int, peak: float, last: float) -> list[float]:
    """The rates of steps 1 … T by METHOD §6, as a list that is indexed by the number of steps done."""
    rising = [peak * done / (warmup - 1) if warmup > 1 else 0.0 for done in range(warmup)]
    falling = total - warmup
    return rising + [last + (peak - last) * (1 + math.cos(math.pi * done / falling)) / 2 for done in range(falling)]


@pytest.mark.parametrize(("total", "warmup"), [(110, 10), (20, 0), (20, 1), (20, 2), (7, 6), (1, 0), (5, 5)])
def test_every_step(total: int, warmup: int) -> None:
    found = [learning_rate(step, total, warmup, 3e-4, 1e-6) for step in range(1, total + 1)]
    assert found == pytest.approx(reference_rates(total, warmup, 3e-4, 1e-6), rel=1e-5, abs=1e-12)


def test_the_peak_comes_twice_and_the_least_rate_is_never_reached() -> None:
    """METHOD §6 at full length: 200 epochs of 2502 steps, 10 of them rising."""
    found = [learning_rate(step, 500_400, 25_020, 6e-4, 1e-6) for step in (1, 25_020, 25_021, 262_711, 500_400)]
    assert found[:3] == pytest.approx([0, 6e-4, 6e-4], rel=1e-9)
    assert found[3] == pytest.approx((6e-4 + 1e-6) / 2, rel=1e-5)
    assert 1e-6 < found[4] < 1.0001e-6
