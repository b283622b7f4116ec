"""Student tokens of each block → one projector per teacher → losses: ℓ[t, i] for teacher t and image i.

ℓ[t, i] = ½ Σ_{cls, patch} Σ_loss weight · loss(z, y), with z the projector's output, y the standardised teacher token.
A teacher that is matched by CLS or by patches alone (`teachers.models.T.tokens`) has the one sum without the ½.
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
from unic.losses import Loss, cosine
from unic.projectors import project
from unic.tokens import Tokens
from unic.training.nested import first_channels

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
        losses: name → (weight, function).
        blocks: which blocks of the student the projectors read (0-based, ascending).
        seed: of the run; keys the draws of drop path.
        bf16: run the projectors under bf16 autocast (losses are float32 in any case).
        patch_share: in training, project and compare only this share of each image's patches, drawn anew each step.
        size: at which the student sees images while it trains; None: its own.
        as_is: the student sees images at the size that they have (`data.sizes`).
        frozen: the student does not learn, and stays in evaluation mode while the projectors train.
        widths: nested widths, at which the loss is also taken.
        measures_gradients: the backward pass measures each teacher's gradient at the student's last tokens.
    """

    def __init__(
        self,
        student: Encoder,
        projectors: Mapping[str, nn.Module],
        losses: Mapping[str, tuple[float, Loss]],
        blocks: Sequence[int],
        *,
        seed: int,
        bf16: bool = False,
        patch_share: float = 1.0,
        size: Size | None = None,
        as_is: bool = False,
        frozen: bool = False,
        widths: Sequence[int] = (),
        measures_gradients: bool = False,
    ) -> None:
        super().__init__()
        self.student = student
        self.projectors = nn.ModuleDict(dict(projectors))
        self.losses = dict(losses)
        self.blocks = list(blocks)
        self.seed, self.bf16, self.patch_share = seed, bf16, patch_share
        self.size, self.as_is, self.widths = size, as_is, list(widths)
        self.is_frozen = frozen
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
        step: int,
        index: Int[Tensor, "b"],
    ) -> Terms:
        """`targets`: standardised, on the student's grid; `index`: of the images, which keys random draws."""
        set_drop_path_keys(self.student, self.seed, step, index)
        size = (images.shape[-2], images.shape[-1]) if self.as_is else self.size
        rungs = self.student.intermediates(images, self.blocks, size)
        if self.training and self.patch_share < 1:
            chosen = self._choose_patches(rungs[-1].patches.shape[1], step, index)
            rungs = [_only(tokens, chosen) for tokens in rungs]
            targets = {name: _only(tokens, chosen) for name, tokens in targets.items()}
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
            target = targets[name]
            kinds = ((prediction.cls, target.cls), (prediction.patches, target.patches))
            terms = [self._token_loss(z, y) if z.numel() else None for z, y in kinds]
            matched = [term[0] for term in terms if term is not None]
            losses.append(matched[0] if len(matched) == 1 else (matched[0] + matched[1]) / 2)
            nothing = torch.full((), torch.nan, device=prediction.cls.device)
            cosines.append(torch.stack([nothing if term is None else term[1] for term in terms]))
        return torch.stack(losses), torch.stack(cosines)

    def _choose_patches(self, num_patches: int, step: int, index: Int[Tensor, "b"]) -> Int[Tensor, "b k"]:
        """A random share of each image's patches, without replacement, in their order."""
        place = torch.arange(num_patches, device=index.device)
        draws = rng.uniform(index[:, None], _PATCHES, self.seed, step, place)
        return draws.topk(max(1, round(self.patch_share * num_patches)), dim=1).indices.sort(dim=1).values

    def _token_loss(self, prediction: Tensor, target: Tensor) -> tuple[Float[Tensor, "b"], Float[Tensor, ""]]:
        """Weighted sum of the losses per image, and the mean cosine for the log."""
        prediction, target = prediction.float(), target.float()
        values = {name: function(prediction, target) for name, (_, function) in self.losses.items()}
        total = torch.stack([weight * values[name] for name, (weight, _) in self.losses.items()]).sum(0)
        distance = values["cosine"] if "cosine" in values else cosine.loss(prediction.detach(), target)
        return total, 1 - distance.detach().mean()


def _only(tokens: Tokens, chosen: Int[Tensor, "b k"]) -> Tokens:
    if not tokens.patches.shape[1]:
        return tokens
    return Tokens(tokens.cls, torch.take_along_dim(tokens.patches, chosen[:, :, None], dim=1), (1, chosen.shape[1]))


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
