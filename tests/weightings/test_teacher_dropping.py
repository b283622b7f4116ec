"""Teacher dropping: its probability, its settings, and what its draws depend on."""

from typing import Any

import pytest
import torch

from unic import rng
from unic.errors import InputError
from unic.weightings import Pairs, build_weighting
from unic.weightings.teacher_dropping import Weighting as TeacherDropping
from unic.weightings.uniform import Weighting as Uniform


@pytest.mark.parametrize(("teachers", "p"), [(1, 0.0), (2, 0.25), (3, 0.375), (4, 0.5), (7, 0.5)])
def test_automatic_probability(teachers: int, p: float) -> None:
    assert TeacherDropping(teachers, 0).p == p


def test_share_kept() -> None:
    losses = torch.rand(4, 20_000)
    kept = TeacherDropping(4, 0).coefficients(Pairs(losses, 1, torch.arange(20_000))).mean()
    assert kept.item() == pytest.approx((1 + 3 * 0.5) / 4, abs=0.01)


def test_draws_do_not_depend_on_how_the_batch_is_split() -> None:
    losses, index = torch.rand(3, 10), torch.randperm(1000)[:10]
    weighting = TeacherDropping(3, 1)
    whole = weighting.coefficients(Pairs(losses, 9, index))
    parts = [weighting.coefficients(Pairs(losses[:, i], 9, index[i])) for i in (slice(0, 4), slice(4, 10))]
    assert torch.equal(whole, torch.cat(parts, dim=1))


def test_batch_level_is_one_draw_on_the_mean_loss() -> None:
    losses = torch.rand(3, 8) + torch.tensor([0.0, 2.0, 0.0])[:, None]
    seen = set()
    for step in range(50):
        weights = TeacherDropping(3, 0, level="batch").coefficients(Pairs(losses, step, torch.arange(8)))
        assert (weights == weights[:, :1]).all()
        assert weights[1].all()
        seen.add(tuple(weights[:, 0].tolist()))
    assert len(seen) == 4  # the two others come and go independently


def test_draws_differ_from_step_to_step() -> None:
    losses = torch.rand(4, 64)
    a, b = (TeacherDropping(4, 0).coefficients(Pairs(losses, step, torch.arange(64))) for step in (1, 2))
    assert not torch.equal(a, b)


def test_uniform_keeps_all() -> None:
    losses = torch.rand(3, 5)
    weights = Uniform(3, 0).coefficients(Pairs(losses, 1, torch.arange(5)))
    numerator, denominator = Uniform(3, 0).sums(losses, weights)
    torch.testing.assert_close(numerator / denominator, losses.mean())


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("setting", "line"),
    [
        ({"type": "dropping"}, "'dropping'.*'teacher_dropping'"),
        ({"type": "teacher_dropping", "p": 2}, "auto or a number"),
        ({"type": "teacher_dropping", "level": "pixel"}, "'level': .*'image' or 'batch'.*'pixel'"),
        ({"type": "teacher_dropping", "normalize": "pair"}, "'normalize'.*'normalise'"),
    ],
)
def test_wrong_settings(setting: dict[str, Any], line: str) -> None:
    with pytest.raises(InputError, match=line):
        build_weighting(setting.pop("type"), 3, 0, setting)


def test_streams_differ() -> None:
    assert rng.stream("teacher dropping") != rng.stream("drop_path")
