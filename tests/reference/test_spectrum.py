"""Spectra of features and of weights against numpy's singular values and the formulas written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from unic.eval.tasks.spectrum import spectrum, weight_use


def effective_rank(values: np.ndarray) -> float:
    """Roy and Vetterli (EUSIPCO 2007): the exponential of the entropy of the singular values' shares."""
    p = values[values > 1e-12 * values.sum()] / values.sum()
    return float(np.exp(-(p * np.log(p)).sum()))


@pytest.mark.parametrize(("n", "d"), [(50, 20), (20, 50)])
def test_features(n: int, d: int) -> None:
    x = np.random.default_rng(0).normal(size=(n, d)) * np.linspace(1, 9, d) + 5
    values = np.linalg.svd(x - x.mean(0), compute_uv=False)
    share = values**2 / (values**2).sum()
    found = spectrum(x)
    assert found["effective_rank"] == pytest.approx(effective_rank(values), abs=1e-3)
    assert found["participation_ratio"] == pytest.approx(1 / (share**2).sum(), abs=1e-3)
    for percent in (90, 95, 99):
        assert found["components"][str(percent)] == np.searchsorted(share.cumsum(), percent / 100) + 1
    at = np.array(found["curve"]["component"]) - 1
    assert (at[0], at[-1]) == (0, min(n, d) - 1)
    np.testing.assert_allclose(found["curve"]["variance"], share[at], rtol=1e-3, atol=1e-12)


def test_weights() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 12, 4), nn.Conv2d(12, 12, 3, groups=12), nn.Linear(12, 30))
    parts = []
    for layer in (model[0], model[2]):  # a depthwise filter is no map between two spaces
        values = np.linalg.svd(layer.weight.detach().double().flatten(1).numpy(), compute_uv=False)
        full = len(values)
        parts.append([effective_rank(values) / full, (values**2).sum() / values.max() ** 2 / full])
    expected = np.mean(parts, axis=0)
    found = weight_use(model)
    assert found is not None
    assert found["num_matrices"] == 2
    assert [found["effective_rank"], found["stable_rank"]] == pytest.approx(expected.tolist(), abs=1e-4)
