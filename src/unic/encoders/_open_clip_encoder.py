"""An image tower of open_clip as encoder: joint embedding = projection(pooled vector).

| tower | pooled vector | patches | projection |
|---|---|---|---|
| ViT of open_clip | pooled from the tokens after `ln_post` | these tokens | a matrix |
| CoCa | output of the attention pool | tokens of the last block, without a norm | a matrix |
| ResNet of CLIP | output of the attention pool, in the joint space | map before the pool | none |
| timm | pooled by the trunk | `forward_features` of the trunk | the trunk's classifier, then `head` |
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from unic.encoders._outputs import OutputReader
from unic.encoders.base import Encoder
from unic.tokens import Tokens


class OpenClipEncoder(Encoder):
    """The image tower of an open_clip model.

    Attributes:
        projected: True if CLS is the joint embedding, False if it is the pooled vector.
    """

    def __init__(self, visual: Any, *, mean: Sequence[float], std: Sequence[float], projected: bool = False) -> None:
        super().__init__(mean, std)
        self.settings = dict(visual.preprocess_cfg)
        size = self.settings["size"]
        self.input_size = (size, size) if isinstance(size, int) else (size[0], size[1])
        self.projected = projected
        self.visual = visual.eval()
        self.is_timm, self.pool = hasattr(visual, "trunk"), None
        self.projection: nn.Parameter | None = None
        if hasattr(visual, "attnpool"):
            self.pool, visual.attnpool = visual.attnpool, nn.Identity()
        elif not self.is_timm:  # without `proj` the tower returns the pooled vector
            self.projection, visual.proj = visual.proj, None
        body = visual.trunk if self.is_timm else visual
        self.architecture = "vit" if hasattr(body, "patch_embed" if self.is_timm else "patch_size") else "cnn"
        self.reader = OutputReader(self.input_size, num_prefix_tokens=getattr(body, "num_prefix_tokens", None))
        pooling = getattr(body, "global_pool", "") or getattr(body, "pool_type", "")
        self.has_cls = pooling in ("token", "tok") and getattr(body, "attn_pool", None) is None
        with torch.no_grad():
            pooled, tokens = self._pooled_and_patches(torch.zeros(1, 3, *self.input_size))
            self.embed_dim = (self._project(pooled) if projected else pooled).shape[-1]
        self.patch_dim = tokens.patches.shape[-1]

    def _project(self, pooled: Float[Tensor, "b d"]) -> Float[Tensor, "b j"]:
        """The joint embedding of images and texts, not normalised, as open_clip's `encode_image` returns it."""
        if self.is_timm:
            return self.visual.head(self.visual.trunk.get_classifier()(pooled))
        return pooled if self.projection is None else pooled @ self.projection

    def _pooled_and_patches(self, x: Float[Tensor, "b 3 h w"]) -> tuple[Tensor, Tokens]:
        if self.is_timm:
            trunk = self.visual.trunk
            features = trunk.forward_features(x)
            pooled = trunk.forward_head(features, pre_logits=True)
            is_nhwc = features.ndim == 4 and getattr(trunk, "output_fmt", "NCHW") == "NHWC"
            return pooled, self.reader.read(features.permute(0, 3, 1, 2) if is_nhwc else features)[0]
        if self.pool is not None:
            features = self.visual(x)
            return self.pool(features), self.reader.read(features)[0]
        has_norm = self.visual.attn_pool is None  # CoCa applies its norm to the output of the pool
        output = self.visual.forward_intermediates(x, 1, normalize_intermediates=has_norm, output_fmt="NLC")
        pooled, patches = output["image_features"], output["image_intermediates"][0]
        return pooled, Tokens(pooled, patches, self.visual.grid_size)

    def encode(self, x: Float[Tensor, "b 3 h w"]) -> Tokens:
        pooled, tokens = self._pooled_and_patches(x)
        return Tokens(self._project(pooled) if self.projected else pooled, tokens.patches, tokens.grid)

    def library_input(self, image: UInt8[np.ndarray, "h w 3"]) -> Float[Tensor, "1 3 h w"] | None:
        from open_clip.transform import PreprocessCfg, image_transform_v2
        from PIL import Image

        result: Tensor = image_transform_v2(PreprocessCfg(**self.settings), is_train=False)(Image.fromarray(image))
        return result[None]

    def describe(self) -> str:
        # The text of the module names the activation: towers with QuickGELU and with GELU have equal weights.
        return f"{self.visual} {self.projected}"
