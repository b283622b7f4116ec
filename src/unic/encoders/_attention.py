"""Choice of the attention for a student that trains on a CPU in bf16: two products and a softmax, not the fused kernel.

With the backward pass this is 2 to 5 times as fast as torch's fused kernel, at 65 and 197 tokens (docs/log.md). Frozen
encoders keep the kernel, which does not round the scores to bf16: rounding costs a teacher half a point of k-NN.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from unic.encoders.base import Encoder

_MOST_PATCHES = 400  # with more patches it is not faster, and the scores of all heads take too much memory


def choose_attention(
    encoder: Encoder, device: torch.device, largest: int | None = None, projectors: Iterable[nn.Module] = ()
) -> None:
    """Sets `fused_attn`, which timm's blocks read in every forward pass; other models stay as they are.

    Args:
        encoder: with its precision set.
        device: device of the training.
        largest: side of the largest views, if the views have several sizes.
        projectors: projectors that train with the encoder; some have blocks of their own.
    """
    rows, columns = getattr(encoder, "grid", (0, 0))
    num_patches = rows * columns * ((largest or encoder.input_size[0]) / encoder.input_size[0]) ** 2
    if device.type == "cpu" and encoder.precision == "bf16" and num_patches <= _MOST_PATCHES:
        trained = [module for part in (encoder, *projectors) for module in part.modules()]
        attentions: list[Any] = [module for module in trained if getattr(module, "fused_attn", False) is True]
        for attention in attentions:
            attention.fused_attn = False
