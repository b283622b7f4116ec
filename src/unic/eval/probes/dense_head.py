"""A linear head on patch tokens: `W · BN(x) + b` for each patch, resized bilinearly (arXiv 2304.07193, §7.4)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import islice

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from unic.device import default_device
from unic.errors import InputError
from unic.eval.outcome import Dense
from unic.tokens import Grid, map_of

POINTS = 4  # pixels per patch and axis in the loss; all of them would be slower, with the same scores
EPOCHS = 40
LEAST_STEPS = 2000  # on a small set a head has not converged after 40 epochs
_WARMUP = 0.05  # fraction of the steps
_INIT_STD = 0.01

DenseLoss = Callable[[Float[Tensor, "b k h w"], Tensor], Tensor]


class Head(nn.Module):
    """A linear head that turns patch tokens into maps of `outputs` channels."""

    def __init__(self, width: int, outputs: int, grid: Grid, seed: int) -> None:
        super().__init__()
        self.grid = grid
        self.norm = nn.BatchNorm1d(width)
        self.linear = nn.Linear(width, outputs)
        nn.init.normal_(self.linear.weight, std=_INIT_STD, generator=torch.Generator().manual_seed(seed))
        nn.init.zeros_(self.linear.bias)

    def forward(self, patches: Float[Tensor, "b n e"]) -> Float[Tensor, "b k h w"]:
        return map_of(self.linear(self.norm(patches.flatten(0, 1)).unflatten(0, patches.shape[:2])), self.grid)

    def predictions(self, data: Dense, batch_size: int) -> Iterator[tuple[int, Float[Tensor, "k h w"]]]:
        """For every image of a split its row and its maps, on the grid of the patches."""
        self.eval()
        for start in range(0, len(data), batch_size):
            rows = np.arange(start, min(start + batch_size, len(data)))
            with torch.no_grad():
                maps = self(_patches(data, rows, self.device))
            yield from zip(rows.tolist(), maps, strict=True)

    @property
    def device(self) -> torch.device:
        return self.linear.weight.device


def train_head(
    train: Dense,
    targets: Tensor,
    outputs: int,
    loss: DenseLoss,
    *,
    seed: int,
    steps: int | None,
    batch_size: int,
    lr: float,
    weight_decay: float,
) -> Head:
    """Trains a head with AdamW. The learning rate rises over 5 % of the steps and then falls to 0 along a cosine.

    Args:
        targets: targets of `train` as `sampled` returns them.
        loss: function of maps `(b, outputs, h, w)`, resized to the targets, and of targets `(b, h, w)`.
        steps: number of steps; None: those of `EPOCHS` epochs, and at least `LEAST_STEPS`.

    Raises:
        InputError: an option is out of range, or fewer than two images.
    """
    if min(1 if steps is None else steps, batch_size - 1, lr) <= 0 or weight_decay < 0:
        given = f"steps={steps}, batch_size={batch_size}, lr={lr}, weight_decay={weight_decay}"
        text = "expected at least 1 step and batches of 2, lr above 0 and weight_decay of 0 or more"
        raise InputError(f"dense head: {text}, not {given}")
    if len(train) < 2:
        raise InputError(f"dense head: needs at least two training images, not {len(train)}")
    head = Head(train.patches.shape[2], outputs, train.grid, seed)
    head.to(default_device()).train()
    batch_size = min(batch_size, len(train))
    num_steps = steps or max(LEAST_STEPS, EPOCHS * (len(train) // batch_size))
    optimizer = torch.optim.AdamW(head.parameters(), lr, weight_decay=weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, num_steps))
    for rows in islice(_batches(len(train), batch_size, seed), num_steps):
        target = targets[rows].to(head.device)
        maps = resize(head(_patches(train, rows, head.device)), (target.shape[1], target.shape[2]))
        optimizer.zero_grad()
        loss(maps, target).backward()
        optimizer.step()
        schedule.step()
    return head


@lru_cache(maxsize=1)  # for the next seed: decoding targets may take longer than training the head
def sampled(data: Dense) -> Tensor:
    """Targets `(n, h, w)` of all images at `POINTS` pixels per patch and axis, or all pixels if they have fewer."""
    first = data.targets[0]
    places = []
    for count, length in zip(points(data), first.shape, strict=True):
        places.append(((np.arange(count) + 0.5) * length / count).astype(np.int64))  # the middles of equal cells
    found = np.empty((len(data), len(places[0]), len(places[1])), first.dtype)
    for row in range(len(data)):
        found[row] = data.targets[row][np.ix_(*places)]
    return torch.from_numpy(found)


def points(data: Dense) -> tuple[int, int]:
    """Height and width of sampled targets."""
    height, width = data.targets[0].shape
    return min(POINTS * data.grid[0], height), min(POINTS * data.grid[1], width)


def resize(maps: Float[Tensor, "... h w"], size: tuple[int, int]) -> Float[Tensor, "... height width"]:
    """Resizes maps like bilinear `F.interpolate(align_corners=False)`, by two matrix products.

    This is faster on a CPU. On a GPU its gradient is deterministic, which that of `interpolate` is not.
    """
    rows, columns = (_weights(old, new, maps) for old, new in zip(maps.shape[-2:], size, strict=True))
    return rows @ (maps @ columns.T)


def _weights(old: int, new: int, like: Tensor) -> Float[Tensor, "new old"]:
    basis = torch.eye(old, dtype=like.dtype, device=like.device)[None]
    return F.interpolate(basis, size=new, mode="linear", align_corners=False)[0].T


def _patches(data: Dense, rows: np.ndarray, device: torch.device) -> Float[Tensor, "b n e"]:
    return torch.from_numpy(np.ascontiguousarray(data.patches[rows])).to(device).float()


def _batches(count: int, batch_size: int, seed: int) -> Iterator[np.ndarray]:
    """Rows of each step, epoch after epoch. An epoch skips the images that do not fill a batch."""
    rng = np.random.default_rng(seed)
    while True:
        order = rng.permutation(count)
        for start in range(0, count - batch_size + 1, batch_size):
            yield np.sort(order[start : start + batch_size])  # in the order on the disk


def _rate(step: int, steps: int) -> float:
    warmup = max(1, round(_WARMUP * steps))
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))
