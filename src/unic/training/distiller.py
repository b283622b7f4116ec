"""Student tokens of each block → one projector per teacher → losses: ℓ[t, i] for teacher t and image i.

ℓ[t, i] = ½ Σ_{cls, patch} Σ_loss weight · loss(z, y), with z the projector's output, y the standardised teacher token.
A teacher that is matched by CLS or by patches alone (`teachers.models.T.tokens`) has the one sum without the ½. So a
loss counts with the mean over the kinds of tokens that it compares; one that compares CLS alone counts there in full.
With nested widths ℓ[t, i] is the mean of that over the widths (`unic.training.nested`).
This module is all that is trained, so it is all that DDP wraps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from unic import rng
from unic.encoders import Encoder
from unic.encoders._drop_path import set_drop_path_keys
from unic.encoders.base import Size
from unic.errors import InputError
from unic.kinds import KINDS, Kind
from unic.lookup import name_of
from unic.losses import Weighted, cosine
from unic.projectors import project
from unic.shapes import check_shape
from unic.tokens import Grid, Tokens
from unic.training.nested import first_channels
from unic.training.shift import Shift

_PATCHES = rng.stream("patches of the loss")


class Terms(NamedTuple):
    """`losses`: one per teacher and image, with gradient. `cosines`: per teacher, of CLS and patches, detached.
    `cls`: the student's own, with gradient. `gradients`: see `unic.weightings.base.Pairs`.
    """

    losses: Float[Tensor, "t b"]
    cosines: Float[Tensor, "t 2"]
    cls: Float[Tensor, "b d"]
    gradients: Float[Tensor, "t"] | None = None


class Distiller(nn.Module):
    """The student with its expendable projectors.

    Args:
        student: the encoder to train.
        projectors: one per teacher, in the teachers' order.
        losses: to each teacher, by name.
        blocks: which blocks of the student the projectors read (0-based, ascending).
        seed: of the run; keys the draws of drop path.
        bf16: run the projectors under bf16 autocast (losses are float32 in any case).
        patch_share: in training, project and compare only this share of each image's patches, drawn anew each step.
        size: at which the student sees images while it trains; None: its own.
        as_is: the student sees images at the size that they have (`data.sizes`).
        frozen: the student does not learn, and stays in evaluation mode while the projectors train.
        widths: nested widths, at which the loss is also taken.
        shift: how the student's views are moved in training; None: they are not.
        measures_gradients: the backward pass measures each teacher's gradient at the student's last tokens.
    """

    def __init__(
        self,
        student: Encoder,
        projectors: Mapping[str, nn.Module],
        losses: Mapping[str, Mapping[str, Weighted]],
        blocks: Sequence[int],
        *,
        seed: int,
        bf16: bool = False,
        patch_share: float = 1.0,
        size: Size | None = None,
        as_is: bool = False,
        frozen: bool = False,
        widths: Sequence[int] = (),
        shift: Shift | None = None,
        measures_gradients: bool = False,
    ) -> None:
        super().__init__()
        self.student = student
        self.projectors = nn.ModuleDict(dict(projectors))
        self._named = {name: f"projector '{name_of(each)}' of teacher '{name}'" for name, each in projectors.items()}
        self.losses = {name: dict(losses[name]) for name in projectors}  # no submodules: `LossStates` owns their states
        self.blocks = list(blocks)
        self.seed, self.bf16, self.patch_share = seed, bf16, patch_share
        self.size, self.as_is, self.widths = size, as_is, list(widths)
        self.is_frozen, self.shift = frozen, shift
        self.measures_gradients = measures_gradients
        if frozen:
            student.freeze()

    def train(self, mode: bool = True) -> Distiller:
        super().train(mode)
        if self.is_frozen:
            self.student.eval()
        return self

    def forward(
        self,
        images: Float[Tensor, "b 3 h w"],
        targets: Mapping[str, Tokens],
        step: int | Int[Tensor, ""],
        index: Int[Tensor, "b"],
    ) -> Terms:
        """Losses of a batch.

        Args:
            images: views in [0, 1].
            targets: tokens of each teacher, standardised, on the student's grid.
            step: number of the step, which keys random draws; a compiled forward pass needs it as a tensor, as it would
                be compiled again for another int.
            index: index of the images, which keys random draws, too.
        """
        set_drop_path_keys(self.student, self.seed, step, index)
        size = (images.shape[-2], images.shape[-1]) if self.as_is else self.size
        offsets = None
        if self.training and self.shift is not None:
            offsets = self.shift.offsets(step, index)
            images = self.shift.moved(images, offsets, size or self.student.input_size)
        rungs = self.student.intermediates(images, self.blocks, size)
        if self.shift is not None and offsets is not None:
            moved, view, grid = self.shift.common(rungs[-1].grid, offsets)
            rungs = [_only(tokens, moved, grid) for tokens in rungs]
            targets = {name: _only(tokens, view, grid) for name, tokens in targets.items()}
        if self.training and self.patch_share < 1:
            chosen = self._choose_patches(rungs[-1].patches.shape[1], step, index)
            rungs = [_only(tokens, chosen, (1, chosen.shape[1])) for tokens in rungs]
            targets = {name: _only(tokens, chosen, (1, chosen.shape[1])) for name, tokens in targets.items()}
        gradients = torch.zeros(len(self.projectors), device=images.device) if self.measures_gradients else None
        lasts = None if gradients is None else [_measured(rungs[-1], of_teacher) for of_teacher in gradients]
        losses, cosines = self._compare(rungs, lasts, targets)
        if self.widths:
            narrow = [self._narrow(rungs[-1], lasts, targets, width) for width in self.widths]
            losses = torch.stack([losses, *narrow]).mean(0)
        return Terms(losses, cosines, rungs[-1].cls, gradients)

    def _narrow(
        self, last: Tokens, lasts: Sequence[Tokens] | None, targets: Mapping[str, Tokens], width: int
    ) -> Float[Tensor, "t b"]:
        """Losses at a nested width, at which the projectors read the first channels of the last block alone."""
        cut = None if lasts is None else [first_channels(tokens, width) for tokens in lasts]
        return self._compare([first_channels(last, width)], cut, targets)[0]

    def _compare(
        self, rungs: Sequence[Tokens], lasts: Sequence[Tokens] | None, targets: Mapping[str, Tokens]
    ) -> tuple[Float[Tensor, "t b"], Float[Tensor, "t 2"]]:
        """Losses and cosines of what the projectors make of the student's tokens.

        Args:
            rungs: the student's tokens at each block that is read.
            lasts: tokens in place of the last of `rungs`, for each teacher; None: the same for all.
            targets: standardised.
        """
        with torch.autocast(rungs[-1].cls.device.type, torch.bfloat16, enabled=self.bf16):
            if lasts is None:
                predictions = project(list(self.projectors.values()), rungs)
            else:
                pairs = zip(self.projectors.values(), lasts, strict=True)
                predictions = [projector([*rungs[:-1], last]) for projector, last in pairs]
        losses, cosines = [], []
        for name, prediction in zip(self.projectors, predictions, strict=True):
            target, own = targets[name], self.losses[name]
            _check_projected(self._named[name], prediction, target)
            both = {"cls": (prediction.cls, target.cls), "patch": (prediction.patches, target.patches)}
            kinds = tuple(kind for kind in KINDS if both[kind][0].numel())
            found = {kind: _token_loss(own, kind, kinds, *both[kind]) for kind in kinds}
            values = [loss for loss, _ in found.values()]
            losses.append(sum(values[1:], values[0]) / len(values))
            nothing = values[0].new_full((), torch.nan)
            cosines.append(torch.stack([found[kind][1] if kind in found else nothing for kind in KINDS]))
        return torch.stack(losses), torch.stack(cosines)

    def _choose_patches(
        self, num_patches: int, step: int | Int[Tensor, ""], index: Int[Tensor, "b"]
    ) -> Int[Tensor, "b k"]:
        """A random share of each image's patches, without replacement, in their order."""
        place = torch.arange(num_patches, device=index.device)
        draws = rng.uniform(index[:, None], _PATCHES, self.seed, step, place)
        return draws.topk(max(1, round(self.patch_share * num_patches)), dim=1).indices.sort(dim=1).values


