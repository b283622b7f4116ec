"""A finished timm ViT at other sizes: position embeddings are interpolated in the forward pass (`dynamic_img_size`).

timm takes this as an argument of the constructor. Set afterwards, it leaves what is exported as it was.
"""

from __future__ import annotations

from typing import Any

from timm.layers import Format


def take_any_size(model: Any) -> None:
    """Sets what timm's constructor sets for `dynamic_img_size`; other families stay as they are."""
    if getattr(model, "dynamic_img_size", True):  # convolutional ones do not have it
        return
    model.dynamic_img_size = True
    embed = model.patch_embed
    embed.strict_img_size = False
    embed.flatten, embed.output_fmt = False, Format.NHWC
