"""Kept heads: a student with its projector for one teacher, whose outputs are in the space of that teacher.

ŷ = A·z + μ, with z the projector's output, and A, μ the inverse of what standardised the teacher's tokens. With the
standardiser `ema`, A is the diagonal of σ + 1e-6.
UNIC (arXiv 2408.05088) drops its projectors after training. If they are kept, a teacher's text tower can be used with
the student, as in AM-RADIO (arXiv 2312.06709), and the student can be compared with each teacher.
The head of a teacher that is matched by patches alone, because its losses compare nothing else, has their mean as its
CLS, as an encoder without a CLS token has. That of a teacher that is matched by CLS alone has no patches.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from unic.device import default_device
from unic.encoders import build_encoder, place, without_weights
from unic.encoders._exported_head import load_exported_head
from unic.encoders._weights import load_all
from unic.encoders.base import Encoder, Size
from unic.encoders.timm_encoder import TimmEncoder
from unic.errors import InputError, nearest
from unic.kinds import KINDS, Kind, Widths
from unic.lookup import is_dotted
from unic.losses import build_losses, matched_by
from unic.projectors import build_projectors
from unic.recipe.schema import Recipe, load_run_recipe
from unic.recipe.teachers import Matched
from unic.runs.export_folder import ExportFolder
from unic.runs.folder import RunFolder
from unic.runs.state import DISTILLER, STANDARDIZER
from unic.standardizers import Inverse, build_standardizer, standardizer_kind
from unic.tokens import Grid, Tokens, tokens_of
from unic.training.teachers import only
from unic.training.trained import load_trained


def heads_of(run: Path) -> dict[str, Callable[[], Encoder]]:
    """A function for each teacher of a run that loads its head; functions can be sent to another process.

    Args:
        run: a run folder.

    Returns:
        The functions by teacher; empty for a run without a checkpoint, or with a standardiser that has no inverse.

    Raises:
        InputError: the run's recipe cannot be read.
    """
    recipe = load_run_recipe(run)
    if not any(RunFolder(run).checkpoints.glob("step-*")):
        return {}
    name = recipe.standardize.type
    # A standardiser of somebody else's is asked when a head is loaded: only then must its code be trusted.
    if not is_dotted(name) and not standardizer_kind(name).is_invertible:
        return {}
    return {teacher: partial(kept_head, run, teacher) for teacher in recipe.teachers.models}


def exported_heads(export: Path) -> dict[str, Callable[[], Encoder]]:
    """A function for each head among the files of an export (`unic export --heads T --format onnx`) that loads it.

    Args:
        export: a folder that `unic export` has written.

    Returns:
        The functions by teacher; empty without ONNX graphs of heads.
    """
    return {teacher: partial(load_exported_head, file) for teacher, file in ExportFolder(export).head_graphs().items()}


def kept_head(run: Path, teacher: str, device: str | torch.device | None = None) -> Encoder:
    """The head of one teacher from a run's newest checkpoint, frozen.

    Args:
        run: a run folder.
        teacher: its name in the recipe.
        device: device of the head; default: the GPU if there is one.

    Raises:
        InputError: not a run folder, no such teacher in it, no complete checkpoint, or a standardiser that has no
            inverse.
        UntrustedError: the recipe names a student, a projector or a standardiser whose code is not trusted.
    """
    trained = load_trained(run)
    recipe = trained.recipe
    if teacher not in recipe.teachers.models:
        raise InputError(f"run {run}: no teacher '{teacher}'{nearest(teacher, recipe.teachers.models)}")
    if not standardizer_kind(recipe.standardize.type).is_invertible:
        raise InputError(f"run {run}: standardizer '{recipe.standardize.type}' has no inverse, so there are no heads")
    student = trained.student(as_trained=True)
    statistics = trained.part(f"{STANDARDIZER}.")
    dims = _dims(recipe, teacher, statistics)
    blocks, projectors = build_projectors(recipe.projector, student.block_dims, student.embed_dim, {teacher: dims})
    projector = projectors[teacher]
    what = f"run {run}: the checkpoint does not fit the projector of its recipe"
    load_all(projector, trained.part(f"{DISTILLER}.projectors.{teacher}."), what)

    inverses = _inverses(recipe, teacher, dims, statistics) if statistics else {}
    is_folded = not inverses or _fold(projector, inverses)
    head = KeptHead(
        student, projector, blocks, dims, _matched(recipe, teacher, dims), None if is_folded else Restoring(inverses)
    )
    head.standards = {kind: (found.shift.numpy(), found.scale.numpy()) for kind, found in inverses.items()}
    head.uri = f"run:{run}#{teacher}"
    device = torch.device(device or default_device())
    return place(head, device).freeze()


class KeptHead(Encoder):
    """A student with its projector for a teacher; `cls` and `patches` have the teacher's widths.

    Args:
        student: the student as it was trained.
        projector: the projector for the teacher.
        blocks: indices of the student's blocks that the projector reads.
        dims: widths of the teacher's CLS and patches; 0 for what the projector does not give.
        matched: tokens of the teacher that its losses compare.
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
        dims: Widths,
        matched: Matched = "both",
        restoring: Restoring | None = None,
    ) -> None:
        super().__init__(student.mean.flatten().tolist(), student.std.flatten().tolist())
        self.matched = matched
        self.student, self.projector, self.restoring, self.blocks = student, projector, restoring, list(blocks)
        cls, patches = dims
        self.embed_dim, self.patch_dim = patches if matched == "patches" else cls, 0 if matched == "cls" else patches
        self.is_narrowed = bool(cls and patches) and matched != "both"
        self.standards = {}
        self.input_size, self.has_cls = student.input_size, student.has_cls and matched != "patches"
        self.architecture, self.channels_last = student.architecture, student.channels_last

    def grid_at(self, size: Size) -> Grid | None:
        return self.student.grid_at(size)

    def encode(self, x: Float[Tensor, "b 3 h w"]) -> Tokens:
        tokens: Tokens = self.projector(self.student.encode_blocks(x, self.blocks))
        tokens = (self.restoring(tokens) if self.restoring else tokens).float()
        if self.matched == "patches":
            return Tokens(tokens.patch_mean(), tokens.patches, tokens.grid)
        return only(tokens, self.matched)

    def describe(self) -> str:
        kind = type(self.projector)
        read = [self.student.norm_last, self.blocks, f"{kind.__module__}.{kind.__qualname__}"]
        read += filter(None, [self.projector.extra_repr()])  # options that no weight tells of
        read += [self.matched] if self.is_narrowed else []
        return f"{self.student.describe()} {json.dumps(read)}"


