"""Kept heads: a student with the projector it was trained with for one teacher, in that teacher's own space.

ŷ = A·z + μ, with z the projector's output, and A, μ the inverse of what standardised the teacher's tokens: with the
standardiser `ema` A is the diagonal of σ + 1e-6.
UNIC (arXiv 2408.05088) drops its projectors after training. Kept, they let a teacher's text tower read the student, as
in AM-RADIO (arXiv 2312.06709), and show how well it imitates each teacher.
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
from unic.encoders._weights import load_all
from unic.encoders.base import Encoder
from unic.encoders.timm_encoder import TimmEncoder
from unic.errors import InputError, nearest
from unic.lookup import is_dotted
from unic.projectors import build_projector, choose_blocks
from unic.recipe.schema import Recipe, load_run_recipe
from unic.runs.folder import RunFolder
from unic.standardizers import KINDS, Inverse, Kind, build_standardizer, standardizer_kind
from unic.tokens import Tokens
from unic.training.trained import load_trained


def heads_of(run: Path) -> dict[str, Callable[[], Encoder]]:
    """By teacher, what loads the head of a run; can be sent to another process.

    Empty without a checkpoint, and where the standardiser has no inverse.

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


def kept_head(run: Path, teacher: str, device: str | torch.device | None = None) -> Encoder:
    """The head of one teacher from a run's newest checkpoint, frozen.

    Args:
        run: a run folder.
        teacher: its name in the recipe.
        device: default: the GPU if there is one.

    Raises:
        InputError: not a run folder, no such teacher in it, no whole checkpoint, or a standardiser without an inverse.
        UntrustedError: the run names a projector, a standardiser or a student that is code and not trusted.
    """
    trained = load_trained(run)
    recipe = trained.recipe
    if teacher not in recipe.teachers.models:
        raise InputError(f"run {run}: no teacher '{teacher}'{nearest(teacher, recipe.teachers.models)}")
    if not standardizer_kind(recipe.standardize.type).is_invertible:
        raise InputError(f"run {run}: standardizer '{recipe.standardize.type}' has no inverse, so there are no heads")
    student = trained.student(as_trained=True)
    statistics = trained.part("standardizer.")
    dims = _dims(recipe, teacher, statistics)
    options = recipe.projector.options
    blocks = choose_blocks(options.pop("blocks", "all"), len(student.block_dims))
    rung_dims = [student.block_dims[block] for block in blocks]
    projector = build_projector(recipe.projector.type, rung_dims, dims, student.embed_dim, options)
    what = f"run {run}: the projector of its recipe and its checkpoint do not fit each other"
    load_all(projector, trained.part(f"distiller.projectors.{teacher}."), what)

    inverses = _inverses(recipe, teacher, dims, statistics)
    if statistics:
        _fold(recipe.projector.type, projector, inverses)
    head = KeptHead(student, projector, blocks, dims)
    if statistics:
        head.standards = {kind: (found.shift.numpy(), found.scale.numpy()) for kind, found in inverses.items()}
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

    Attributes:
        standards: mean and scale of "cls" and "patch" by which training standardised the teacher, each `(D,)`; empty
            where it did not.
    """

    standards: dict[str, tuple[np.ndarray, np.ndarray]]

    def __init__(
        self, student: TimmEncoder, projector: nn.Module, blocks: Sequence[int], dims: tuple[int, int]
    ) -> None:
        super().__init__(student.mean.flatten().tolist(), student.std.flatten().tolist())
        self.student, self.projector, self.blocks = student, projector, list(blocks)
        self.embed_dim, self.patch_dim = dims
        self.standards = {}
        self.input_size, self.has_cls = student.input_size, student.has_cls
        self.architecture, self.channels_last = student.architecture, student.channels_last

    def encode(self, x: Float[Tensor, "b 3 h w"]) -> Tokens:
        tokens: Tokens = self.projector(self.student.encode_blocks(x, self.blocks))
        return tokens.float()

    def describe(self) -> str:
        kind = type(self.projector)
        read = [self.student.norm_last, self.blocks, f"{kind.__module__}.{kind.__qualname__}"]
        return f"{self.student.describe()} {json.dumps(read)}"


def _inverses(
    recipe: Recipe, teacher: str, dims: tuple[int, int], statistics: dict[str, Tensor]
) -> dict[Kind, Inverse]:
    """How the targets of CLS and of patches become the teacher's tokens again."""
    setting = recipe.standardize
    standardizer = build_standardizer(setting.type, {teacher: dims}, setting.options)
    own = standardizer.state_dict().keys() & statistics.keys()
    standardizer.load_state_dict({name: statistics[name] for name in own})
    return {kind: standardizer.inverse(teacher, kind) for kind in KINDS}


@torch.no_grad()
def _fold(kind: str, projector: nn.Module, inverses: Mapping[Kind, Inverse]) -> None:
    """Undoes the standardisation inside the projector's last layers, which costs nothing at run time.

    Σ_l (W_l h_l + b_l) = z becomes Σ_l (A·W_l) h_l + A·b_l, plus μ once.
    """
    if not hasattr(projector, "output_layers"):
        raise InputError(f"projector '{kind}' has no 'output_layers', which a kept head needs")
    layers_of: Any = projector.output_layers
    for token, layers in layers_of().items():
        matrix, shift = inverses[token].matrix, inverses[token].shift
        for layer in layers:
            for values in (layer.weight, layer.bias):
                values.copy_(torch.einsum("de,e...->d..." if matrix.ndim == 2 else "d,d...->d...", matrix, values))
        layers[-1].bias.add_(shift)


def _dims(recipe: Recipe, teacher: str, statistics: dict[str, Tensor]) -> tuple[int, int]:
    """The teacher's widths, from its statistics if these tell: a head is usable where the teacher is not."""
    means = [statistics.get(f"teachers.{teacher}.{kind}.mean") for kind in KINDS]
    if means[0] is not None and means[1] is not None:
        return len(means[0]), len(means[1])
    encoder = build_encoder(without_weights(recipe.teachers.models[teacher]))
    return encoder.embed_dim, encoder.patch_dim
