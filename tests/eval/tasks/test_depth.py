"""Depth against its formulas written out, and on depths that a linear head can draw."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from unic.errors import InputError
from unic.eval.outcome import Dense
from unic.eval.probes import dense_head as _dense_head
from unic.eval.tasks import depth

GRID, SIZE, WIDTH = (3, 4), (15, 20), 6


def planted(count: int, seed: int) -> Dense:
    """Depths from 2 to 8 m that are a linear map of the patches, resized."""
    rng = np.random.default_rng(seed)
    patches = rng.uniform(-1, 1, (count, GRID[0] * GRID[1], WIDTH)).astype(np.float32)
    metres = 5 + 3 * patches @ (np.array([3, -2, 1, 0, 0, 0]) / 6)
    maps = torch.from_numpy(metres).unflatten(1, GRID)[:, None].float()
    return Dense(
        patches, GRID, list(F.interpolate(maps, size=SIZE, mode="bilinear", align_corners=False)[:, 0].numpy())
    )


def with_targets(data: Dense, targets: list[np.ndarray]) -> Dense:
    return Dense(data.patches, data.grid, targets)


@pytest.fixture(scope="module")
def train() -> Dense:
    return planted(96, 0)


@pytest.fixture(scope="module")
def test() -> Dense:
    return planted(24, 1)


def test_a_linear_map_is_learned(train, test):
    outcome = depth.run(train, test, num_bins=32, lr=1e-2, steps=180)
    constant = np.mean([np.sqrt(np.mean((target - 5) ** 2)) for target in test.targets])
    assert outcome.details["delta1"] > 95
    assert outcome.score < 0.3 * constant
    assert outcome.measure.lower_is_better


def test_errors_are_those_of_the_formulas(train, test):
    rng = np.random.default_rng(2)
    targets = [np.where(rng.random(SIZE) < 0.3, 0, target).astype(np.float32) for target in test.targets]
    targets[0][:2] = 11  # beyond the range
    targets[3][:] = 0  # an image of which nothing is known
    data = with_targets(test, targets)
    outcome = depth.run(train, data, seed=1, steps=12, num_bins=16)

    bins = torch.linspace(1e-3, 10, 16)
    options = {"steps": 12, "batch_size": 16, "lr": 1e-3, "weight_decay": 1e-4}
    loss = lambda maps, target: depth._loss(maps, target, bins=bins)  # noqa: E731
    head = _dense_head.train_head(train, _dense_head.sampled(train), 16, loss, seed=1, **options)
    rows = []
    for row, logits in head.predictions(data, 5):
        large = F.interpolate(logits[None].cpu(), size=(12, 16), mode="bilinear", align_corners=False)[0].numpy()
        weights = np.maximum(large, 0) + 0.1
        coarse = np.einsum("khw,k->hw", weights / weights.sum(0), bins.numpy())
        predicted = F.interpolate(
            torch.from_numpy(coarse)[None, None].float(), size=SIZE, mode="bilinear", align_corners=False
        )[0, 0].double().numpy()  # fmt: skip
        known = (targets[row] > 1e-3) & (targets[row] < 10)
        p, t = predicted[known], targets[row][known].astype(np.float64)
        if not len(t):
            assert outcome.marks[row].tolist() == [0, 0]
            continue
        ratio = np.maximum(p / t, t / p)
        rows.append([
            np.sqrt(np.mean((p - t) ** 2)), np.mean(np.abs(p - t) / t), np.mean(np.abs(np.log10(p) - np.log10(t))),
            *(100 * np.mean(ratio < 1.25**power) for power in (1, 2, 3)),
        ])  # fmt: skip
        assert outcome.marks[row] == pytest.approx([rows[-1][0], 1], rel=1e-4)
    assert len(rows) == 23
    expected = np.mean(rows, axis=0)
    assert outcome.score == pytest.approx(expected[0], rel=1e-4)
    assert list(outcome.details.values()) == pytest.approx(expected[1:].tolist(), rel=2e-3)
    assert list(outcome.details) == ["abs_rel", "log10", "delta1", "delta2", "delta3"]


def test_the_score_of_resamples_leaves_out_images_without_depth():
    marks = np.array([[2.0, 1], [0, 0], [4, 1]])
    means = np.stack([marks.mean(0), marks[[1, 1, 0]].mean(0), marks[[2, 2, 2]].mean(0)])
    assert depth.MEASURE.reduce(means).tolist() == pytest.approx([3, 2, 4])


def test_a_resample_without_a_known_depth_has_no_score():
    assert np.isnan(depth.MEASURE.reduce(np.array([[0.0, 0.0]]))).all(), "an RMSE of 0 would be a perfect one"


def test_the_loss_is_scale_invariant_log_error():
    generator = torch.Generator().manual_seed(0)
    bins = torch.linspace(1e-3, 10, 8)
    logits = torch.randn(2, 8, 3, 3, generator=generator, requires_grad=True)
    target = 1 + torch.rand(2, 3, 3, generator=generator)
    target[0, 0], target[1, 1, 1] = 0, 12
    known = ((target > 1e-3) & (target < 10)).numpy()
    weights = np.maximum(logits.detach().numpy(), 0) + 0.1
    predicted = (weights * bins.numpy()[:, None, None]).sum(1) / weights.sum(1)
    g = (np.log(predicted) - np.log(np.where(known, target.numpy(), 1)))[known]
    expected = np.sqrt(np.mean(g**2) - 0.85 * np.mean(g) ** 2)
    assert depth._loss(logits, target, bins=bins).item() == pytest.approx(expected, rel=1e-5)
    depth._loss(logits, torch.zeros_like(target), bins=bins).backward()
    assert logits.grad.abs().sum() == 0, "nothing known, nothing learned, and nothing that is not a number"


def test_a_seed_repeats_itself(train, test):
    first, again, other = (depth.run(train, test, seed=seed, steps=6, num_bins=8) for seed in (0, 0, 1))
    assert np.array_equal(first.marks, again.marks)
    assert not np.array_equal(first.marks, other.marks)


def test_unknown_depths_teach_nothing(train, test):
    unknown = [np.where(np.arange(SIZE[1]) % 2, 0, target).astype(np.float32) for target in train.targets]
    options = {"num_bins": 32, "lr": 1e-2, "steps": 120}
    score = depth.run(with_targets(train, unknown), test, **options).score
    assert score < 1.3 * depth.run(train, test, **options).score


def test_wrong_input_is_one_line(train, test):
    for options in ({"min_depth": 0.0}, {"max_depth": 1e-4}, {"num_bins": 1}, {"steps": 0}):
        with pytest.raises(InputError, match=next(iter(options))):
            depth.run(train, test, **options)
    nothing = [np.zeros(SIZE, np.float32)] * 96
    with pytest.raises(InputError, match="no training depth"):
        depth.run(with_targets(train, nothing), test)
    with pytest.raises(InputError, match="no test depth"):
        depth.run(train, with_targets(test, nothing[:24]), steps=6, num_bins=8)
