"""Builds everything that a run needs from its recipe, and tries it on one batch before anything is written."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from unic.data.augment import preset
from unic.data.image_list import ImageList
from unic.data.loader import check_shares, steps_per_epoch
from unic.encoders import Encoder, build_encoder, has_fast_bf16, open_encoder, place
from unic.encoders._attention import choose_attention
from unic.encoders.base import Size
from unic.errors import InputError
from unic.kinds import Widths
from unic.losses import Weighted, build_losses
from unic.projectors import build_projectors
from unic.recipe.schema import Recipe
from unic.standardizers import build_standardizer, standardizer_kind
from unic.tokens import Grid
from unic.training.anchor import Anchor
from unic.training.batch_norms import keep_statistics, keeps_statistics
from unic.training.cache_plan import check_budget
from unic.training.compatible import check_names, check_reached, check_together
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
from unic.weightings import build_weighting


def build(recipe: Recipe, device: torch.device, world_size: int = 1) -> Job:
    """Builds and checks every part. Cheap mistakes fail first: names and options, then images, then models.

    Raises:
        InputError: the recipe asks for something that does not exist or does not fit together.
    """
    check_trackers(recipe.trackers)
    teachers = recipe.teachers
    check_names(teachers.models)
    # For names and options; the teachers' widths are not known yet.
    tried = _build_losses(recipe, {name: teachers.widths(name, 64, 64) for name in teachers.models})
    weighting = build_weighting(recipe.weighting.type, len(teachers.models), recipe.seed, recipe.weighting.options)
    weighting.weigh([teacher.weight for teacher in teachers.models.values()])
    standardizer_kind(recipe.standardize.type)
    check_together(recipe, weighting, tried, device, world_size)
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
        owners=_owners(recipe),
        anchor=Anchor.of(recipe, distiller, images),
        world_size=world_size,
    )
    if teachers.cache:
        check_budget(teachers.cache, job.cache_bytes())
    with out_of_memory_named(job):
        _try_one_batch(job)
    return job


def _build_losses(
    recipe: Recipe, dims: Mapping[str, Widths], device: torch.device | None = None
) -> dict[str, dict[str, Weighted]]:
    """The losses to each teacher: its own, or those of the recipe."""
    found = {}
    for name, widths in dims.items():
        key, settings = recipe.losses_to(name)
        found[name] = build_losses(settings, widths, device, key=key)
    return found


def _open_images(recipe: Recipe, losses: Mapping[str, Mapping[str, Weighted]]) -> ImageList:
    images = ImageList.from_config(recipe.data.train, recipe.data.max_pixels, recipe.data.holdout)
    if recipe.data.mix and images.in_pieces:
        raise InputError("recipe: 'data.mix' does not support streamed sources: it reads images in any order")
    if recipe.train.interpolate == "auto":
        validation_sets(images, recipe, losses)  # checks that there are enough images
    return images


def _owners(recipe: Recipe) -> Bool[Tensor, "t s"] | None:
    """`data.train[s].teachers` as a table; None if no source names teachers."""
    names, sources = recipe.teachers.models, recipe.data.train
    if all(source.teachers is None for source in sources):
        return None
    return torch.tensor([[source.teachers is None or name in source.teachers for source in sources] for name in names])


def _build_networks(
    recipe: Recipe, dims: Mapping[str, Widths], device: torch.device
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
        check_reached(job)
