"""Linear classifier by SGD on features of unit length, for large sets; learning rate fixed or searched."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from unic.errors import InputError, nearest
from unic.eval.outcome import Labelled, Outcome, num_classes, top1
from unic.eval.probes.linear_heads import Heads, Schedule, Setting, train_heads
from unic.eval.probes.protocols import Protocol, check_protocol
from unic.eval.probes.unit_vectors import UnitVectors
from unic.eval.tasks.logistic import VALIDATION, stratified_split

VERSION = 1
LR_RANGE = (0.1, 100.0)
WEIGHT_DECAY_RANGE = (1e-12, 1e-4)
GRID = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)

Search = Literal["tpe", "grid"]
Try = Callable[[Sequence[Setting]], list[float]]  # returns the accuracies of heads with these settings


def run(
    train: Labelled,
    test: Labelled,
    *,
    seed: int = 0,
    protocol: Protocol | None = None,
    search: Search = "tpe",
    trials: int | None = None,
    parallel: int | None = None,
    lr: float | None = None,
    weight_decay: float | None = None,
    epochs: int = 100,
    batch_size: int = 1024,
) -> Outcome:
    """Trains on `train`, scores on `test`. Further arguments, details and errors are those of `fit_classifier`."""
    classifier = fit_classifier(
        train, seed=seed, protocol=protocol, search=search, trials=trials, parallel=parallel, lr=lr,
        weight_decay=weight_decay, epochs=epochs, batch_size=batch_size,
    )  # fmt: skip
    return top1(classifier.heads.predict(UnitVectors(test.x))[0], test, **classifier.details)


@dataclass(frozen=True)
class Classifier:
    """The classifier that `run` fits, a single head, for test images of any set. `details` are those of the outcome."""

    heads: Heads
    details: dict[str, float]

    def logits(self, x: Float[np.ndarray, "n d"]) -> Float[Tensor, "n k"]:
        """Logits of vectors, on the CPU."""
        return torch.cat([part[0].T.cpu() for part in self.heads.logits(UnitVectors(x))])


def fit_classifier(
    train: Labelled,
    *,
    seed: int = 0,
    protocol: Protocol | None = None,
    search: Search = "tpe",
    trials: int | None = None,
    parallel: int | None = None,
    lr: float | None = None,
    weight_decay: float | None = None,
    epochs: int = 100,
    batch_size: int = 1024,
) -> Classifier:
    """Softmax regression on the vectors of `train`, by SGD with momentum 0.9. The learning rate falls to 0 along a
    cosine.

    Without `lr`, learning rate and weight decay are searched. A fifth of a stratified split is held out, and heads with
    different settings are trained on the rest, many on the same batches. The settings with the highest accuracy on the
    held-out fifth are then trained on all images.

    Args:
        train: vectors and classes.
        seed: seed of the order of images, of the split and of the search, and of the first weights of a protocol.
        protocol: "unic": training as in the paper's published code (see `Schedule.is_published`), a validation part
            that is rounded down, and a search that learns from trial to trial. None: ours. An option that is given
            replaces that of the protocol.
        search: "tpe", as in the paper: lr in 0.1 … 100 and weight decay in 1e-12 … 1e-4, log-uniform, by multivariate
            TPE that learns from round to round. "grid", as in DINOv2: `GRID` without decay, all in a single pass.
        trials: number of heads in a search by "tpe"; default: 24, with a protocol 40.
        parallel: number of heads in a round of "tpe"; default: 8, with a protocol 1.
        lr: fixed learning rate, without a search.
        weight_decay: fixed weight decay, which needs a fixed `lr`; default with a fixed `lr`: 0.
        epochs: passes over the training images, see `Schedule`.
        batch_size: images of a step, see `Schedule`.

    Returns:
        The classifier. Details: `lr`, `weight_decay`, `train_accuracy`, and `validation` (accuracy of the chosen
        settings on the held-out fifth) after a search.

    Raises:
        InputError: an option out of range, fewer than two classes, or no class with two images to search with.
    """
    check_protocol("linear", protocol)
    published = protocol is not None
    trials = (40 if published else 24) if trials is None else trials
    parallel = (1 if published else 8) if parallel is None else parallel
    _check(search, lr, weight_decay, trials=trials, parallel=parallel, epochs=epochs, batch_size=batch_size)
    classes = num_classes(train)
    vectors, schedule = UnitVectors(train.x), Schedule(epochs, batch_size, seed, published)
    details: dict[str, float] = {}
    if lr is not None:
        chosen = Setting(lr, weight_decay or 0.0)
    else:
        kept, held = stratified_split(train.y, VALIDATION, seed, rounded=math.floor if published else round)
        if not len(held):
            raise InputError("linear: no class has two training images, of which one could be held out; set lr")

        def accuracies(settings: Sequence[Setting]) -> list[float]:
            heads = train_heads(vectors, train.y, kept, classes, settings, schedule)
            return (heads.predict(vectors, held) == train.y[held]).mean(1).tolist()

        if search == "grid":
            chosen, best = _grid(accuracies)
        else:
            chosen, best = _tpe(accuracies, trials, parallel, seed, is_published=published)
        details["validation"] = round(100 * best, 3)
    heads = train_heads(vectors, train.y, np.arange(len(train)), classes, [chosen], schedule)
    details["train_accuracy"] = round(100 * float((heads.predict(vectors)[0] == train.y).mean()), 3)
    return Classifier(heads, {**chosen._asdict(), **details})


def _check(search: str, lr: float | None, weight_decay: float | None, **counts: int) -> None:
    if search not in get_args(Search):
        raise InputError(f"linear: unknown search '{search}'{nearest(search, get_args(Search))}")
    for name, value in counts.items():
        if value < 1:
            raise InputError(f"linear: {name} must be at least 1, not {value}")
    if lr is not None and lr <= 0:
        raise InputError(f"linear: lr must be positive, not {lr}")
    if weight_decay is not None and weight_decay < 0:
        raise InputError(f"linear: weight_decay must not be negative, not {weight_decay}")
    if weight_decay is not None and lr is None:
        raise InputError("linear: weight_decay needs lr; without lr, both are searched")


def _grid(accuracies: Try) -> tuple[Setting, float]:
    """The best setting of `GRID` and its accuracy; of several, the one with the smallest rate."""
    settings = [Setting(lr, 0.0) for lr in GRID]
    return _best(settings, accuracies(settings))


def _tpe(accuracies: Try, trials: int, parallel: int, seed: int, *, is_published: bool) -> tuple[Setting, float]:
    """The best setting of a search and its accuracy; of several, that of the smallest rate, or if `is_published` the
    first that was tried."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        # In a round, heads without a result count as bad, so that settings spread out. Ours draws the first round at
        # random, the paper's the first ten trials, which is Optuna's default.
        own: dict[str, Any] = {"constant_liar": True, "n_startup_trials": parallel}
        published: dict[str, Any] = {"constant_liar": parallel > 1, "group": True}
        sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True, **(published if is_published else own))
        study = optuna.create_study(direction="maximize", sampler=sampler)
    space: dict[str, optuna.distributions.BaseDistribution] = {
        "lr": optuna.distributions.FloatDistribution(*LR_RANGE, log=True),
        "weight_decay": optuna.distributions.FloatDistribution(*WEIGHT_DECAY_RANGE, log=True),
    }
    settings: list[Setting] = []
    found: list[float] = []
    while len(settings) < trials:
        asked = [study.ask(space) for _ in range(min(parallel, trials - len(settings)))]
        settings += [Setting(**trial.params) for trial in asked]
        found += accuracies(settings[-len(asked) :])
        for trial, accuracy in zip(asked, found[-len(asked) :], strict=True):
            study.tell(trial, accuracy)
    if is_published:
        return settings[found.index(max(found))], max(found)
    return _best(settings, found)


def _best(settings: Sequence[Setting], accuracies: Sequence[float]) -> tuple[Setting, float]:
    accuracy, chosen = min(zip((-value for value in accuracies), settings, strict=True))
    return chosen, -accuracy
