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
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.distributed.fsdp import FSDPModule

from unic.data.loader import training_batches
from unic.encoders import Encoder
from unic.errors import InputError
from unic.tokens import Tokens

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
    line = f"{line}; {math.ceil(now / parts)} would fit: "
    smaller = f"train.batch_size={train.batch_size // parts}"
    if job.weighting.needs_whole_batch or (train.engine == "fsdp" and train.gradients == "bf16"):
        return f"{line}{smaller}"
    return f"{line}train.micro_batches={train.micro_batches * parts} trains the same, {smaller} does not"


def _measured(job: Job) -> int:
    """The largest batch by one image's forward pass, without what the failed step held.

    Half of what failed if that fails too, or cannot be tried by one process of several that hold shards.
    """
    half = math.ceil(job.recipe.train.batch_size / job.recipe.train.micro_batches) // 2
    if isinstance(job.distiller, FSDPModule):
        return half
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
            job.standardizer.eval()
            job.forward(partial(_blank_targets, job), batch, step=1)
        return largest_batch(job, saved.total / len(batch), available_bytes(job.device) + held)
    except (MemoryError, RuntimeError):
        return half


def _blank_targets(job: Job, images: Tensor, index: Tensor, view: Tensor) -> dict[str, Tokens]:
    """Tokens of the teachers' shapes: what a loss keeps of them is the same, and cached teachers may be elsewhere."""
    cache = job.recipe.teachers.cache
    grid = (0, 0) if cache and cache.tokens == "cls" else job.grid

    def blank(teacher: Encoder) -> Tokens:
        patches = images.new_zeros(len(images), grid[0] * grid[1], teacher.patch_dim if grid[0] else 0)
        return Tokens(images.new_zeros(len(images), teacher.embed_dim), patches, grid)

    return {name: blank(teacher) for name, teacher in job.encoders.items()}
