"""Linear classifiers trained by SGD, many at once: a batch of features is read once and shared by all heads.

Head h minimises, over `W_h (K, D + 1)` whose last column is the intercept,

    f(W_h) = mean_i −log softmax(W_h x_i)[y_i] + wd_h ‖W_h‖² / 2

by `V ← 0.9 V + ∇f(W)` and `W ← W − lr_h (1 + cos(π t / T)) / 2 · V`. This is the step of `torch.optim.SGD`. It is
written out here because the gradient is `(softmax − one-hot) xᵀ / b`, whose matrix product can be accumulated into `V`.

The published protocol of UNIC differs in three points, see `Schedule.is_published`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from unic import rng
from unic.eval.probes.unit_vectors import UnitVectors

_MOMENTUM = 0.9
# Logits at a time. They are used three times in a row, so on a CPU they should fit into its cache.
_AT_ONCE = {"cpu": 1 << 20, "cuda": 1 << 26}
_BLOCK = 8  # neighbouring rows that are read together; 24 KiB with 768 channels
_POOL = 1 << 17  # rows in memory at a time, for sets that are read from a disk; 400 MiB with 768 channels


class Setting(NamedTuple):
    """The settings in which heads differ."""

    lr: float
    weight_decay: float


@dataclass(frozen=True)
class Schedule:
    """The settings that all heads share.

    Attributes:
        epochs: passes over the rows; the learning rate falls to 0 over their steps.
        batch_size: largest size of a batch. The batches of an epoch have equal sizes, so that none is small and noisy.
        seed: seed of the order of rows, which depends only on it and on the number of rows.
        is_published: True for training as in the paper's published code. The learning rate changes by epoch and is one
            epoch late, so that the first two epochs have the full rate; the last batch of an epoch is what is left; and
            weights start as those of `torch.nn.Linear`, the same for all heads.
    """

    epochs: int
    batch_size: int
    seed: int
    is_published: bool = False

    def num_batches(self, num_rows: int) -> int:
        return math.ceil(num_rows / self.batch_size)

    def rate(self, epoch: int, step: int, num_rows: int) -> float:
        """The factor on the learning rate at a step of the training, both counted from 0."""
        if self.is_published:
            done = max(0, epoch - 1) / self.epochs
        else:
            done = step / (self.epochs * self.num_batches(num_rows))
        return (1 + math.cos(math.pi * done)) / 2

    def start(self, classes: int, width: int) -> Float[Tensor, "k d"]:
        """The weights of a head before the first step."""
        if not self.is_published:
            return torch.zeros(classes, width)
        draw = torch.Generator().manual_seed(rng.seed_of(rng.stream("linear start"), self.seed))
        bound = (width - 1) ** -0.5  # without the column of ones
        return torch.empty(classes, width).uniform_(-bound, bound, generator=draw)

    def order(self, num_rows: int, epoch: int) -> Iterator[list[Int[Tensor, " _"]]]:
        """The batches of an epoch, pool by pool; the rows of a pool are shuffled.

        A pool consists of random blocks of neighbouring rows, which a disk can read fast. A small set is a single pool,
        so its order is uniform over all permutations. In a set that is sorted by class a block has a single class, so a
        pool must hold many blocks.
        """
        draw = torch.Generator().manual_seed(rng.seed_of(rng.stream("linear"), self.seed, epoch))
        first = torch.randperm(math.ceil(num_rows / _BLOCK), generator=draw) * _BLOCK
        rows = (first[:, None] + torch.arange(_BLOCK)).flatten()
        rows = rows[rows < num_rows]
        equal = rows.tensor_split(self.num_batches(num_rows))
        batches = rows.split(self.batch_size) if self.is_published else equal
        step = max(1, _POOL // self.batch_size)
        for start in range(0, len(batches), step):
            pool = torch.cat(batches[start : start + step])
            pool = pool[torch.randperm(len(pool), generator=draw)]
            yield list(pool.split([len(batch) for batch in batches[start : start + step]]))


@dataclass(frozen=True)
class Heads:
    """Trained heads: `weights (H, K, D + 1)`, on the device."""

    weights: Float[Tensor, "h k d"]

    def logits(
        self, vectors: UnitVectors, rows: Int[np.ndarray, " n"] | None = None
    ) -> Iterator[Float[Tensor, "h k _"]]:
        """Logits of all vectors, or of some rows, batch by batch in their order."""
        wanted = torch.from_numpy(np.arange(len(vectors)) if rows is None else rows)
        heads, classes, _ = self.weights.shape
        for batch in wanted.split(max(1, _AT_ONCE[self.weights.device.type] // (heads * classes))):
            for x in vectors.batches([batch]):
                yield (self.weights.flatten(0, 1) @ x.T).view(heads, classes, len(x))

    def predict(self, vectors: UnitVectors, rows: Int[np.ndarray, " n"] | None = None) -> Int[np.ndarray, "h n"]:
        """The class that each head predicts for each vector, or for some rows."""
        return torch.cat([part.argmax(1) for part in self.logits(vectors, rows)], dim=1).cpu().numpy()


def train_heads(
    vectors: UnitVectors,
    y: Int[np.ndarray, " n"],
    rows: Int[np.ndarray, " r"],
    classes: int,
    settings: Sequence[Setting],
    schedule: Schedule,
) -> Heads:
    """Trains a head for each of `settings` on some of the vectors. Heads do not affect each other.

    Args:
        vectors: all vectors.
        y: labels of all vectors.
        rows: rows to train on, ascending.
        classes: number of classes, `K`.
        settings: settings of each head.
        schedule: settings of all heads.
    """
    start = schedule.start(classes, vectors.width).to(vectors.device)
    weights = start.repeat(len(settings), 1, 1)
    velocity = torch.zeros_like(weights)
    lr, decay = torch.tensor(settings, dtype=torch.float32, device=vectors.device).T[..., None, None]
    used, labels = torch.from_numpy(rows), torch.from_numpy(y)
    step = 0
    for epoch in range(schedule.epochs):
        for places in schedule.order(len(rows), epoch):
            pool = [used[place] for place in places]
            targets = labels[torch.cat(pool)].to(vectors.device).split([len(batch) for batch in pool])
            for x, target in zip(vectors.batches(pool), targets, strict=True):
                _step(weights, velocity, x, target, lr * schedule.rate(epoch, step, len(rows)), decay)
                step += 1
    return Heads(weights)


def _step(
    weights: Float[Tensor, "h k d"],
    velocity: Float[Tensor, "h k d"],
    x: Float[Tensor, "b d"],
    target: Int[Tensor, " b"],
    rate: Float[Tensor, "h 1 1"],
    decay: Float[Tensor, "h 1 1"],
) -> None:
    """One step of all heads, in place."""
    classes, size = weights.shape[1], len(x)
    at_once = max(1, _AT_ONCE[x.device.type] // (classes * size))
    images = torch.arange(size, device=x.device)
    for w, v, lr, wd in zip(*(part.split(at_once) for part in (weights, velocity, rate, decay)), strict=True):
        error = (w.flatten(0, 1) @ x.T).view(-1, classes, size).softmax(1)
        error[:, target, images] -= 1
        v.flatten(0, 1).addmm_(error.flatten(0, 1), x, beta=_MOMENTUM, alpha=1 / size)
        v.addcmul_(wd, w)
        w.addcmul_(lr, v, value=-1)
