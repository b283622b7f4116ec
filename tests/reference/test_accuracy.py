"""Top-1 and mean per-class accuracy against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score

from unic.eval.outcome import Labelled, top1


def test_of_classes_of_unequal_size() -> None:
    rng = np.random.default_rng(0)
    wanted = np.repeat(np.arange(6), [40, 1, 25, 3, 0, 9])  # a class may have no test image
    given = np.where(rng.random(len(wanted)) < 0.6, wanted, rng.choice([0, 1, 2, 3, 5], len(wanted)))
    outcome = top1(given, Labelled(np.zeros((len(wanted), 1), np.float32), wanted))
    assert outcome.score == pytest.approx(100 * accuracy_score(wanted, given))
    assert outcome.details["mean_per_class"] == pytest.approx(100 * balanced_accuracy_score(wanted, given), abs=1e-3)
