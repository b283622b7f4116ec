"""Logistic regression, l2-penalised; C fixed, or searched on a fifth of training."""

from __future__ import annotations

import math
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
from unic.eval.probes import lbfgs
from unic.eval.probes.principal_axes import PrincipalAxes
from unic.eval.probes.protocols import Protocol, check_protocol
from unic.eval.probes.softmax_path import SolutionPath

VERSION = 1
C_RANGE = (1e-5, 1e6)
VALIDATION = 0.2
_MAX_C = 1e12  # up to here, single precision resolves the curvature for separable images


def run(
    train: Labelled,
    test: Labelled,
    *,
    seed: int = 0,
    protocol: Protocol | None = None,
    C: float | None = None,
    trials: int = 40,
) -> Outcome:
    """Fits on `train`, scores on `test`; the same as scikit-learn's `LogisticRegression(C=C)` on standardised features.

    Without `C` it is searched as in the paper: log-uniform in 1e-5 … 1e6, by TPE, on a stratified 20 % of `train`.
    These images do not count in the standardisation of the search. Then the model is fitted on all of `train`.

    Args:
        train: vectors and labels; their mean and standard deviation standardise both splits.
        test: vectors and labels to score.
        seed: seed of the validation split and of the search; a fixed `C` draws nothing.
        protocol: "unic": as in the paper's published code. Features are not standardised, the solver is scikit-learn's
            L-BFGS with at most 2000 iterations, and the validation part is rounded down. None: ours.
        C: inverse strength of the penalty.
        trials: number of values of C in a search.

    Returns:
        The outcome. Details: `C`, `train_accuracy`, `validation` (accuracy of the chosen C) after a search, and with a
        protocol the `iterations` of the last fit.

    Raises:
        InputError: unknown protocol, `C` or `trials` is not positive, `C` is above 1e12, no class with two images to
            choose C on, or fewer than two classes.
    """
    classifier = fit_classifier(train, seed=seed, protocol=protocol, C=C, trials=trials)
    return top1(classifier.logits(test.x).argmax(1).numpy(), test, **classifier.details)


@dataclass(frozen=True)
class Classifier:
    """The classifier that `run` fits, for test images of any set. `details` are those of the outcome.

    `coordinates` makes what `weights` are multiplied with: the vectors in other coordinates, and ones.
    """

    coordinates: Callable[[Float[np.ndarray, "n d"]], Float[Tensor, "n r"]]
    weights: Float[Tensor, "k r"]
    details: dict[str, float]

    def logits(self, x: Float[np.ndarray, "n d"]) -> Float[Tensor, "n k"]:
        return (self.weights @ self.coordinates(x).T).T


def fit_classifier(
    train: Labelled, *, seed: int = 0, protocol: Protocol | None = None, C: float | None = None, trials: int = 40
) -> Classifier:
    """The classifier behind `run`, with its arguments."""
    check_protocol("logistic", protocol)
    if trials < 1 or (C is not None and C <= 0):
        raise InputError(f"logistic: C and trials must be positive, not {C} and {trials}")
    if C is not None and not C <= _MAX_C:
        raise InputError(f"logistic: C must be at most {_MAX_C:g}, not {C:g}")
    classes = num_classes(train)
    if protocol is not None:
        return _published(train, classes, seed, C, trials)
    present, y = (torch.from_numpy(part) for part in np.unique(train.y, return_inverse=True))
    axes = _axes(train)
    # With two classes scikit-learn penalises the difference w of their weights, which are ±w / 2 here: ‖w‖² is twice
    # the sum of their squares.
    scale = 1.0 if len(present) > 2 else 0.5
    details: dict[str, float] = {}
    if C is None:
        kept, held = _held_out(train, seed, round)
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
    return Classifier(axes, _of_all(solution.weights, present, classes), {"C": C, **details})


def _published(train: Labelled, classes: int, seed: int, C: float | None, trials: int) -> Classifier:
    """The classifier of the protocol "unic"."""
    present, y = np.unique(train.y, return_inverse=True)
    details: dict[str, float] = {}
    if C is None:
        kept, held = _held_out(train, seed, math.floor)
        x, held_x, held_y = train.x[kept], lbfgs.with_ones(train.x[held]), torch.from_numpy(y[held])

        def accuracy(value: float) -> float:
            weights, _ = lbfgs.fit(x, y[kept], value)
            return float(((weights @ held_x.T).argmax(0) == held_y).double().mean())

        C, best = _search(accuracy, trials, seed)
        details["validation"] = round(100 * best, 3)
    weights, iterations = lbfgs.fit(train.x, y, C)
    correct = (weights @ lbfgs.with_ones(train.x).T).argmax(0).numpy() == y
    details |= {"train_accuracy": round(100 * float(correct.mean()), 3), "iterations": iterations}
    return Classifier(lbfgs.with_ones, _of_all(weights, torch.from_numpy(present), classes), {"C": C, **details})


def _held_out(train: Labelled, seed: int, rounded: Callable[[float], int]) -> tuple[np.ndarray, np.ndarray]:
    """Rows to fit on and rows to choose C by, see `stratified_split`."""
    kept, held = stratified_split(train.y, VALIDATION, seed, rounded=rounded)
    if not len(held):
        raise InputError("logistic: no class has two training images, of which one could be held out; set C")
    return kept, held


def _of_all(weights: Float[Tensor, "p r"], present: Tensor, classes: int) -> Float[Tensor, "k r"]:
    """Weights of all classes. A class without training images is never predicted."""
    found = torch.zeros(classes, weights.shape[1])
    found[:, -1] = -torch.inf
    found[present] = weights
    return found


@lru_cache(maxsize=1)
def _axes(train: Labelled) -> PrincipalAxes:
    """The principal axes, kept for the next seed: they take as long as a fit and do not depend on the seed."""
    return PrincipalAxes.fit(train.x)


def stratified_split(
    y: np.ndarray, share: float, seed: int, *, rounded: Callable[[float], int] = round
) -> tuple[np.ndarray, np.ndarray]:
    """Rows to keep and rows to hold out: a `share` of each class, at least one image, but never its only one.

    Args:
        y: class of each image.
        share: fraction of each class to hold out.
        seed: seed of the draw.
        rounded: makes the number of images to hold out of a class a whole one.
    """
    rng = np.random.default_rng(seed)
    held = []
    for label in np.unique(y):
        rows = rng.permutation(np.flatnonzero(y == label))
        held.append(rows[: min(max(1, rounded(share * len(rows))), len(rows) - 1)])
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
