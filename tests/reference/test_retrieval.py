"""Retrieval against torchmetrics: mean average precision, R-precision and hit rates, one query at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchmetrics.retrieval import RetrievalHitRate, RetrievalMAP, RetrievalRPrecision

from unic.eval.tasks import Labelled, retrieval


def images(count: int, seed: int, extra: tuple[int, ...] = ()) -> Labelled:
    """Noisy images of four classes, and one of each class in `extra`."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(9).normal(size=(10, 10))
    y = np.concatenate([rng.integers(0, 4, count), np.array(extra, int)])
    return Labelled((centres[y] + 1.5 * rng.normal(size=(len(y), 10))).astype(np.float32), y)


@pytest.mark.parametrize("gallery", ["test", "train"])
def test_every_number(gallery: str) -> None:
    train, test = images(60, 0), images(45, 1, extra=(7, 8))  # two queries without an answer, which are left out
    shelf = test if gallery == "test" else train
    metrics = {"map": RetrievalMAP, "r_precision": RetrievalRPrecision}
    built = {name: kind(empty_target_action="skip") for name, kind in metrics.items()}
    built |= {str(k): RetrievalHitRate(empty_target_action="skip", top_k=k) for k in (1, 5, 10)}
    left, right = (part.x / np.linalg.norm(part.x.astype(np.float64), axis=1)[:, None] for part in (test, shelf))
    for query in range(len(test)):
        others = np.arange(len(shelf)) != query if gallery == "test" else np.ones(len(shelf), bool)
        similarity, relevant = (left[query] @ right.T)[others], (shelf.y == test.y[query])[others]
        # torchmetrics takes no image with a score of 0 or less for an answer.
        scores, answers = torch.from_numpy(2 + similarity), torch.from_numpy(relevant)
        for metric in built.values():
            metric.update(scores, answers, indexes=torch.full(answers.shape, query))
    expected = {name: 100 * float(metric.compute()) for name, metric in built.items()}

    outcome = retrieval.run(train, test, gallery=gallery)
    assert outcome.score == pytest.approx(expected["map"], rel=1e-5)
    assert outcome.details["num_queries"] == 45
    assert outcome.details["r_precision"] == pytest.approx(expected["r_precision"], abs=1e-3)
    assert outcome.details["recall"] == {str(k): pytest.approx(expected[str(k)], abs=1e-3) for k in (1, 5, 10)}
