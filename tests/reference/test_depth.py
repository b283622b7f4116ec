"""Errors of depth against torchmetrics, as means over images of what each image has."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torchmetrics import MeanAbsoluteError, MeanAbsolutePercentageError, MeanMetric, MeanSquaredError, Metric

from unic.eval.outcome import Dense
from unic.eval.tasks import depth

GRID = (6, 8)  # as fine as the depths, so that nothing is resized
BINS = np.linspace(1e-3, 10, 16)


class Head:
    """Gives known maps in place of trained ones."""

    def __init__(self, maps: torch.Tensor) -> None:
        self.maps = maps

    def predictions(self, data: Dense, batch_size: int) -> Iterator[tuple[int, torch.Tensor]]:
        yield from enumerate(self.maps)


def of_image(metric: Metric, *values: np.ndarray) -> float:
    return float(metric.set_dtype(torch.float64)(*map(torch.from_numpy, values)))


def test_errors_of_known_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    maps = (rng.normal(size=(5, 16, *GRID)) * 3).astype(np.float32)
    weights = np.maximum(maps.astype(np.float64), 0) + 0.1
    predicted = np.einsum("nkhw,k->nhw", weights, BINS) / weights.sum(1)
    targets = (predicted * np.exp(rng.normal(0, 0.4, predicted.shape))).astype(np.float32)
    targets[rng.random(targets.shape) < 0.3] = 0  # unknown
    targets[1, :2] = 11  # beyond the range
    targets[3] = 0  # an image of which nothing is known, which is left out
    data = Dense(np.zeros((5, 48, 2), np.float32), GRID, list(targets))
    monkeypatch.setattr(depth, "train_head", lambda *_, **__: Head(torch.from_numpy(maps)))
    outcome = depth.run(data, data, num_bins=16)

    rows = []
    for image in (0, 1, 2, 4):
        known = (targets[image] > 1e-3) & (targets[image] < 10)
        p, t = predicted[image][known], targets[image][known].astype(np.float64)
        ratio = np.maximum(p / t, t / p)
        rows.append([
            of_image(MeanSquaredError(squared=False), p, t),
            of_image(MeanAbsolutePercentageError(), p, t),
            of_image(MeanAbsoluteError(), np.log10(p), np.log10(t)),
            *(100 * of_image(MeanMetric(), (ratio < 1.25**power).astype(np.float64)) for power in (1, 2, 3)),
        ])  # fmt: skip
    np.testing.assert_allclose(outcome.marks[[0, 1, 2, 4], 0], np.array(rows)[:, 0], rtol=1e-5)
    expected = np.mean(rows, axis=0)
    assert outcome.score == pytest.approx(expected[0], rel=1e-5)
    assert list(outcome.details.values()) == pytest.approx(expected[1:].tolist(), abs=1e-4)
    assert list(outcome.details) == ["abs_rel", "log10", "delta1", "delta2", "delta3"]
