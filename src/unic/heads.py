"""Kept heads: a student with the projector it was trained with for one teacher, in that teacher's own space.

ŷ = z · (σ + 1e-6) + μ, with z the projector's output and μ, σ the statistics that standardised the teacher's tokens.
UNIC (arXiv 2408.05088) drops its projectors after training. Kept, they let a teacher's text tower read the student, as
in AM-RADIO (arXiv 2312.06709), and show how well it imitates each teacher.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from unic.device import default_device
from unic.encoders import build_encoder, place, without_weights
from unic.encoders._weights import load_all
from unic.encoders.base import Encoder
from unic.encoders.timm_encoder import TimmEncoder
from unic.errors import InputError, nearest
from unic.projectors import build_projector, choose_blocks
from unic.recipe.schema import Recipe, load_run_recipe
from unic.runs.folder import RunFolder
from unic.tokens import Tokens
from unic.training.standardize import scale_of
from unic.training.trained import load_trained


def heads_of(run: Path) -> dict[str, Callable[[], Encoder]]:
    """By teacher, what loads the head of a run; can be sent to another process. Empty without a checkpoint.

    Raises:
        InputError: the run's recipe cannot be read.
    """
    recipe = load_run_recipe(run)
    if not any(RunFolder(run).checkpoints.glob("step-*")):
        return {}
    return {teacher: partial(kept_head, run, teacher) for teacher in recipe.teachers.models}


def kept_head(run: Path, teacher: str, device: str | torch.device | None = None) -> Encoder:
    """The head of one teacher from a run's newest checkpoint, frozen.

    Args:
        run: a run folder.
        teacher: its name in the recipe.
        device: default: the GPU if there is one.

    Raises:
        InputError: not a run folder, no such teacher in it, or no whole checkpoint.
        UntrustedError: the run names a projector, or a student, that is code and not trusted.
    """
    trained = load_trained(run)
    recipe = trained.recipe
    if teacher not in recipe.teachers.models:
        raise InputError(f"run {run}: no teacher '{teacher}'{nearest(teacher, recipe.teachers.models)}")
    student = trained.student(as_trained=True)
    statistics = trained.part(f"standardizer.teachers.{teacher}.")
    dims = _dims(recipe, teacher, statistics)
    options = recipe.projector.options
    blocks = choose_blocks(options.pop("blocks", "all"), len(student.block_dims))
    rung_dims = [student.block_dims[block] for block in blocks]
    projector = build_projector(recipe.projector.type, rung_dims, dims, student.embed_dim, options)
    what = f"run {run}: the projector of its recipe and its checkpoint do not fit each other"
    load_all(projector, trained.part(f"distiller.projectors.{teacher}."), what)

    floor = recipe.standardize.options.get("floor", 0.0)
    standards = {
        kind: (statistics[f"{kind}.mean"], scale_of(statistics[f"{kind}.std"], floor))
        for kind in ("cls", "patch")
        if statistics
    }
    is_folded = not standards or _fold(projector, standards)
    head = KeptHead(student, projector, blocks, dims, None if is_folded else Restoring(standards))
    head.standards = {kind: (mean.numpy(), scale.numpy()) for kind, (mean, scale) in standards.items()}
    head.uri = f"run:{run}#{teacher}"
    device = torch.device(device or default_device())
    return place(head, device).freeze()


class KeptHead(Encoder):
    """A student that answers in the space of a teacher; `cls` and `patches` have that teacher's widths.

    Args:
        student: as it was trained.
        projector: of that teacher.
        blocks: of the student, that the projector reads.
        dims: the teacher's widths.
        restoring: what undoes the standardisation, if the projector does not.

    Attributes:
        standards: mean and scale of "cls" and "patch" by which training standardised the teacher, each `(D,)`; empty
            where it did not.
    """

    standards: dict[str, tuple[np.ndarray, np.ndarray]]

    def __init__(
        self,
        student: TimmEncoder,
        projector: nn.Module,
        blocks: Sequence[int],
        dims: tuple[int, int],
        restoring: Restoring | None = None,
    ) -> None:
        super().__init__(student.mean.flatten().tolist(), student.std.flatten().tolist())
        self.student, self.projector, self.restoring, self.blocks = student, projector, restoring, list(blocks)
        self.embed_dim, self.patch_dim = dims
        self.standards = {}
        self.input_size, self.has_cls = student.input_size, student.has_cls
        self.architecture, self.channels_last = student.architecture, student.channels_last

    def encode(self, x: Float[Tensor, "b 3 h w"]) -> Tokens:
        tokens: Tokens = self.projector(self.student.encode_blocks(x, self.blocks))
        return (self.restoring(tokens) if self.restoring else tokens).float()

    def describe(self) -> str:
        kind = type(self.projector)
        read = [self.student.norm_last, self.blocks, f"{kind.__module__}.{kind.__qualname__}"]
        read += filter(None, [self.projector.extra_repr()])  # options that no weight tells of
        return f"{self.student.describe()} {json.dumps(read)}"


class Restoring(nn.Module):
    """z · s + μ of every token, for projectors whose own layers cannot contain it."""

    cls_mean: Tensor
    cls_scale: Tensor
    patch_mean: Tensor
    patch_scale: Tensor

    def __init__(self, standards: dict[str, tuple[Tensor, Tensor]]) -> None:
        super().__init__()
        for kind, (mean, scale) in standards.items():
            self.register_buffer(f"{kind}_mean", mean)
            self.register_buffer(f"{kind}_scale", scale)

    def forward(self, tokens: Tokens) -> Tokens:
        cls = tokens.cls * self.cls_scale + self.cls_mean
        return Tokens(cls, tokens.patches * self.patch_scale + self.patch_mean, tokens.grid)


@torch.no_grad()
def _fold(projector: nn.Module, standards: dict[str, tuple[Tensor, Tensor]]) -> bool:
    """Undoes the standardisation inside the projector's last layers, which costs nothing at run time.

    Σ_l (W_l h_l + b_l) = z becomes Σ_l (s·W_l) h_l + s·b_l, plus μ once, with s what standardisation divided by.

    Returns:
        False where the projector names no such layers.
    """
    layers_of: Any = getattr(projector, "output_layers", dict)
    found = layers_of()
    for token, layers in found.items():
        mean, scale = standards[token]
        for layer in layers:
            layer.weight.mul_(scale[:, None])
            layer.bias.mul_(scale)
        layers[-1].bias.add_(mean)
    return bool(found)


def _dims(recipe: Recipe, teacher: str, statistics: dict[str, Tensor]) -> tuple[int, int]:
    """The teacher's widths, from its statistics: a head is usable where the teacher is not."""
    if statistics:
        return len(statistics["cls.mean"]), len(statistics["patch.mean"])
    encoder = build_encoder(without_weights(recipe.teachers.models[teacher]))
    return encoder.embed_dim, encoder.patch_dim
