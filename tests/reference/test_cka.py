"""CKA against its definitions in float64: n × n kernels, and the U-statistic over all ordered fours of images."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from unic.eval.tasks.influence import cka


def from_kernels(x: np.ndarray, y: np.ndarray) -> float:
    """The unbiased HSIC of Song et al. (JMLR 2012), eq. 5."""
    n, ones = len(x), np.ones(len(x))
    k, m = x @ x.T, y @ y.T
    np.fill_diagonal(k, 0)
    np.fill_diagonal(m, 0)
    sums = (ones @ k @ ones) * (ones @ m @ ones) / ((n - 1) * (n - 2))
    return float((np.trace(k @ m) + sums - 2 / (n - 2) * ones @ k @ m @ ones) / (n * (n - 3)))


def from_fours(x: np.ndarray, y: np.ndarray) -> float:
    """HSIC = E k(a,b)·l(a,b) + E k(a,b)·l(c,d) − 2 E k(a,b)·l(a,c), each expectation over different images."""
    k, m = (x @ x.T).tolist(), (y @ y.T).tolist()
    terms = [k[a][b] * (m[a][b] + m[c][d] - 2 * m[a][c]) for a, b, c, d in permutations(range(len(x)), 4)]
    return sum(terms) / len(terms)


@pytest.mark.parametrize(
    ("hsic", "n", "d", "e"), [(from_kernels, 40, 5, 9), (from_kernels, 12, 30, 7), (from_fours, 8, 3, 12)]
)
def test_linear_cka(hsic, n: int, d: int, e: int) -> None:
    draw = np.random.default_rng(0)
    x = draw.normal(size=(n, d)) + 3
    y = draw.normal(size=(n, e)) + x[:, :1] * draw.normal(size=e)
    expected = hsic(x, y) / np.sqrt(hsic(x, x) * hsic(y, y))
    assert cka(x, y) == pytest.approx(expected, abs=1e-10)
    assert cka(x.astype(np.float32), y.astype(np.float32)) == pytest.approx(expected, abs=1e-5)
