"""Attention on a CPU in bf16, written out: two products and a softmax, faster there than torch's fused kernel.

Measured at 65 and 197 tokens (docs/log.md): 1.5 to 2 times in the forward pass, 2 to 5 times with the backward pass.
"""

from __future__ import annotations

from typing import Any

import torch

from unic.encoders.base import Encoder

_MOST_PATCHES = 400  # with more the forward pass gains nothing, and the scores of all heads fill the memory


def choose_attention(encoder: Encoder, device: torch.device) -> None:
    """Sets what timm's blocks read in every forward pass (`fused_attn`); other models stay as they are."""
    rows, columns = getattr(encoder, "grid", (0, 0))
    if device.type == "cpu" and encoder.precision == "bf16" and rows * columns <= _MOST_PATCHES:
        attentions: list[Any] = [module for module in encoder.modules() if getattr(module, "fused_attn", False) is True]
        for attention in attentions:
            attention.fused_attn = False
