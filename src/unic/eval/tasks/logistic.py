"""Logistic regression on standardised features, l2-penalised; C fixed, or searched on a fifth of training."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from unic.errors import InputError
from unic.eval.outcome import Labelled, Outcome, num_classes, top1
from unic.eval.probes.principal_axes import PrincipalAxes
from unic.eval.probes.softmax_path import SolutionPath

VERSION = 1
C_RANGE = (1e-5, 1e6)
VALIDATION = 0.2
_MAX_C = 1e12  # up to here, single precision resolves the curvature for separable images


def run(train: Labelled, test: Labelled, *, seed: int = 0, C: float | None = None, trials: int = 40) -> Outcome:
    """Fits on `train`, scores on `test`; the same as scikit-learn's `LogisticRegression(C=C)` on standardised features.

    Without `C` it is searched as in the paper: log-uniform in 1e-5 … 1e6, by TPE, on a stratified 20 % of `train`.
    These images do not count in the standardisation of the search. Then the model is fitted on all of `train`.

    Args:
        train: vectors and labels; their mean and standard deviation standardise both splits.
        test: vectors and labels to score.
        seed: seed of the validation split and of the search; a fixed `C` draws nothing.
        C: inverse strength of the penalty.
        trials: number of values of C in a search.

    Returns:
        The outcome. Details: `C`, `train_accuracy`, and `validation` (accuracy of the chosen C) after a search.

    Raises:
        InputError: `C` or `trials` is not positive, `C` is above 1e12, no class with two images to choose C on, or
            fewer than two classes.
    """
    classifier = fit_classifier(train, seed=seed, C=C, trials=trials)
    return top1(classifier.logits(test.x).argmax(1).numpy(), test, **classifier.details)


@dataclass(frozen=True)
class Classifier:
    """The classifier that `run` fits, for test images of any set. `details` are those of the outcome."""

    axes: PrincipalAxes
    weights: Float[Tensor, "k r"]
    details: dict[str, float]

    def logits(self, x: Float[np.ndarray, "n d"]) -> Float[Tensor, "n k"]:
        return (self.weights @ self.axes(x).T).T


def fit_classifier(train: Labelled, *, seed: int = 0, C: float | None = None, trials: int = 40) -> Classifier:
    """The classifier behind `run`, with its arguments."""
    if trials < 1 or (C is not None and C <= 0):
        raise InputError(f"logistic: C and trials must be positive, not {C} and {trials}")
    if C is not None and not C <= _MAX_C:
        raise InputError(f"logistic: C must be at most {_MAX_C:g}, not {C:g}")
    classes = num_classes(train)
    present, y = (torch.from_numpy(part) for part in np.unique(train.y, return_inverse=True))
    axes = _axes(train)
    # With two classes scikit-learn penalises the difference w of their weights, which are ±w / 2 here: ‖w‖² is twice
    # the sum of their squares.
    scale = 1.0 if len(present) > 2 else 0.5
    details: dict[str, float] = {}
    if C is None:
        kept, held = stratified_split(train.y, VALIDATION, seed)
        if not len(held):
            raise InputError("logistic: no class has two training images, of which one could be held out; set C")
        own = axes.of_part(train.x[kept])  # the held-out images do not count in the standardisation either
        path = SolutionPath(own(train.x[kept]), y[kept], len(present))
        held_x, held_y = own(train.x[held]), y[held]

        def accuracy(value: float) -> float:
            return float(((path.weights(scale * value) @ held_x.T).argmax(0) == held_y).double().mean())

        C, best = _search(accuracy, trials, seed)
        details["validation"] = round(100 * best, 3)
    x = axes(train.x)
    solution = SolutionPath(x, y, len(present)).solve(scale * C)
    details["train_accuracy"] = round(100 * float((solution.predict(x) == y).double().mean()), 3)
    weights = torch.zeros(classes, x.shape[1])
    weights[:, -1] = -torch.inf  # a class without training images is never predicted
    weights[present] = solution.weights
    return Classifier(axes, weights, {"C": C, **details})


@lru_cache(maxsize=1)
def _axes(train: Labelled) -> PrincipalAxes:
    """The principal axes, kept for the next seed: they take as long as a fit and do not depend on the seed."""
    return PrincipalAxes.fit(train.x)


def stratified_split(y: np.ndarray, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows to keep and rows to hold out: a `share` of each class, at least one image, but never its only one.

    Args:
        y: class of each image.
        share: fraction of each class to hold out.
        seed: seed of the draw.
    """
    rng = np.random.default_rng(seed)
    held = []
    for label in np.unique(y):
        rows = rng.permutation(np.flatnonzero(y == label))
        held.append(rows[: min(max(1, round(share * len(rows))), len(rows) - 1)])
    chosen = np.sort(np.concatenate(held))
    return np.setdiff1d(np.arange(len(y)), chosen), chosen


def _search(accuracy: Callable[[float], float], trials: int, seed: int) -> tuple[float, float]:
    """The best C of a TPE search and its validation accuracy; of several, the first that was tried (as in Optuna)."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    study.optimize(lambda trial: accuracy(trial.suggest_float("C", *C_RANGE, log=True)), n_trials=trials)
    return float(study.best_params["C"]), float(study.best_value)
