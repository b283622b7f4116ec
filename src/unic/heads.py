"""Kept heads: a student with its projector for one teacher, whose outputs are in the space of that teacher.

ŷ = z · (σ + 1e-6) + μ, with z the projector's output and μ, σ the statistics that standardised the teacher's tokens.
UNIC (arXiv 2408.05088) drops its projectors after training. If they are kept, a teacher's text tower can be used with
the student, as in AM-RADIO (arXiv 2312.06709), and the student can be compared with each teacher.
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
    """A function for each teacher of a run that loads its head; functions can be sent to another process.

    Args:
        run: a run folder.

    Returns:
        The functions by teacher; empty for a run without a checkpoint.

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
        device: device of the head; default: the GPU if there is one.

    Raises:
        InputError: not a run folder, no such teacher in it, or no complete checkpoint.
        UntrustedError: the recipe names a student or a projector whose code is not trusted.
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
    what = f"run {run}: the checkpoint does not fit the projector of its recipe"
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
    """A student with its projector for a teacher; `cls` and `patches` have the teacher's widths.

    Args:
        student: the student as it was trained.
        projector: the projector for the teacher.
        blocks: indices of the student's blocks that the projector reads.
        dims: widths of the teacher's CLS and patches.
        restoring: module that undoes the standardisation, if the projector's own layers do not.

    Attributes:
        standards: mean and scale `(D,)` each, for "cls" and "patch", by which training standardised the teacher; empty
            if it did not.
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
    """Undoes the standardisation in the weights of the projector's last layers, so that it costs no time later.

    z = Σ_l (W_l h_l + b_l) becomes Σ_l ((s·W_l) h_l + s·b_l) + μ, where s is the scale that standardisation divided by.

    Returns:
        False if the projector names no such layers.
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
    """The teacher's widths, from its statistics if there are any, so that a head can be used without the teacher."""
    if statistics:
        return len(statistics["cls.mean"]), len(statistics["patch.mean"])
    encoder = build_encoder(without_weights(recipe.teachers.models[teacher]))
    return encoder.embed_dim, encoder.patch_dim