def _check_projected(named: str, prediction: Tokens, target: Tokens) -> None:
    """Refuses what a projector returns if it cannot be compared with the targets channel by channel.

    Args:
        named: the projector, as a line begins.
        prediction: output of the projector.
        target: the teacher's tokens, standardised.
    """
    if not isinstance(prediction, Tokens):
        raise InputError(f"{named}: expected Tokens, found {type(prediction).__name__}")
    check_shape(f"{named}: its CLS", prediction.cls, target.cls.shape, "that of the teacher's")
    check_shape(f"{named}: its tensor of patches", prediction.patches, target.patches.shape, "that of the teacher's")


def _token_loss(
    losses: Mapping[str, Weighted], kind: Kind, kinds: tuple[Kind, ...], prediction: Tensor, target: Tensor
) -> tuple[Float[Tensor, "b"], Float[Tensor, ""]]:
    """Weighted sum of the losses per image, and the mean cosine for the log.

    Args:
        losses: to the teacher.
        kind: kind of the tokens.
        kinds: kinds of tokens that are compared; the caller takes the mean over them.
        prediction: output of the projector.
        target: the teacher's tokens, standardised.
    """
    prediction, target = prediction.float(), target.float()
    values = {name: loss(prediction, target) for name, (_, loss) in losses.items() if kind in loss.kinds}
    for name, value in values.items():
        check_shape(f"loss '{name}': what it returns", value, target.shape[:1], "a number for each image")
    shares = [len(kinds) / len(set(losses[name].loss.kinds).intersection(kinds)) for name in values]
    terms = [losses[name].weight * share * value for (name, value), share in zip(values.items(), shares, strict=True)]
    if not terms:  # the projector's parameters still get a gradient, as DDP and FSDP want
        terms = [0 * prediction.flatten(1).mean(1)]
    distance = values["cosine"] if "cosine" in values else cosine.loss(prediction.detach(), target)
    return torch.stack(terms).sum(0), 1 - distance.detach().mean()


def _only(tokens: Tokens, chosen: Int[Tensor, "b k"], grid: Grid) -> Tokens:
    if not tokens.patches.shape[1]:  # of a teacher that is matched by CLS alone
        return tokens
    return Tokens(tokens.cls, torch.take_along_dim(tokens.patches, chosen[:, :, None], dim=1), grid)


def _measured(tokens: Tokens, total: Float[Tensor, ""]) -> Tokens:
    """The same tokens; the backward pass adds the squared length of the gradient that reaches them to `total`."""

    def add(gradient: Tensor) -> None:
        total.add_(gradient.float().square().sum())

    def watched(x: Tensor) -> Tensor:
        seen = x.view_as(x)  # of one projector alone
        if seen.requires_grad:  # not those of a frozen student, and none in evaluation
            seen.register_hook(add)
        return seen

    return Tokens(watched(tokens.cls), watched(tokens.patches), tokens.grid)
