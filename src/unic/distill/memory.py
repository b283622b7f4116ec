"""What a step needs of the memory, and which batch fits: models · 16 bytes of a trained parameter + bytes per image.

Measured, not modelled: autograd's saved tensors of a small batch are counted.
"""

from __future__ import annotations

import gc
import math
import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from unic.data.loader import training_batches
from unic.errors import InputError

if TYPE_CHECKING:
    from unic.distill.build import Job

SPARE = 0.9  # of the memory may be planned with
_BYTES_TRAINED = 16  # of a float32 parameter: itself, its gradient, two moments of Adam


class SavedBytes(torch.autograd.graph.saved_tensors_hooks):
    """Counts in `total` the bytes that a forward pass inside the block keeps for its backward pass."""

    def __init__(self) -> None:
        self.total = 0
        super().__init__(self._count, lambda tensor: tensor)

    def _count(self, tensor: Tensor) -> Tensor:
        if not isinstance(tensor, torch.nn.Parameter):
            self.total += tensor.numel() * tensor.element_size()
        return tensor


def model_bytes(job: Job) -> int:
    """The student with gradients and moments, and the teachers."""
    trained = sum(p.numel() for p in job.distiller.parameters() if p.requires_grad)
    frozen = sum(p.numel() * p.element_size() for encoder in job.encoders.values() for p in encoder.parameters())
    return trained * _BYTES_TRAINED + frozen


def available_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf
        return 8 << 30


def largest_batch(job: Job, bytes_per_image: float, available: int) -> int:
    """How many images at a time fit beside the models; 0 or less if not even those do."""
    return int((available * SPARE - model_bytes(job)) // bytes_per_image) if bytes_per_image else 0


def parts_that_fit(batch: int, largest: int) -> int:
    """The smallest number of parts of `batch`, equal but for one image, of which none is larger than `largest`."""
    return math.ceil(batch / max(largest, 1))


@contextmanager
def out_of_memory_named(job: Job) -> Iterator[None]:
    """Turns running out of memory into one line that names the batch size that would fit.

    Raises:
        InputError: the recipe asks for more than this machine has.
    """
    try:
        yield
        return
    except (MemoryError, RuntimeError) as error:
        # torch has a kind of its own for GPUs only; on a CPU it is a RuntimeError of its allocator.
        if not (isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)):
            raise
        traceback.clear_frames(error.__traceback__)  # they hold the tensors of the step that failed
    raise InputError(_advice(job))


def _advice(job: Job) -> str:
    train = job.recipe.train
    world = torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1
    now = math.ceil(train.batch_size / (train.micro_batches * world))
    line = f"out of memory with {now} images at a time"
    largest = min(_measured(job), now - 1)
    if largest < 1:
        return f"{line}: not even one fits; choose smaller models, or a projector with fewer blocks"
    parts = parts_that_fit(now, largest)
    fits, micro_batches = math.ceil(now / parts), train.micro_batches * parts
    return (
        f"{line}; {fits} would fit: train.micro_batches={micro_batches} trains the same, "
        f"train.batch_size={train.batch_size // parts} does not"
    )


def _measured(job: Job) -> int:
    """The largest batch by one image's forward pass, without what the failed step held; half if even that fails."""
    job.optimizer.zero_grad(set_to_none=True)
    gc.collect()
    held = 0
    if job.device.type == "cuda":
        torch.cuda.empty_cache()
        held = torch.cuda.memory_allocated(job.device)  # of the models, which `model_bytes` counts
    try:
        saved = SavedBytes()
        with saved:
            recipe = job.recipe
            batch = next(
                training_batches(
                    job.images, size=recipe.data.size, augment=recipe.data.augment, seed=recipe.seed, batch_size=2,
                    first_step=1, num_steps=1,
                )
            )  # fmt: skip
            index = batch.index.to(job.device)
            views = job.augmentation(batch.images.to(job.device), recipe.seed, batch.epoch, batch.index)
            targets = job.standardizer.eval()(job.live_teachers()(views, index, batch.epoch))
            job.distiller(views, targets, 1, index)
        return largest_batch(job, saved.total / len(batch), available_bytes(job.device) + held)
    except (MemoryError, RuntimeError):
        train = job.recipe.train
        return math.ceil(train.batch_size / train.micro_batches) // 2
