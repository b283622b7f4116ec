"""Builds everything that a run needs from its recipe, and tries it on one batch before anything is written."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from unic.data.augment import preset
from unic.data.image_list import ImageList
from unic.data.loader import check_shares, steps_per_epoch
from unic.encoders import Encoder, build_encoder, has_fast_bf16, open_encoder, place
from unic.encoders._attention import choose_attention
from unic.encoders.base import Size
from unic.errors import InputError, nearest
from unic.losses import Dims, Weighted, build_losses
from unic.projectors import build_projectors
from unic.recipe.base import Component
from unic.recipe.schema import Recipe
from unic.standardizers import build_standardizer, standardizer_kind
from unic.standardizers._by_teacher import ByTeacher
from unic.tokens import Grid
from unic.training.anchor import Anchor
from unic.training.batch_norms import keep_statistics, keeps_statistics
from unic.training.cache_plan import check_budget
from unic.training.distiller import Distiller
from unic.training.job import Job
from unic.training.loss_states import LossStates
from unic.training.memory import out_of_memory_named
from unic.training.nested import check_widths
from unic.training.optimizer import build_optimizer
from unic.training.rates import student_rates
from unic.training.resolutions import resolutions, training_size
from unic.training.ridge import validation_sets
from unic.training.shift import Shift
from unic.training.step import batch_loss
from unic.training.trackers import check_trackers
from unic.training.untraced import untraced
from unic.weightings import Weighting, build_weighting


def build(recipe: Recipe, device: torch.device, world_size: int = 1) -> Job:
    """Builds and checks every part. Cheap mistakes fail first: names and options, then images, then models.

    Raises:
        InputError: the recipe asks for something that does not exist or does not fit together.
    """
    check_trackers(recipe.trackers)
    teachers = recipe.teachers
    _check_names(teachers.models)
    # For names and options; the teachers' widths are not known yet.
    tried = _build_losses(recipe, {name: teachers.widths(name, 64, 64) for name in teachers.models})
    weighting = build_weighting(recipe.weighting.type, len(teachers.models), recipe.seed, recipe.weighting.options)
    weighting.weigh([teacher.weight for teacher in teachers.models.values()])
    standardizer_kind(recipe.standardize.type)
    _check_combinations(recipe, weighting)
    if recipe.train.engine == "fsdp" and world_size > 1:
        _check_fsdp(device)
    _check_whole_batch(recipe, tried, world_size)
    owners = _owners(recipe, weighting)
    augmentation = preset(recipe.data.augment)
    images = _open_images(recipe, tried)
    epoch = steps_per_epoch(images, recipe.train.batch_size)
    check_shares(recipe.train.batch_size, world_size, recipe.train.micro_batches)

    precision = recipe.train.precision
    encoders = {name: open_encoder(uri, device=device, precision=precision) for name, uri in teachers.uris.items()}
    dims = {name: teachers.widths(name, each.embed_dim, each.patch_dim) for name, each in encoders.items()}
    standardizer = build_standardizer(recipe.standardize.type, dims, recipe.standardize.options).to(device)
    losses = _build_losses(recipe, dims, device)
    student, projectors, blocks = _build_networks(recipe, dims, device)
    size = training_size(recipe.student, student)
    grid = _grid_of(student, device, size)
    sizes = resolutions(recipe.data, student, encoders)
    distiller = Distiller(
        student, projectors, losses, blocks,
        seed=recipe.seed, bf16=precision == "bf16" or (precision == "auto" and has_fast_bf16(device)),
        patch_share=recipe.train.patch_share, size=size, as_is=recipe.data.sizes is not None,
        frozen=recipe.student.frozen, widths=recipe.student.widths,
        shift=Shift.of(_most_shift(losses), sizes.grids or {size or student.input_size: grid}, recipe.seed),
        measures_gradients=weighting.needs_gradients,
    ).to(device)  # fmt: skip
    weighting.prepare(student.block_dims[blocks[-1]][0])
    if keeps_statistics(recipe, world_size):
        keep_statistics(student)

    job = Job(
        recipe=recipe,
        device=device,
        images=images,
        augmentation=augmentation,
        encoders=encoders,
        grids={name: _grid_of(encoder, device) for name, encoder in encoders.items()},
        grid=grid,
        own_grid=_grid_of(student, device),
        distiller=distiller,
        standardizer=standardizer,
        weighting=weighting.to(device),
        loss_states=LossStates(losses),
        optimizer=build_optimizer(distiller, recipe.train, student_rates(student, recipe.student)),
        steps_per_epoch=epoch,
        total_steps=recipe.train.steps or math.ceil(recipe.train.epochs * epoch),
        resolutions=sizes,
        owners=owners,
        anchor=Anchor.of(recipe, distiller, images),
        world_size=world_size,
    )
    if teachers.cache:
        check_budget(teachers.cache, job.cache_bytes())
    with out_of_memory_named(job):
        _try_one_batch(job)
    return job


def _check_names(teachers: Iterable[str]) -> None:
    """Refuses teachers whose names are attributes of torch's container of modules, in which projectors are kept."""
    taken = ByTeacher({}, nn.Identity)
    for name in teachers:
        if hasattr(taken, name):
            raise InputError(
                f"recipe: 'teachers.models.{name}': PyTorch uses the name '{name}' itself; give the teacher another "
                f"name, for example '{name}_teacher'"
            )


