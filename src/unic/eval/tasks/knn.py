"""k-nearest neighbours: cosine similarity, votes weighted by `exp(sim / T)` (Wu et al., arXiv 1805.01978, §3.4).

Training and test vectors are read in chunks, so neither the matrix of all similarities nor a normalised copy of the
training vectors is stored. Similarities are float32 products, whose last bits depend on an image's place in a chunk. If
these bits may decide a class, the candidates are compared again in float64. So the answer is that of comparing all
pairs in float64, unless more than `_SPARE` images beyond the largest k are as near as the last of the k.
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
NUM_NEIGHBOURS = (10, 20, 100, 200)  # the paper's values, all of which are reported in the details
_CHUNK = 1024  # test images at a time
_BANK = 32768  # training images at a time; the product with a chunk takes 128 MiB
_SPARE = 56  # candidates beyond the largest k, among which rounding may change the order
_ROUNDING = 2e-6  # bound of the error of a float32 product of unit vectors; the largest measured: 1.5e-6, 8192 channels


def run(train: Labelled, test: Labelled, *, seed: int = 0, k: int = 20, temperature: float = 0.07) -> Outcome:
    """Classifies every test vector by its `k` nearest training vectors. Of equally near ones the first count.

    Args:
        train: the vectors that vote.
        test: the vectors to classify.
        seed: unused, as nothing is drawn.
        k: number of neighbours that vote, or all training vectors if there are fewer. Ties go to the first class.
        temperature: `T`; the smaller it is, the more the nearest neighbours dominate.

    Returns:
        The outcome for `k`; `details["top1_by_k"]` has the score for `k` and for each of `NUM_NEIGHBOURS`.

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
        """The class of each query by its first `size` candidates, for all sizes, and whether rounding may decide it."""
        # Relative to the nearest candidate: a common factor, which prevents overflow and all zeros at small
        # temperatures.
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
    """For each chunk of queries: similarities `(q, count)`, descending, and training rows, on the CPU. The key is the
    chunk's first query.

    The training vectors are read once, in the outer loop, as reading them from a disk or copying them to a GPU is slow.
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
    """Similarities in float64 and rows of one query's candidates, sorted by similarity, then by row: `(1, c)` each."""
    rows = rows.sort().values
    near, centre = (torch.from_numpy(np.array(x, dtype=np.float64)) for x in (bank[rows.numpy()], query[None]))
    # Rounded to 1e-12, so that equally near vectors stay equal whatever the order of summation.
    similarity = torch.round(F.cosine_similarity(near, centre), decimals=12)
    similarity, order = similarity.sort(descending=True, stable=True)
    return similarity[None], rows[order][None]
