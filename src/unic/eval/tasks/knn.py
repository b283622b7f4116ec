"""k-nearest neighbours: cosine similarity, votes weighted by `exp(sim / T)` (Wu et al., arXiv 1805.01978, §3.4).

Both sides are taken in chunks, so neither the matrix of all similarities nor a normalised copy of the training vectors
ever exists. Similarities are float32 products, whose last bits depend on where in a chunk an image stands. Where such a
bit may decide, the candidates are compared again in float64: the answer is that of comparing every pair in float64, as
long as no more than `_SPARE` images beyond the largest k are as near as the last of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from unic.errors import InputError
from unic.eval.outcome import Labelled, Outcome, num_classes, top1
from unic.eval.probes.cosine import units

VERSION = 1
IS_RANDOM = False
NUM_NEIGHBOURS = (10, 20, 100, 200)  # the paper's; all are reported in the details
_CHUNK = 1024  # test images a time
_BANK = 32768  # training images a time: a product of the two is 128 MiB
_SPARE = 56  # candidates beyond the largest k, among which rounding may have changed the order
_ROUNDING = 2e-6  # above the error of a float32 product of unit vectors: 1.5e-6 at 8192 channels was the largest seen


def run(train: Labelled, test: Labelled, *, seed: int = 0, k: int = 20, temperature: float = 0.07) -> Outcome:
    """Classifies every test vector by its `k` nearest training vectors; of equally near ones the first in order count.

    Args:
        train: the vectors that vote.
        test: the vectors to classify.
        seed: unused, nothing is drawn: the spread over seeds is 0 and the uncertainty is the bootstrap's.
        k: how many neighbours vote; all of them where there are fewer. Ties of classes go to the first class.
        temperature: `T`; small values let the nearest neighbours dominate.

    Returns:
        The outcome for `k`; `details["top1_by_k"]` has the score for each of `NUM_NEIGHBOURS` too.

    Raises:
        InputError: `k` or `temperature` is not positive, or fewer than two classes.
    """
    if k < 1 or temperature <= 0:
        raise InputError(f"knn: k and temperature must be positive, not {k} and {temperature}")
    sizes = sorted({k, *NUM_NEIGHBOURS})
    vote = _Vote(torch.from_numpy(train.y), num_classes(train), sizes, temperature)
    answers = []
    for start, (similarity, rows) in _candidates(train.x, test.x, sizes[-1] + _SPARE).items():
        predicted, doubtful = vote(similarity.double(), rows)
        for query in doubtful.nonzero().flatten().tolist():
            predicted[query] = vote(*_compared(train.x, test.x[start + query], rows[query]))[0]
        answers.append(predicted)
    by_size = dict(zip(sizes, torch.cat(answers).T.numpy(), strict=True))
    by_k = {str(size): round(100 * float(np.mean(by_size[size] == test.y)), 3) for size in sizes}
    return top1(by_size[k], test, k=k, top1_by_k=by_k)


@dataclass(frozen=True)
class _Vote:
    labels: Int[Tensor, " n"]
    num_classes: int
    sizes: list[int]
    temperature: float

    def __call__(
        self, similarity: Float[Tensor, "q c"], rows: Int[Tensor, "q c"]
    ) -> tuple[Int[Tensor, "q s"], Bool[Tensor, " q"]]:
        """The class of each query by its first `size` candidates, for all sizes; and whether rounding may decide it."""
        # Against the nearest: the same votes up to a factor, and neither overflow nor only zeros at small temperatures.
        weights, voters = ((similarity - similarity[:, :1]) / self.temperature).exp(), self.labels[rows]
        votes = torch.zeros(len(rows), self.num_classes, dtype=torch.float64)
        doubtful = torch.zeros(len(rows), dtype=torch.bool)
        predicted = []
        for first, size in pairwise([0, *self.sizes]):
            votes.scatter_add_(1, voters[:, first:size], weights[:, first:size])
            predicted.append(votes.argmax(1))
            won, second = votes.topk(2, dim=1).values.T
            doubtful |= won - second <= 2 * _ROUNDING / self.temperature * won
            if size < rows.shape[1]:
                doubtful |= similarity[:, size - 1] - similarity[:, size] <= 2 * _ROUNDING
        return torch.stack(predicted, dim=1), doubtful


def _candidates(bank: np.ndarray, queries: np.ndarray, count: int) -> dict[int, tuple[Tensor, Tensor]]:
    """By the first query of each chunk: similarities `(q, count)`, descending, and training rows; on the CPU.

    The training vectors pass once, in the outer loop: from a disk or to a GPU that is what takes time.
    """
    chunks = dict(units(queries, _CHUNK))
    best: dict[int, tuple[Tensor, Tensor]] = {}
    for first, part in units(bank, _BANK):
        for start, chunk in chunks.items():
            similarity, rows = (chunk @ part.T).topk(min(count, len(part)), dim=1)
            rows += first
            if start in best:
                similarity, rows = (
                    torch.cat(both, dim=1) for both in zip(best[start], (similarity, rows), strict=True)
                )
                similarity, order = similarity.topk(min(count, similarity.shape[1]), dim=1)
                rows = rows.gather(1, order)
            best[start] = similarity, rows
    return {start: (similarity.cpu(), rows.cpu()) for start, (similarity, rows) in best.items()}


def _compared(bank: np.ndarray, query: np.ndarray, rows: Int[Tensor, " c"]) -> tuple[Tensor, Tensor]:
    """The candidates of one query by their similarity in float64, then by row: `(1, c)` each."""
    rows = rows.sort().values
    near, centre = (torch.from_numpy(np.array(x, dtype=np.float64)) for x in (bank[rows.numpy()], query[None]))
    # Rounded to 1e-12: what is equally near must be so whatever the order of summation.
    similarity = torch.round(F.cosine_similarity(near, centre), decimals=12)
    similarity, order = similarity.sort(descending=True, stable=True)
    return similarity[None], rows[order][None]
