"""Other image sizes for a built timm ViT, which then interpolates its position embeddings (`dynamic_img_size`).

timm takes `dynamic_img_size` as an argument of the constructor. It is set afterwards here, so that exports do not
contain it.
"""

from __future__ import annotations

from typing import Any

from timm.layers import Format


def take_any_size(model: Any) -> None:
    """Sets what timm's constructor would set in a plain ViT; a model without this setting stays as it is.

    Models that build parts for one size stay as they are too: Swin (masks), rotary embeddings.
    """
    if not getattr(model, "dynamic_img_size", True) and getattr(model, "rope", None) is None:
        model.dynamic_img_size = True
        model.patch_embed.strict_img_size = False
        model.patch_embed.flatten, model.patch_embed.output_fmt = False, Format.NHWC
