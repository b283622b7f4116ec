"""Spreads the trained part over processes, whole on each (DDP) or in shards (FSDP2), and gathers it for a file.

FSDP2 is `torch.distributed.fsdp.fully_shard` on every block of the student and every projector, the rest as one more
group. Checkpoints hold whole tensors under the same names either way, so a run may resume with another number of
processes or another engine.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
import torch.distributed as dist
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor, nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import bf16_compress_hook
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

from unic.encoders import Encoder
from unic.errors import AgreedError, InputError, PreemptedError
from unic.training.job import Job
from unic.training.optimizer import build_optimizer
from unic.training.rates import student_rates


def prepare(job: Job, accelerator: Accelerator) -> nn.Module:
    """The distiller as the loop calls it. With FSDP2 `job.optimizer` becomes one over shards and keeps its state."""
    train = job.recipe.train
    if train.engine == "fsdp" and accelerator.num_processes > 1:
        _shard(job, accelerator)
        model: nn.Module = job.distiller
    else:
        model = accelerator.prepare(job.distiller)
        if train.gradients == "bf16" and isinstance(model, DistributedDataParallel):
            model.register_comm_hook(None, bf16_compress_hook)
    if train.compile:
        model.compile()
    return model


@contextmanager
def accumulating(model: nn.Module, accelerator: Accelerator) -> Iterator[None]:
    """Keeps gradients on their process, for a micro-batch that is not the last of its step."""
    if isinstance(model, FSDPModule):
        model.set_requires_gradient_sync(False)
        yield
        model.set_requires_gradient_sync(True)
    else:
        with accelerator.no_sync(model):
            yield


def whole(tensors: Mapping[str, Tensor], *, keep: bool = True) -> dict[str, Tensor]:
    """Gathers shards into whole tensors, one at a time. Every process must call it.

    Args:
        keep: False on processes that only take part: they get an empty dictionary.
    """
    out = {}
    for name, tensor in tensors.items():
        full = tensor.full_tensor().cpu() if isinstance(tensor, DTensor) else tensor
        if keep:
            out[name] = full
    return out


def _shard(job: Job, accelerator: Accelerator) -> None:
    mesh = init_device_mesh(accelerator.device.type, (accelerator.num_processes,))
    plain = job.optimizer
    exchange = MixedPrecisionPolicy(reduce_dtype=torch.bfloat16 if job.recipe.train.gradients == "bf16" else None)
    for block in _blocks(job.student):
        fully_shard(block, mesh=mesh, mp_policy=exchange)
    for projector in job.distiller.projectors.values():
        fully_shard(projector, mesh=mesh, mp_policy=exchange)
    fully_shard(job.distiller, mesh=mesh, mp_policy=exchange)
    if job.recipe.teachers.shard and job.recipe.teachers.cache is None:  # cached teachers compute nothing
        for teacher in job.encoders.values():
            for block in _blocks(teacher):
                fully_shard(block, mesh=mesh)
    rates = student_rates(job.student, job.recipe.student)
    job.optimizer = build_optimizer(job.distiller, job.recipe.train, rates)
    for before, after in zip(_parameters(plain), _parameters(job.optimizer), strict=True):
        job.optimizer.state[after] = {key: _like(value, after) for key, value in plain.state.get(before, {}).items()}


def _like(value: Tensor, parameter: Tensor) -> Tensor:
    """An optimiser state in the shards of its parameter; the step count stays as it is."""
    if not isinstance(parameter, DTensor) or value.shape != parameter.shape:
        return value
    return distribute_tensor(value, parameter.device_mesh, parameter.placements)


def _parameters(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _blocks(encoder: Encoder) -> list[nn.Module]:
    """The repeated parts of an encoder: the elements of its longest list of modules."""
    lists = [m for m in encoder.modules() if isinstance(m, nn.ModuleList | nn.Sequential) and len(m) > 1]
    longest = max(lists, key=len, default=None)
    return [] if longest is None else list(longest)


def is_main_process() -> bool:
    """Whether this is the first process. Launchers say so even before the process group exists and after its end."""
    return int(os.environ.get("RANK", 0)) == 0


def is_relaunched() -> bool:
    """Whether torchrun has restarted this process after a failure: then a run resumes without `--resume`."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0)) > 0


@contextmanager
def ended(accelerator: Accelerator) -> Iterator[None]:
    """Closes the process group after the block, also after errors that all processes raise.

    After any other error the group stays open: closing it would wait for a lost process.
    """
    try:
        yield
    except (InputError, PreemptedError, AgreedError):
        _close(accelerator)
        raise
    _close(accelerator)


def _close(accelerator: Accelerator) -> None:
    if dist.is_initialized():
        accelerator.free_memory()  # DDP must not outlive its group
        dist.destroy_process_group()
        # The next run of this process makes a group of its own. accelerate has no public way to forget this one:
        # `end_training()` closes the group and keeps the state.
        if forget := getattr(AcceleratorState, "_reset_state", None):
            forget(reset_partial_state=True)