class Restoring(nn.Module):
    """A·z + μ of every token, for projectors whose own layers cannot contain it."""

    def __init__(self, inverses: Mapping[Kind, Inverse]) -> None:
        super().__init__()
        self.kinds = list(inverses)
        for kind, inverse in inverses.items():
            self.register_buffer(f"{kind}_matrix", inverse.matrix)
            self.register_buffer(f"{kind}_shift", inverse.shift)

    def forward(self, tokens: Tokens) -> Tokens:
        both = {"cls": tokens.cls, "patch": tokens.patches}
        found = {kind: _times(both[kind], *self._of(kind)) for kind in self.kinds}
        return tokens_of(found.get("cls"), found.get("patch"), tokens.grid)

    def _of(self, kind: Kind) -> tuple[Tensor, Tensor]:
        return self.get_buffer(f"{kind}_matrix"), self.get_buffer(f"{kind}_shift")


def _times(x: Float[Tensor, "*n d"], matrix: Tensor, shift: Tensor) -> Float[Tensor, "*n d"]:
    """A·x + μ of each vector, with A whole or its diagonal."""
    return (x @ matrix.T if matrix.ndim == 2 else x * matrix) + shift


def _inverses(recipe: Recipe, teacher: str, dims: Widths, statistics: dict[str, Tensor]) -> dict[Kind, Inverse]:
    """Functions that turn targets into the teacher's tokens again, for the tokens that it is matched by."""
    setting = recipe.standardize
    standardizer = build_standardizer(setting.type, {teacher: dims}, setting.options)
    own = standardizer.state_dict().keys() & statistics.keys()
    standardizer.load_state_dict({name: statistics[name] for name in own})
    return {kind: standardizer.inverse(teacher, kind) for kind, dim in zip(KINDS, dims, strict=True) if dim}


@torch.no_grad()
def _fold(projector: nn.Module, inverses: Mapping[Kind, Inverse]) -> bool:
    """Undoes the standardisation in the weights of the projector's last layers, so that it costs no time later.

    z = Σ_l (W_l h_l + b_l) becomes Σ_l ((A·W_l) h_l + A·b_l) + μ.

    Returns:
        False if the projector names no such layers.
    """
    layers_of: Any = getattr(projector, "output_layers", dict)
    found = layers_of()
    for token, layers in found.items():
        matrix, shift = inverses[token].matrix, inverses[token].shift
        for layer in layers:
            for values in (layer.weight, layer.bias):
                values.copy_(torch.einsum("de,e...->d..." if matrix.ndim == 2 else "d,d...->d...", matrix, values))
        layers[-1].bias.add_(shift)
    return bool(found)


def _matched(recipe: Recipe, teacher: str, dims: Widths) -> Matched:
    """The tokens of the teacher that its losses compare."""
    key, settings = recipe.losses_to(teacher)
    # A loss of one's own is taken to compare them all: for a head its code need not be trusted.
    if any(is_dotted(name) for name in settings):
        return recipe.teachers.matched(teacher)
    return matched_by(build_losses(settings, dims, key=key))


def _dims(recipe: Recipe, teacher: str, statistics: dict[str, Tensor]) -> Widths:
    """The teacher's widths, from its statistics if these tell, so that a head can be used without the teacher."""
    told = standardizer_kind(recipe.standardize.type).widths_in(statistics, teacher)
    if told:
        return told
    encoder = build_encoder(without_weights(recipe.teachers.uris[teacher]))
    return recipe.teachers.widths(teacher, encoder.embed_dim, encoder.patch_dim)
