"""Attention of a student that trains on a CPU in bf16, written out: two products and a softmax, 2 to 5 times as fast.

That is with the backward pass, against torch's fused kernel, at 65 and 197 tokens (docs/log.md). Frozen encoders have
the kernel, which does not round the scores: that is worth half a point of a teacher's k-NN.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from unic.encoders.base import Encoder

_MOST_PATCHES = 400  # with more the forward pass gains nothing, and the scores of all heads fill the memory


def choose_attention(
    encoder: Encoder, device: torch.device, largest: int | None = None, projectors: Iterable[nn.Module] = ()
) -> None:
    """Sets what timm's blocks read in every forward pass (`fused_attn`); other models stay as they are.

    Args:
        encoder: with its precision set.
        device: where it will train.
        largest: side of the largest views, where it takes several sizes.
        projectors: which train with it; some have blocks of their own.
    """
    rows, columns = getattr(encoder, "grid", (0, 0))
    num_patches = rows * columns * ((largest or encoder.input_size[0]) / encoder.input_size[0]) ** 2
    if device.type == "cpu" and encoder.precision == "bf16" and num_patches <= _MOST_PATCHES:
        trained = [module for part in (encoder, *projectors) for module in part.modules()]
        attentions: list[Any] = [module for module in trained if getattr(module, "fused_attn", False) is True]
        for attention in attentions:
            attention.fused_attn = False
