"""Refuses a recipe whose options or parts are valid alone but do not fit together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import nn

from unic.errors import InputError, nearest
from unic.losses import Weighted
from unic.recipe.base import Component
from unic.recipe.schema import Recipe
from unic.standardizers._by_teacher import ByTeacher
from unic.training.job import Job
from unic.weightings import Weighting


def check_together(
    recipe: Recipe,
    weighting: Weighting,
    losses: Mapping[str, Mapping[str, Weighted]],
    device: torch.device,
    world_size: int,
) -> None:
    """Refuses what can be refused before images and models are opened.

    Args:
        recipe: of a stage.
        weighting: the recipe's.
        losses: to each teacher, by name.
        device: device of the training.
        world_size: number of processes that share each batch.
    """
    _check_weighting(recipe, weighting)
    _check_engine(recipe, device, world_size)
    _check_whole_batch(recipe, losses, world_size)
    _check_owners(recipe, weighting)


def check_names(teachers: Iterable[str]) -> None:
    """Refuses teachers whose names are attributes of torch's container of modules, in which projectors are kept."""
    taken = ByTeacher({}, nn.Identity)
    for name in teachers:
        if hasattr(taken, name):
            raise InputError(
                f"recipe: 'teachers.models.{name}': PyTorch uses the name '{name}' itself; give the teacher another "
                f"name, for example '{name}_teacher'"
            )


def check_reached(job: Job) -> None:
    """Refuses several processes that would wait for gradients of layers after pooling, which patches do not give."""
    if job.world_size == 1 or job.recipe.teachers.matched_by_cls():
        return
    for name, parameter in job.student.named_parameters():
        if parameter.requires_grad and parameter.grad is None:
            raise InputError(
                f"recipe: no teacher is matched by CLS, so nothing trains the student's {name}, and several processes "
                "would wait for its gradient; match a teacher by CLS, or train in one process"
            )


def _check_weighting(recipe: Recipe, weighting: Weighting) -> None:
    """Refuses options of the training that the weighting does not support."""
    train = recipe.train
    if weighting.needs_whole_batch and train.micro_batches > 1:
        raise InputError(
            f"recipe: weighting {_described(recipe.weighting)} needs the whole batch at once; set train.micro_batches=1"
        )
    if weighting.needs_gradients and train.compile:
        raise InputError(
            f"recipe: weighting {_described(recipe.weighting)} measures gradients, which train.compile does not "
            "support; set train.compile=false"
        )


def _check_engine(recipe: Recipe, device: torch.device, world_size: int) -> None:
    """Refuses what FSDP2 cannot do, and what needs it."""
    train = recipe.train
    if train.engine == "fsdp" and train.gradients == "bf16" and train.micro_batches > 1:
        # FSDP2 would add up micro-batches in bf16 too, and lose small contributions.
        raise InputError(
            "recipe: 'train.gradients: bf16' with train.engine=fsdp needs train.micro_batches=1; or set "
            "train.engine=ddp or train.gradients=fp32"
        )
    if recipe.teachers.shard and train.engine != "fsdp":
        raise InputError("recipe: 'teachers.shard' needs train.engine=fsdp")
    if recipe.teachers.shard and train.interpolate == "auto":
        raise InputError("recipe: 'train.interpolate: auto' needs whole teachers; leave out teachers.shard")
    is_able = device.type != "cpu" or hasattr(torch.cpu.Stream, "record_event")  # torch 2.6 fails in the first step
    if train.engine == "fsdp" and world_size > 1 and not is_able:
        raise InputError(
            f"recipe: 'train.engine: fsdp' on CPUs does not work with torch {torch.__version__}; install a newer one, "
            "or set train.engine=ddp"
        )


def _check_whole_batch(recipe: Recipe, losses: Mapping[str, Mapping[str, Weighted]], world_size: int) -> None:
    """Refuses losses that compare images of a batch with each other, where it is cut into unequal or smaller parts."""
    for name, (_, loss) in (pair for own in losses.values() for pair in own.items()):
        if not loss.needs_whole_batch:
            continue
        if recipe.train.micro_batches > 1:
            raise InputError(f"recipe: loss '{name}' needs the whole batch at once; set train.micro_batches=1")
        if recipe.train.batch_size % world_size:
            raise InputError(
                f"recipe: loss '{name}' needs equally many images in each of {world_size} processes; set "
                f"train.batch_size to a multiple of {world_size} (got {recipe.train.batch_size})"
            )


def _check_owners(recipe: Recipe, weighting: Weighting) -> None:
    """Refuses `data.train[s].teachers` with a name that is no teacher's, or a weighting that does not support it."""
    names, sources = list(recipe.teachers.models), recipe.data.train
    if all(source.teachers is None for source in sources):
        return
    for index, source in enumerate(sources):
        for name in source.teachers or ():
            if name not in names:
                raise InputError(f"recipe: 'data.train.{index}.teachers': no teacher '{name}'{nearest(name, names)}")
    if not weighting.knows_owners:
        raise InputError(
            f"recipe: weighting {_described(recipe.weighting)} does not support 'data.train.teachers'; leave it out"
        )


def _described(weighting: Component) -> str:
    """The type of a weighting, and its options if there are any: `'teacher_dropping' (level: batch)`."""
    options = ", ".join(f"{name}: {value}" for name, value in weighting.options.items())
    return f"'{weighting.type}'" + (f" ({options})" if options else "")