def _check_combinations(recipe: Recipe, weighting: Weighting) -> None:
    """Refuses options that are valid alone but not together."""
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


def _check_fsdp(device: torch.device) -> None:
    """Refuses FSDP2 on CPUs where torch does not have it: 2.6 fails in the first step."""
    if device.type == "cpu" and not hasattr(torch.cpu.Stream, "record_event"):
        raise InputError(
            f"recipe: 'train.engine: fsdp' on CPUs does not work with torch {torch.__version__}; install a newer one, "
            "or set train.engine=ddp"
        )


def _build_losses(
    recipe: Recipe, dims: Mapping[str, Dims], device: torch.device | None = None
) -> dict[str, dict[str, Weighted]]:
    """The losses to each teacher: its own, or those of the recipe."""
    found = {}
    for name, widths in dims.items():
        key, settings = recipe.losses_to(name)
        found[name] = build_losses(settings, widths, device, key=key)
    return found


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


def _open_images(recipe: Recipe, losses: Mapping[str, Mapping[str, Weighted]]) -> ImageList:
    images = ImageList.from_config(recipe.data.train, recipe.data.max_pixels, recipe.data.holdout)
    if recipe.data.mix and images.in_pieces:
        raise InputError("recipe: 'data.mix' does not support streamed sources: it reads images in any order")
    if recipe.train.interpolate == "auto":
        validation_sets(images, recipe, losses)  # checks that there are enough images
    return images


def _owners(recipe: Recipe, weighting: Weighting) -> Bool[Tensor, "t s"] | None:
    """`data.train[s].teachers` as a table; None if no source names teachers.

    Raises:
        InputError: a name that is no teacher's, or a weighting that does not support it.
    """
    names, sources = list(recipe.teachers.models), recipe.data.train
    if all(source.teachers is None for source in sources):
        return None
    for index, source in enumerate(sources):
        for name in source.teachers or ():
            if name not in names:
                raise InputError(f"recipe: 'data.train.{index}.teachers': no teacher '{name}'{nearest(name, names)}")
    if not weighting.knows_owners:
        raise InputError(
            f"recipe: weighting {_described(recipe.weighting)} does not support 'data.train.teachers'; leave it out"
        )
    return torch.tensor([[source.teachers is None or name in source.teachers for source in sources] for name in names])


def _described(weighting: Component) -> str:
    """The type of a weighting, and its options if there are any: `'teacher_dropping' (level: batch)`."""
    options = ", ".join(f"{name}: {value}" for name, value in weighting.options.items())
    return f"'{weighting.type}'" + (f" ({options})" if options else "")


def _build_networks(
    recipe: Recipe, dims: Mapping[str, Dims], device: torch.device
) -> tuple[Encoder, dict[str, nn.Module], list[int]]:
    """The student, a projector for each teacher, and the blocks of the student that the projectors read."""
    # Libraries draw initial weights from the global generator: a seed makes them equal on every rank and at a resume.
    torch.manual_seed(recipe.seed)
    student = build_encoder(recipe.student.model, drop_path=recipe.student.drop_path)
    if not student.block_dims:
        raise InputError(f"student '{recipe.student.model}': cannot be trained; expected a timm model")
    place(student, device, recipe.train.precision)
    if recipe.train.checkpoint_activations:
        student.checkpoint_activations()
    check_widths(recipe.student.widths, student)
    blocks, projectors = build_projectors(recipe.projector, student.block_dims, student.embed_dim, dims)
    if recipe.student.frozen and not any(True for projector in projectors.values() for _ in projector.parameters()):
        raise InputError(
            f"recipe: 'student.frozen' leaves nothing to train; projector '{recipe.projector.type}' has no parameters"
        )
    choose_attention(student, device, recipe.data.size if recipe.data.sizes else None, projectors.values())
    return student, projectors, blocks


def _most_shift(losses: Mapping[str, Mapping[str, Weighted]]) -> int:
    """The largest shift that a loss asks for."""
    return max(loss.shift for own in losses.values() for _, loss in own.values())


@torch.no_grad()
def _grid_of(encoder: Encoder, device: torch.device, size: Size | None = None) -> Grid:
    """The patch grid of an encoder for images of `size`; default: its own input size."""
    was_training = encoder.training
    encoder.eval()
    grid = encoder(torch.full((1, 3, *encoder.input_size), 0.5, device=device), size).grid
    encoder.train(was_training)
    return grid


def _try_one_batch(job: Job) -> None:
    """Runs one forward and backward pass: parts that do not fit together fail here."""
    # On a GPU the true size also shows whether the memory suffices.
    batch = job.first_batch(min(job.images_at_a_time, 8) if job.device.type == "cpu" else job.images_at_a_time)
    with untraced(job):
        batch_loss(job, job.live_teachers(), batch, step=1).numerator.backward()
        _check_reached(job)


def _check_reached(job: Job) -> None:
    """Refuses several processes that would wait for gradients of layers after pooling, which patches do not give."""
    if job.world_size == 1 or job.recipe.teachers.matched_by_cls():
        return
    for name, parameter in job.student.named_parameters():
        if parameter.requires_grad and parameter.grad is None:
            raise InputError(
                f"recipe: no teacher is matched by CLS, so nothing trains the student's {name}, and several processes "
                "would wait for its gradient; match a teacher by CLS, or train in one process"
            )
