"""Batches of views, decoded in worker processes; the images of a step depend on seed and step only.

Step s of a run takes the s-th slice of the concatenated epoch orders, which are hashes of (seed, epoch). So a resumed
run computes its place instead of reading up to it, and every process cuts its share from the same global batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from unic import rng
from unic.data import augment as augmentations
from unic.data.batch import Batch, Request, ViewSize
from unic.data.decoding import Decoder
from unic.data.image_list import ImageList
from unic.data.mix import Mix
from unic.data.sources import Source
from unic.data.workers import answers
from unic.errors import InputError

TIMEOUT = 600.0  # seconds; a batch of slow pictures on a slow disk takes one or two minutes
_SIZE = rng.stream("size of views")
_EXPECTED = 8192  # images ahead of a step that a streamed source may fetch


def steps_per_epoch(images: ImageList, batch_size: int) -> int:
    """Number of full batches of an epoch; the rest is dropped. Raises `InputError` if no batch is full."""
    steps = images.epoch_length() // batch_size
    if steps == 0:
        raise InputError(
            f"train.batch_size={batch_size} is more than the {images.epoch_length()} images of an epoch ({images.path})"
        )
    return steps


def check_shares(batch_size: int, world_size: int, micro_batches: int) -> None:
    """Raises `InputError` if a batch has too few images to give each micro-batch of each process one."""
    if batch_size < world_size * micro_batches:
        raise InputError(
            f"train.batch_size={batch_size} is too small for {world_size} processes × {micro_batches} micro-batches; "
            f"expected at least {world_size * micro_batches}"
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
    num_views: int | None = None,
    mix: Mix | None = None,
    pin_memory: bool = False,
) -> Iterator[Batch]:
    """Yields the micro-batches of this process for steps `first_step … num_steps`, in order.

    A damaged image is replaced by the next readable one, so that shapes stay the same, and is reported in
    `Batch.damaged` each time that it is met.

    Args:
        images: the images to train on.
        size: side of the views in pixels; of several sizes each step draws one, for all its micro-batches.
        augment: name of the augmentation, of which only the crop is done here.
        seed: seed of the run; keys the order of images, the sizes and the views.
        batch_size: images of an optimiser step, over all processes and micro-batches. If they do not divide evenly, the
            first processes and micro-batches get one image more.
        first_step: first step to yield, from 1; larger than 1 in a resumed run.
        num_steps: last step of the whole run.
        micro_batches: number of parts of this process's share of a step.
        rank: rank of this process, from 0.
        world_size: number of processes.
        workers: processes that decode images; 0: this process decodes.
        timeout: longest time to wait for a worker's batch, in seconds; 0: no limit.
        num_views: number of cached views, modulo which the view key is taken; None: views are not cached.
        mix: how views are mixed with those of other images; None: they are not mixed.
        pin_memory: copy images to pinned memory, for a GPU.

    Raises:
        InputError: unknown augmentation; a batch that is too small to share, or larger than an epoch; no image can be
            read.
        WorkerError: a worker has died, or not answered in time.
    """
    augmentation = augmentations.preset(augment)
    check_shares(batch_size, world_size, micro_batches)
    sizes = (size,) if isinstance(size, int) else tuple(size)
    requests = _Steps(
        images, sizes, seed, batch_size, steps_per_epoch(images, batch_size),
        range(first_step, num_steps + 1), micro_batches, rank, world_size, num_views,
    )  # fmt: skip
    return _batches(Decoder(images, augmentation, seed, mix, substitute=True), requests, workers, timeout, pin_memory)


def view_batches(
    images: Source,
    *,
    size: ViewSize,
    augment: str = "none",
    seed: int = 0,
    key: int = 0,
    batch_size: int = 64,
    workers: int = 0,
    timeout: float = TIMEOUT,
    first: int = 0,
    last: int | None = None,
    mix: Mix | None = None,
    pin_memory: bool = False,
) -> Iterator[Batch]:
    """Yields every image once, in order. A damaged image is left out of its batch and reported in `Batch.damaged`.

    Args:
        images: any source.
        size: side of the square view in pixels, or height and width, to which the crop is resized.
        augment: name of the augmentation, of which only the crop is done here; "none": the centre square.
        seed: first key of the random view, for `augment` other than "none".
        key: view key; second key of the random view.
        batch_size: images of a batch; a batch with damaged images is smaller, possibly empty.
        workers: processes that decode images; 0: this process decodes.
        timeout: longest time to wait for a worker's batch, in seconds; 0: no limit.
        first: index of the first image.
        last: index after the last image; None: the length of `images`.
        mix: how views are mixed with those of other images; None: they are not mixed.
        pin_memory: copy images to pinned memory, for a GPU.

    Raises:
        InputError: unknown augmentation.
        WorkerError: a worker has died, or not answered in time.
    """
    rest = torch.arange(first, len(images) if last is None else last)
    requests = [Request(part.tolist(), [key] * len(part), size) for part in rest.split(batch_size)]
    decoder = Decoder(images, augmentations.preset(augment), seed, mix, substitute=False)
    return _batches(decoder, requests, workers, timeout, pin_memory)


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
    num_views: int | None

    def __iter__(self) -> Iterator[Request]:
        ordered, order, visits = -1, torch.empty(0), torch.empty(0)
        for step in self.steps:
            epoch, place = divmod(step - 1, self.steps_per_epoch)
            if epoch != ordered:
                ordered, (order, visits) = epoch, self.images.epoch_visits(self.seed, epoch)
            own = torch.arange(self.batch_size).tensor_split(self.world_size)[self.rank] + place * self.batch_size
            if self.images.in_pieces:
                self.images.expect(order[own[0] : own[0] + _EXPECTED])
            indices, keys = order[own], visits[own]
            if self.num_views is not None:
                keys = keys % self.num_views
            size = self.sizes[int(rng.number(self.seed, _SIZE, step) * len(self.sizes))]
            parts = zip(indices.tensor_split(self.micro_batches), keys.tensor_split(self.micro_batches), strict=True)
            yield from (Request(part.tolist(), of_part.tolist(), size) for part, of_part in parts)

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
    for (index, keys, damaged), images in answers(decoder, requests, workers, timeout=timeout, pin_memory=pin_memory):
        assert images is not None
        yield Batch(images, torch.from_numpy(index), torch.from_numpy(keys), damaged)
