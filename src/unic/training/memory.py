"""Memory that a step needs, and the batch that fits: 16 bytes per trained parameter, the teachers, bytes per image.

Bytes per image are measured, not modelled: the tensors that autograd saves for a small batch are counted.
"""

from __future__ import annotations

import gc
import math
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import torch
from torch import Tensor
from torch.distributed.fsdp import FSDPModule

from unic.encoders import Encoder
from unic.encoders._heap import give_freed_memory_back
from unic.errors import StoppedError
from unic.tokens import Tokens
from unic.training.batch_norms import batch_norms
from unic.training.job import Job
from unic.training.teachers import only

SPARE = 0.9  # share of the available memory that may be used
_BYTES_TRAINED = 16  # of a float32 parameter: its value, its gradient, two moments of Adam
_BYTES_TRIED = 8  # without moments: with FSDP2 models are whole only while the first batch is tried


class SavedBytes(torch.autograd.graph.saved_tensors_hooks):
    """Counts in `total` the bytes that a forward pass inside the block keeps for its backward pass."""

    def __init__(self) -> None:
        self.total = 0
        super().__init__(self._count, lambda tensor: tensor)

    def _count(self, tensor: Tensor) -> Tensor:
        source = tensor if tensor._base is None else tensor._base  # a Linear saves its weight as a transposed view
        if not isinstance(source, torch.nn.Parameter):
            self.total += tensor.numel() * tensor.element_size()
        return tensor


def model_bytes(job: Job) -> int:
    """Most bytes that the models take in one process: the student with gradients and moments, and the teachers."""
    in_shards = job.recipe.train.engine == "fsdp" and job.world_size > 1
    trained = sum(p.numel() for p in job.distiller.parameters() if p.requires_grad)
    frozen = sum(p.numel() * p.element_size() for encoder in job.encoders.values() for p in encoder.parameters())
    return trained * (_BYTES_TRIED if in_shards else _BYTES_TRAINED) + frozen


def available_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    give_freed_memory_back()
    return int(psutil.virtual_memory().available)


def room(job: Job) -> int:
    """Bytes for models and images together: what is available, plus what the models take already."""
    job.optimizer.zero_grad(set_to_none=True)
    gc.collect()
    if job.device.type == "cuda":
        torch.cuda.empty_cache()
        return available_bytes(job.device) + torch.cuda.memory_allocated(job.device)
    modules = (job.distiller, job.standardizer, *job.encoders.values())
    held = [tensor for module in modules for tensor in module.state_dict().values()]
    held += [value for state in job.optimizer.state.values() for value in state.values() if isinstance(value, Tensor)]
    return available_bytes(job.device) + sum(tensor.numel() * tensor.element_size() for tensor in held)


def largest_batch(job: Job, bytes_per_image: float, available: int) -> int:
    """How many images at a time fit beside the models; 0 or less if not even the models fit."""
    return int((available * SPARE - model_bytes(job)) // bytes_per_image) if bytes_per_image else 0


def what_fits(job: Job, largest: int) -> str:
    """Changes to the recipe if at most `largest` images (one or more) fit at a time."""
    train, now, shares = job.recipe.train, job.images_at_a_time, job.recipe.train.micro_batches * job.world_size
    parts = math.ceil(now / largest)
    line = f"{math.ceil(now / parts)} would fit: set "
    smaller = f"train.batch_size={max(train.batch_size // parts, shares)}"  # an image for each share
    is_whole = job.weighting.needs_whole_batch or (train.engine == "fsdp" and train.gradients == "bf16")
    if is_whole or shares * parts > train.batch_size:
        return f"{line}{smaller}"
    same = "same result except for batch norms" if batch_norms(job.student) else "same result"
    micro_batches = f"train.micro_batches={train.micro_batches * parts}"
    return f"{line}{micro_batches} ({same}), or {smaller} (changes the training)"


@contextmanager
def out_of_memory_named(job: Job) -> Iterator[None]:
    """Turns running out of memory into one line that names the batch size that would fit.

    Raises:
        StoppedError: the recipe asks for more than this machine has.
    """
    try:
        yield
        return
    except (MemoryError, RuntimeError) as error:
        # torch has an error class for GPUs only; on a CPU its allocator raises a RuntimeError.
        if not (isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)):
            raise
        traceback.clear_frames(error.__traceback__)  # frames hold the tensors of the failed step
    raise StoppedError(_advice(job))


def _advice(job: Job) -> str:
    now = job.images_at_a_time
    line = f"out of memory with {now} images at a time"
    largest = min(_measured(job), now - 1)
    if largest < 1:
        return f"{line}: not even one fits; choose smaller models, or a projector with fewer blocks"
    return f"{line}; {what_fits(job, largest)}"


def _measured(job: Job) -> int:
    """The largest batch, estimated from a forward pass of two images after the failed step is released.

    If that pass fails too, or models are sharded so that one process cannot run it, half of the failed batch.
    """
    half = job.images_at_a_time // 2
    compares = any(loss.needs_whole_batch for own in job.distiller.losses.values() for _, loss in own.values())
    if isinstance(job.distiller, FSDPModule) or (compares and job.world_size > 1):
        return half
    available = room(job)
    try:
        saved = SavedBytes()
        with saved:
            # Not `batch_loss`: a weighting may communicate with the other processes, which are not here.
            batch = job.first_batch(2)
            views = job.views(batch)
            targets = job.standardizer.eval()(_blank_targets(job, views))
            job.distiller(views, targets, 1, batch.index.to(job.device))
        return largest_batch(job, saved.total / len(batch), available)
    except (MemoryError, RuntimeError):
        return half


def _blank_targets(job: Job, images: Tensor) -> dict[str, Tokens]:
    """Zeros in the shapes of the teachers' tokens: a loss saves as many bytes, and no teacher has to run."""
    grid = job.resolutions.grids.get((images.shape[-2], images.shape[-1]), job.grid)

    def blank(name: str, teacher: Encoder) -> Tokens:
        patches = images.new_zeros(len(images), grid[0] * grid[1], teacher.patch_dim)
        whole = Tokens(images.new_zeros(len(images), teacher.embed_dim), patches, grid)
        return only(whole, job.recipe.teachers.matched(name))

    return {name: blank(name, teacher) for name, teacher in job.encoders.items()}
