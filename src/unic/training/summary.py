"""Plain lines about what was built for a run: models, projectors, images, steps, device, warnings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from unic.quantities import gigabytes
from unic.recipe.schema import Recipe
from unic.training.advice import advice
from unic.training.batch_norms import SINGLE_IMAGES, batch_norms, sees_single_images
from unic.training.job import Job
from unic.training.resolutions import enlargement


def summary(job: Job, before: Sequence[Recipe] = ()) -> list[str]:
    """Describes what was built for a run, or for the stage that follows the stages `before`."""
    options = job.recipe.teachers.options
    lines = [
        f"teacher {name}: {encoder.uri} ({encoder.num_parameters() / 1e6:.1f} M, input {_size(encoder.input_size)}, "
        f"{encoder.embed_dim}/{encoder.patch_dim}-d, grid {_size(job.grids[name])}, {encoder.precision}"
        f"{'' if encoder.has_cls else ', no CLS: pooled'}{''.join(f', {word}' for word in options(name))})"
        for name, encoder in job.encoders.items()
    ]
    student, projectors = job.student, job.distiller.projectors
    ladder = sum(parameter.numel() for parameter in projectors.parameters())
    lines.append(
        f"student: {student.uri} ({student.num_parameters() / 1e6:.1f} M, input {_size(student.input_size)}, "
        f"{student.embed_dim}/{student.patch_dim}-d, grid {_size(job.own_grid)}, {student.precision})"
    )
    if size := job.distiller.size:
        lines.append(f"student: input {_size(size)} in training, grid {_size(job.grid)}")
    if sees_single_images(job.recipe.train, job.world_size) and batch_norms(student):
        lines.append(f"student: {SINGLE_IMAGES}")
    times = f"{ladder / 1e6:.1f} M, {ladder / student.num_parameters():.1f} x the student"
    reads_last = all(getattr(projector, "reads_last", False) for projector in projectors.values())
    blocks = job.distiller.blocks[-1:] if reads_last else job.distiller.blocks
    lines.append(f"projectors: {job.recipe.projector.type} on blocks {blocks} ({times})")
    lines.append(
        f"images: {len(job.images)}; {job.total_steps} steps of {job.recipe.train.batch_size} "
        f"({job.steps_per_epoch} an epoch, {job.total_steps / job.steps_per_epoch:.3g} epochs)"
    )
    lines.append(f"device: {_device(job)}")
    if job.recipe.data.sizes:
        lines.append(f"sizes: {job.resolutions.describe()}")
    else:
        lines += _enlargements(job)
    lines += [f"warning: {section}: {text}" for section, text in advice(job, before)]
    if job.recipe.teachers.cache:
        lines.append(f"teacher cache: {gigabytes(job.cache_bytes(), 2)}, {job.recipe.teachers.cache.views} view(s)")
    return lines


def _enlargements(job: Job) -> Iterator[str]:
    teachers = {f"teacher {name}": encoder for name, encoder in job.encoders.items()}
    for name, encoder in {"student": job.student, **teachers}.items():
        text = enlargement(job.recipe.data.size, encoder.input_size, is_student=encoder is job.student)
        if text:
            yield f"warning: {name}: {text}"


def _device(job: Job) -> str:
    threads = torch.get_num_threads()
    cpu = f"cpu, {threads} thread{'s' if threads > 1 else ''}"
    name = cpu if job.device.type == "cpu" else torch.cuda.get_device_name(job.device)
    return f"{name}, in {job.world_size} processes" if job.world_size > 1 else name


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
