"""Teacher dropping against METHOD §5 in a naive loop."""

from typing import Any

import pytest
import torch

from unic import rng
from unic.config import Component
from unic.distill.weighting import TeacherDropping, Uniform, build_weighting, keep_worst
from unic.errors import InputError


def test_keeps_the_worst_and_follows_the_draws() -> None:
    losses, draws = torch.rand(4, 50, dtype=torch.float64), torch.rand(4, 50, dtype=torch.float64)
    kept = keep_worst(losses, draws, 0.5)
    for image in range(50):
        worst = max(range(4), key=lambda t: losses[t, image])
        for teacher in range(4):
            expected = teacher == worst or draws[teacher, image] >= 0.5
            assert kept[teacher, image] == float(expected)


def test_ties_keep_the_first() -> None:
    assert keep_worst(torch.ones(3, 1), torch.zeros(3, 1), 0.5)[:, 0].tolist() == [1, 0, 0]


@pytest.mark.parametrize(("teachers", "p"), [(1, 0.0), (2, 0.25), (3, 0.375), (4, 0.5), (7, 0.5)])
def test_automatic_probability(teachers: int, p: float) -> None:
    assert TeacherDropping(teachers, 0).p == p


def test_share_kept() -> None:
    losses = torch.rand(4, 20_000)
    kept = TeacherDropping(4, 0).coefficients(losses, 1, torch.arange(20_000)).mean()
    assert kept.item() == pytest.approx((1 + 3 * 0.5) / 4, abs=0.01)


def test_pair_and_image_normalisation_in_a_naive_loop() -> None:
    losses, index = torch.rand(3, 6, dtype=torch.float64, requires_grad=True), torch.arange(6)
    for normalise in ("pair", "image"):
        weighting = TeacherDropping(3, 0, p=0.5, normalise=normalise)
        weights = weighting.coefficients(losses, 5, index)
        numerator, denominator = weighting.sums(losses, weights)
        pairs = [[(weights[t, i] * losses[t, i]).item() for t in range(3)] for i in range(6)]
        if normalise == "pair":
            expected = sum(map(sum, pairs)) / weights.sum().item()
        else:
            expected = sum(sum(pairs[i]) / weights[:, i].sum().item() for i in range(6)) / 6
        assert (numerator / denominator).item() == pytest.approx(expected, rel=1e-12)
        assert not weights.requires_grad
        assert not denominator.requires_grad


def test_draws_do_not_depend_on_how_the_batch_is_split() -> None:
    losses, index = torch.rand(3, 10), torch.randperm(1000)[:10]
    weighting = TeacherDropping(3, 1)
    whole = weighting.coefficients(losses, 9, index)
    parts = [weighting.coefficients(losses[:, i], 9, index[i]) for i in (slice(0, 4), slice(4, 10))]
    assert torch.equal(whole, torch.cat(parts, dim=1))


def test_batch_level_is_one_draw_on_the_mean_loss() -> None:
    losses = torch.rand(3, 8) + torch.tensor([0.0, 2.0, 0.0])[:, None]
    seen = set()
    for step in range(50):
        weights = TeacherDropping(3, 0, level="batch").coefficients(losses, step, torch.arange(8))
        assert (weights == weights[:, :1]).all()
        assert weights[1].all()
        seen.add(tuple(weights[:, 0].tolist()))
    assert len(seen) == 4  # the two others come and go independently


def test_draws_differ_from_step_to_step() -> None:
    losses = torch.rand(4, 64)
    a, b = (TeacherDropping(4, 0).coefficients(losses, step, torch.arange(64)) for step in (1, 2))
    assert not torch.equal(a, b)


def test_uniform_keeps_all() -> None:
    losses = torch.rand(3, 5)
    weights = Uniform(3, 0).coefficients(losses, 1, torch.arange(5))
    numerator, denominator = Uniform(3, 0).sums(losses, weights)
    torch.testing.assert_close(numerator / denominator, losses.mean())


@pytest.mark.parametrize(
    ("setting", "line"),
    [
        ({"type": "dropping"}, "did you mean 'teacher_dropping'?"),
        ({"type": "teacher_dropping", "p": 2}, "must be auto or a number in"),
        ({"type": "teacher_dropping", "level": "pixel"}, "must be image or batch"),
        ({"type": "teacher_dropping", "normalize": "pair"}, "did you mean 'normalise'?"),
    ],
)
def test_wrong_settings(setting: dict[str, object], line: str) -> None:
    with pytest.raises(InputError, match=line):
        build_weighting(Component(**setting), 3, 0)


def test_streams_differ() -> None:
    assert rng.stream("teacher dropping") != rng.stream("drop_path")


@pytest.mark.parametrize("p", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("normalise", ["pair", "image"])
def test_only_owners_of_an_image_train_on_it_in_a_naive_loop(p: float, normalise: Any) -> None:
    num_teachers, num_images = 4, 50
    losses, index = torch.rand(num_teachers, num_images), torch.arange(num_images) * 7
    owned = torch.rand(num_teachers, num_images) < 0.5
    owned[2] |= ~owned.any(0)
    weighting = TeacherDropping(num_teachers, 5, p=p, normalise=normalise)
    found = weighting.coefficients(losses, 3, index, owned)
    numerator, denominator = weighting.sums(losses, found)
    pairs, images = [], []
    for i in range(num_images):
        owners = [t for t in range(num_teachers) if owned[t, i]]
        worst = max(owners, key=lambda t: float(losses[t, i]))
        draws = {t: float(rng.uniform(5, rng.stream("teacher dropping"), 3, int(index[i]), t)) for t in owners}
        kept = [t for t in owners if t == worst or draws[t] >= p]
        assert found[:, i].nonzero()[:, 0].tolist() == kept
        pairs += [float(losses[t, i]) for t in kept]
        images.append(sum(float(losses[t, i]) for t in kept) / len(kept))
    expected = images if normalise == "image" else pairs
    assert float(numerator / denominator) == pytest.approx(sum(expected) / len(expected), rel=1e-5)
    assert torch.equal(Uniform(num_teachers, 0).coefficients(losses, 3, index, owned), owned.float())
    everything = torch.ones_like(owned)
    assert torch.equal(weighting.coefficients(losses, 3, index, everything), weighting.coefficients(losses, 3, index))
