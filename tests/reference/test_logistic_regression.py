"""The logistic probe against scikit-learn run to convergence in float64, at any C, on separable data too."""

import warnings

import numpy as np
import pytest
from scipy.special import log_softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from unic.eval.tasks import Labelled, logistic

NUM_TEST = 400


def problem(seed):
    """Training and test images and a C: from few images in many dimensions, always separable, to the reverse."""
    draw = np.random.default_rng(seed)
    num_classes, dim = int(draw.integers(2, 11)), int(draw.integers(4, 300))
    num_train = int(draw.integers(5 * num_classes, 400))
    centres = draw.normal(size=(num_classes, dim))
    mix = draw.normal(size=(dim, dim)) / np.sqrt(np.arange(1, dim + 1))
    scale, noise = 10.0 ** draw.uniform(-2, 2, dim), draw.uniform(3, 10)

    def images(count):
        y = np.concatenate([np.arange(num_classes), draw.integers(0, num_classes, count - num_classes)])
        x = (centres[y] + noise * draw.normal(size=(count, dim)) @ mix) * scale + 3
        return Labelled(x.astype(np.float32), y)

    return images(num_train), images(NUM_TEST), float(10 ** draw.uniform(-5, 6))


def objective(logits, train, coefficients, C):
    losses = -log_softmax(logits.astype(np.float64), axis=1)[np.arange(len(train)), train.y]
    return losses.mean() + np.square(coefficients).sum() / (2 * len(train) * C)


def minimum(train, test, C):
    """scikit-learn's objective in nats an image, and whether it is right on each test image."""
    mean, std = train.x.mean(0, dtype=np.float64), train.x.std(0, dtype=np.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # rounding ends it before 1e-10
        fitted = LogisticRegression(C=C, tol=1e-10, max_iter=30_000).fit((train.x - mean) / std, train.y)
    logits = fitted.decision_function((train.x - mean) / std)
    if logits.ndim == 1:
        logits = np.stack([0 * logits, logits], 1)
    return objective(logits, train, fitted.coef_, C), fitted.predict((test.x - mean) / std) == test.y


def distance(train, test, C):
    """Objective above the minimum, as a part of it and in nats an image; difference in top-1 and its standard error."""
    lowest, right = minimum(train, test, C)
    ours = logistic.fit_classifier(train, C=C)
    weights = ours.weights[:, :-1].double().numpy()
    # With two classes scikit-learn penalises the difference of their weights.
    coefficients = weights if len(weights) > 2 else weights[1] - weights[0]
    above = objective(ours.logits(train.x).numpy(), train, coefficients, C) - lowest
    gap = abs(np.mean(ours.logits(test.x).numpy().argmax(1) == test.y) - right.mean())
    return above / lowest, above, gap, np.sqrt(right.mean() * (1 - right.mean()) / len(test))


def check(train, test, C):
    part, nats, gap, standard_error = distance(train, test, C)
    assert part <= 0.01 or nats <= 2e-8, (part, nats)
    assert gap <= standard_error


# Small C and large; two classes and ten; n < D and n > D. The last five are separable, at C above 1e4.
@pytest.mark.parametrize("seed", [1, 2, 3, 6, 5, 10, 27, 38, 56])
def test_the_solution_is_the_minimum(seed):
    check(*problem(seed))


@pytest.mark.parametrize("C", [1e4, 851_353.0])
def test_separable_images_at_large_C(C):
    train, test, _ = problem(0)
    check(train, test, C)


@pytest.mark.parametrize("C", [1e2, 1e6])
def test_the_same_image_with_two_labels_among_separable_ones(C, caplog):
    """Such images hold nearly all of the objective, and the others decide the answers."""
    train, test, _ = problem(4)
    x, y = np.concatenate([train.x, train.x[:2]]), np.concatenate([train.y, train.y[:2] + 1])
    check(Labelled(x, y), test, C)
    assert not caplog.text  # of a fit that did not end


@pytest.mark.long
@pytest.mark.parametrize("seed", range(200))
def test_two_hundred_problems(seed):
    check(*problem(seed))
