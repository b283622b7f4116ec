"""Teacher standardisation against METHOD §3 in a float64 loop, one channel at a time."""

from __future__ import annotations

import math

import pytest
import torch

from unic.standardizers.ema import Standardizer as EmaStandardizer
from unic.tokens import Tokens

DIMS = {"a": (3, 2), "b": (2, 4)}  # widths of CLS and patches
STEPS, GRID = 6, (2, 3)


def micro_batch(seed: int, images: int) -> dict[str, Tokens]:
    """Channels whose means and spreads differ by teacher, token type and step."""
    torch.manual_seed(seed)
    return {
        name: Tokens(
            torch.randn(images, cls) * 2 + torch.arange(cls) + seed,
            torch.randn(images, 6, patch) * (1 + torch.arange(patch)) * (seed % 5 + 1) - 3,
            GRID,
        )
        for name, (cls, patch) in DIMS.items()
    }


def channels(tokens: Tokens) -> dict[tuple[str, int], list[float]]:
    """The values of each channel over images, and of patches over their positions too."""
    columns = {("cls", c): tokens.cls[:, c].tolist() for c in range(tokens.cls.shape[1])}
    return columns | {("patch", c): tokens.patches[..., c].flatten().tolist() for c in range(tokens.patches.shape[2])}


@pytest.mark.parametrize("sizes", [(5,), (3, 2), (1, 1, 3)])
def test_targets_and_statistics_in_a_naive_loop(sizes: tuple[int, ...]) -> None:
    """`sizes`: images of the micro-batches of a step, which are one batch."""
    standardizer = EmaStandardizer(DIMS, momentum=(1.0, 0.001)).train()
    mean: dict[tuple[str, str, int], float] = {}
    std: dict[tuple[str, str, int], float] = {}
    for step in range(STEPS):
        seen: dict[tuple[str, str, int], list[float]] = {}
        for number, images in enumerate(sizes):
            batch = micro_batch(10 * step + number, images)
            found = standardizer(batch)
            for name, tokens in batch.items():
                ours = channels(found[name])
                for (kind, c), values in channels(tokens).items():
                    key = (name, kind, c)
                    # By the statistics from before this step, which no micro-batch of it has moved.
                    expected = [(y - mean.get(key, 0.0)) / (std.get(key, 1.0) + 1e-6) for y in values]
                    assert ours[kind, c] == pytest.approx(expected, rel=1e-5, abs=1e-5)
                    seen.setdefault(key, []).extend(values)
        momentum = 0.001 + (1 - 0.001) * (1 + math.cos(math.pi * step / STEPS)) / 2
        for key, values in seen.items():
            batch_mean = math.fsum(values) / len(values)
            squares = math.fsum((y - batch_mean) ** 2 for y in values)
            batch_std = math.sqrt(squares / (len(values) - 1))  # unbiased; averaged as it is, not squared
            mean[key] = (1 - momentum) * mean.get(key, 0.0) + momentum * batch_mean
            std[key] = (1 - momentum) * std.get(key, 1.0) + momentum * batch_std
        standardizer.update(step / STEPS)
    state = standardizer.state_dict()
    for name, kind, c in mean:
        assert state[f"teachers.{name}.{kind}.mean"][c].item() == pytest.approx(mean[name, kind, c], rel=1e-5, abs=1e-5)
        assert state[f"teachers.{name}.{kind}.std"][c].item() == pytest.approx(std[name, kind, c], rel=1e-5)
