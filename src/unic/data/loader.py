"""Batches of views: which image is seen at which step, decoded in worker processes, exactly repeatable.

Step s of a run is the s-th slice of the concatenated epoch orders. The order is a hash of (seed, epoch), so a resumed
run computes where it is instead of reading up to there, and every process cuts its share from the same global batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from unic import rng
from unic.data import augment as augmentations
from unic.data.batch import Batch, Request, Size
from unic.data.decoding import Decoder
from unic.data.image_list import ImageList
from unic.data.mix import Mix
from unic.data.sources import Source
from unic.data.workers import answers
from unic.errors import InputError

TIMEOUT = 600.0  # seconds; a batch of slow pictures on a slow disk takes one or two minutes


_SIZE = rng.stream("size of views")


_EXPECTED = 8192  # images ahead of a step that a source is told of, so that it may fetch them in time


def steps_per_epoch(images: ImageList, batch_size: int) -> int:
    """Full batches of one epoch; the rest is dropped. Raises `InputError` if there is not even one."""
    steps = images.epoch_length() // batch_size
    if steps == 0:
        raise InputError(
            f"train.batch_size={batch_size} is more than the {images.epoch_length()} images of an epoch ({images.path})"
        )
    return steps


def check_shares(batch_size: int, world_size: int, micro_batches: int) -> None:
    """Every process gets an image for each of its micro-batches. Raises `InputError` if that cannot be."""
    if batch_size < world_size * micro_batches:
        raise InputError(
            f"train.batch_size={batch_size} is fewer images than {world_size} processes × {micro_batches} micro-batches"
        )


def training_batches(
    images: ImageList,
    *,
    size: int | Sequence[int],
    augment: str,
    seed: int,
    batch_size: int,
    first_step: int,
    num_steps: int,
    micro_batches: int = 1,
    rank: int = 0,
    world_size: int = 1,
    workers: int = 0,
    timeout: float = TIMEOUT,
    views: int | None = None,
    mix: Mix | None = None,
    pin_memory: bool = False,
) -> Iterator[Batch]:
    """The micro-batches of steps `first_step … num_steps` (from 1) of this process, in order.

    A damaged image is replaced by the next readable one, which keeps shapes static, and reported in `Batch.damaged`
    (every time it comes up: count by index).

    Args:
        images: what is trained on.
        size: side of the views; of several each step draws one, the same for all its processes and micro-batches.
        augment: name of the augmentation, of which only the crop is done here.
        seed: of the run: of the order of images, of sizes and of views.
        batch_size: of one optimiser step, over all processes and micro-batches; where it does not divide, the first
            ones get an image more.
        first_step: the step to begin with, from 1; another than 1 resumes.
        num_steps: the last step of the whole run.
        micro_batches: parts in which this process computes its share of a step.
        rank: of this process, from 0.
        world_size: the number of processes.
        workers: processes that decode; 0: this one.
        timeout: seconds that a batch of theirs is waited for; 0: without end.
        views: number of cached views; the augmentation key is then taken modulo it.
        mix: how views are mixed with those of other images; None: not at all.
        pin_memory: put images where a GPU can fetch them from.

    Raises:
        InputError: unknown augmentation; the batch is too small to share, or larger than an epoch; nothing is readable.
        WorkerError: a worker has died, or not answered in time.
    """
    view = augmentations.preset(augment)
    check_shares(batch_size, world_size, micro_batches)
    sizes = (size,) if isinstance(size, int) else tuple(size)
    requests = _Steps(
        images, sizes, seed, batch_size, steps_per_epoch(images, batch_size),
        range(first_step, num_steps + 1), micro_batches, rank, world_size, views,
    )  # fmt: skip
    return _batches(Decoder(images, view, seed, mix, substitute=True), requests, workers, timeout, pin_memory)


def view_batches(
    images: Source,
    *,
    size: Size,
    augment: str = "none",
    seed: int = 0,
    view: int = 0,
    batch_size: int = 64,
    workers: int = 0,
    timeout: float = TIMEOUT,
    first: int = 0,
    last: int | None = None,
    mix: Mix | None = None,
) -> Iterator[Batch]:
    """Every image once, in order. A damaged one is left out (its batch is shorter, possibly empty) and reported.

    Args:
        images: any source.
        size: side of a square view, or height and width: the centre square is then resized straight to them.
        augment: name of the augmentation, of which only the crop is done here; "none": the centre square.
        seed: first augmentation key, for `augment` other than "none".
        view: second augmentation key.
        batch_size: images of a batch.
        workers: processes that decode; 0: this one.
        timeout: seconds that a batch of theirs is waited for; 0: without end.
        first: index of the image to begin with.
        last: index of the image to end before; None: the end.
        mix: as for `training_batches`.

    Raises:
        InputError: unknown augmentation.
        WorkerError: a worker has died, or not answered in time.
    """
    rest = torch.arange(first, len(images) if last is None else last)
    requests: list[Request] = [(part.tolist(), [view] * len(part), size) for part in rest.split(batch_size)]
    decoder = Decoder(images, augmentations.preset(augment), seed, mix, substitute=False)
    return _batches(decoder, requests, workers, timeout, pin_memory=False)


@dataclass(frozen=True)
class _Steps:
    """The requests of `training_batches`, computed epoch by epoch."""

    images: ImageList
    sizes: tuple[int, ...]
    seed: int
    batch_size: int
    steps_per_epoch: int
    steps: range
    micro_batches: int
    rank: int
    world_size: int
    views: int | None

    def __iter__(self) -> Iterator[Request]:
        known, order, visits = -1, torch.empty(0), torch.empty(0)
        for step in self.steps:
            epoch, place = divmod(step - 1, self.steps_per_epoch)
            if epoch != known:
                known, (order, visits) = epoch, self.images.epoch_visits(self.seed, epoch)
            own = torch.arange(self.batch_size).tensor_split(self.world_size)[self.rank] + place * self.batch_size
            if self.images.in_pieces:
                self.images.expect(order[own[0] : own[0] + _EXPECTED])
            index, key = order[own], visits[own]
            if self.views is not None:
                key = key % self.views
            size = self.sizes[int(rng.number(self.seed, _SIZE, step) * len(self.sizes))]
            shares = index.tensor_split(self.micro_batches), key.tensor_split(self.micro_batches)
            yield from ((part.tolist(), keys.tolist(), size) for part, keys in zip(*shares, strict=True))

    def __len__(self) -> int:
        return len(self.steps) * self.micro_batches


def _batches(
    decoder: Decoder, requests: Sequence[Request] | _Steps, workers: int, timeout: float, pin_memory: bool
) -> Iterator[Batch]:
    workers = min(workers, len(requests))
    if not workers:
        for request in requests:
            batch = decoder.batch(request)
            yield batch.pin_memory() if pin_memory else batch
        return
    for (index, view, damaged), images in answers(decoder, requests, workers, timeout=timeout, pin_memory=pin_memory):
        assert images is not None
        yield Batch(images, torch.from_numpy(index), torch.from_numpy(view), damaged)
