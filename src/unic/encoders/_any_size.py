"""A finished timm ViT at other sizes: position embeddings are interpolated in the forward pass (`dynamic_img_size`).

timm takes this as an argument of the constructor. Set afterwards, it leaves what is exported as it was.
"""

from __future__ import annotations

from typing import Any

from timm.layers import Format


def take_any_size(model: Any) -> None:
    """Sets what timm's constructor sets in a plain ViT; a model that knows no such setting stays as it is.

    Not for what is made for one size at construction: Swin's masks (maps of tokens), rotary embeddings.
    """
    if not getattr(model, "dynamic_img_size", True) and getattr(model, "rope", None) is None:
        model.dynamic_img_size = True
        model.patch_embed.strict_img_size = False
        model.patch_embed.flatten, model.patch_embed.output_fmt = False, Format.NHWC
