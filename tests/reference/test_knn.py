"""k-nearest neighbours against scikit-learn's brute force in float64, votes weighted by `exp(sim / T)`."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from unic.eval.tasks import Labelled, knn


@pytest.fixture(scope="module")
def blobs() -> tuple[Labelled, Labelled]:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(5, 12))

    def split(count: int) -> Labelled:
        y = rng.integers(0, 5, count)
        x = (centres[y] + 1.5 * rng.normal(size=(count, 12))) * rng.uniform(0.1, 10, (count, 1))
        return Labelled(x.astype(np.float32), y)

    return split(400), split(150)


@pytest.mark.parametrize("temperature", [0.07, 0.5])
@pytest.mark.parametrize("k", [1, 10, 20, 100])
@pytest.mark.parametrize(("chunk", "bank"), [(7, 13), (64, 399), (1024, 32768)])
def test_every_prediction(
    blobs: tuple[Labelled, Labelled],
    k: int,
    temperature: float,
    chunk: int,
    bank: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(knn, "_CHUNK", chunk)
    monkeypatch.setattr(knn, "_BANK", bank)
    train, test = blobs

    def votes(distances: np.ndarray) -> np.ndarray:
        return np.exp((1 - distances) / temperature)

    reference = KNeighborsClassifier(k, weights=votes, algorithm="brute", metric="cosine")
    expected = reference.fit(train.x.astype(np.float64), train.y).predict(test.x.astype(np.float64))
    result = knn.run(train, test, k=k, temperature=temperature)
    np.testing.assert_array_equal(result.predicted, expected)
    assert result.score == pytest.approx(100 * np.mean(expected == test.y))
    assert result.details["top1_by_k"][str(k)] == pytest.approx(result.score, abs=1e-3)
