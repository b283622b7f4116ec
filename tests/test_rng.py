"""Keyed random numbers: uniform, independent of batching, and the same everywhere."""

import torch

from unic import rng


def test_value_depends_on_keys_alone_not_on_the_batch() -> None:
    index = torch.arange(100)
    whole = rng.uniform(3, rng.stream("a"), 7, index)
    assert torch.equal(whole[40:60], rng.uniform(3, rng.stream("a"), 7, index[40:60]))


def split_mix(*keys: int) -> int:
    """The published finaliser on Python's unbounded integers."""
    mask, state = (1 << 64) - 1, 0
    for key in keys:
        state = ((state ^ key) + 0x9E3779B97F4A7C15) & mask
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & mask
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & mask
        state ^= state >> 31
    return state


def test_equal_to_the_published_function() -> None:
    """A change here would silently change every resumed run."""
    for keys in ((0, 1, 2), (12345, 2**40, 7)):
        assert rng.uniform(*keys).item() == (split_mix(*keys) >> 40) / 2**24
        assert rng.number(*keys) == rng.uniform(*keys).item()
        assert rng.seed_of(*keys) == split_mix(*keys) & ((1 << 63) - 1)


def test_draws_are_uniform_and_uncorrelated() -> None:
    a = rng.uniform(0, torch.arange(200_000))
    b = rng.uniform(1, torch.arange(200_000))
    assert abs(a.mean() - 0.5) < 0.003
    assert abs(a.var() - 1 / 12) < 0.001
    assert abs(torch.corrcoef(torch.stack([a, b]))[0, 1]) < 0.01
    assert a.min() >= 0
    assert a.max() < 1


def test_order_of_keys_matters() -> None:
    assert rng.uniform(1, 2) != rng.uniform(2, 1)
