"""A vision model of transformers as encoder. The family of the model decides which outputs are CLS and patches:

| family | CLS | patches |
|---|---|---|
| class token | class token after the final norm | tokens behind class token and registers, after the final norm |
| trained pooler, no class token (SigLIP, AIMv2, Swin, Hiera) | output of the pooler | all tokens |
| neither (I-JEPA, SAM) | mean of the patches | all tokens, or the cells of the map |
| BEiT and data2vec with mean pooling | mean of the patches, then the norm | tokens, without a norm |
| C-RADIO | summary | features |
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Real, UInt8
from torch import Tensor, nn

from unic.encoders._image_processor import preprocess, to_patches
from unic.encoders._outputs import OutputReader
from unic.encoders.base import Encoder
from unic.errors import InputError, first_line_of
from unic.tokens import Tokens, patches_of

_NOT_THE_MODEL = ("_name_or_path", "architectures", "dtype", "torch_dtype", "transformers_version")


class HfEncoder(Encoder):
    """A model whose `forward` takes pixel values and returns outputs of transformers. Call `probe` before its use.

    Attributes:
        model: the transformers model.
        processor: its image processor, for `library_input`; None if the user gave mean and std.
    """

    def __init__(
        self, model: Any, input_size: tuple[int, int], *, mean: Sequence[float], std: Sequence[float], processor: Any
    ) -> None:
        super().__init__(mean, std)
        self.model = model.eval()
        self.processor = processor
        self.input_size = input_size
        self.config: Any = model.config
        has_attention = any(hasattr(self.config, name) for name in ("num_attention_heads", "num_heads"))
        self.architecture = "vit" if has_attention else "cnn"
        self.patch_size = _pair(getattr(self.config, "patch_stride", None) or getattr(self.config, "patch_size", None))
        self.reader = OutputReader(input_size, self.patch_size)
        takes = inspect.signature(model.forward).parameters
        self.own_size = _pair(getattr(self.config, "image_size", None))
        self.interpolates = "interpolate_pos_encoding" in takes and self.own_size != input_size
        self.final_norm: nn.Module | None = None
        if self.config.model_type == "vit_mae":
            self.config.mask_ratio = 0.0

    def probe(self, where: str) -> None:
        """Sets `embed_dim`, `patch_dim`, `final_norm` and `has_cls` from one empty image.

        Raises:
            InputError: the model does not run at this size.
        """
        try:
            with torch.no_grad():
                x = self.prepare(torch.zeros(1, 3, *self.input_size))
                output = self.model(**self._inputs(x))
                self.final_norm = self._missing_norm(output)
                tokens, self.has_cls = self._read(output)
        except (AttributeError, IndexError, RuntimeError, TypeError, ValueError) as error:
            size, reason = "x".join(map(str, self.input_size)), first_line_of(error)
            own = f"; its own size is {'x'.join(map(str, self.own_size))}" if self.own_size else ""
            name = type(self.model).__name__
            raise InputError(f"{where}: {name} does not run as an image encoder at {size} ({reason}){own}") from None
        self.embed_dim, self.patch_dim = tokens.cls.shape[-1], tokens.patches.shape[-1]

    def _inputs(self, x: Float[Tensor, "b 3 h w"]) -> dict[str, Any]:
        """The arguments of the model's `forward`."""
        if self.config.model_type == "siglip2_vision_model":  # takes sequences of patches, from images of any shape
            assert self.patch_size is not None
            shape = [side // step for side, step in zip(self.input_size, self.patch_size, strict=True)]
            return {
                "pixel_values": to_patches(x, self.patch_size[0]),
                # No padding. The model would read a mask, and the shape of each image, from the device.
                "pixel_attention_mask": None,
                "spatial_shapes": torch.tensor([shape] * len(x)),
            }
        inputs: dict[str, Any] = {"pixel_values": x}
        if self.interpolates:
            inputs["interpolate_pos_encoding"] = True
        if self.config.model_type == "vit_mae":  # it orders the patches by this noise, even if it masks none
            assert self.patch_size is not None
            num_patches = (self.input_size[0] // self.patch_size[0]) * (self.input_size[1] // self.patch_size[1])
            inputs["noise"] = torch.arange(num_patches, device=x.device).expand(len(x), -1)
        return inputs

    def _missing_norm(self, output: Any) -> nn.Module | None:
        """The final norm of a model whose `forward` applies it to the class token alone, as CLIP does; else None."""
        pooled, tokens = getattr(output, "pooler_output", None), getattr(output, "last_hidden_state", None)
        norm = next((part for name, part in self.model.named_modules() if name.endswith("post_layernorm")), None)
        if pooled is None or tokens is None or norm is None or torch.allclose(pooled, tokens[:, 0]):
            return None
        return norm if torch.allclose(pooled, norm(tokens[:, 0]), atol=1e-5) else None

    def encode(self, x: Float[Tensor, "b 3 h w"]) -> Tokens:
        return self._read(self.model(**self._inputs(x)))[0]

    def _read(self, output: Any) -> tuple[Tokens, bool]:
        """The tokens, and whether CLS is a class token."""
        features = getattr(output, "last_hidden_state", None)
        if features is None or hasattr(output, "summary"):
            return self.reader.read(output)
        if self.final_norm is not None:
            features = self.final_norm(features)
        if features.ndim == 4:
            num_prefix, grid = 0, (features.shape[2], features.shape[3])
            features = patches_of(features)
        else:
            num_prefix, grid = self.reader.split(features.shape[1])
        patches = features[:, num_prefix:]
        if num_prefix and not getattr(self.config, "use_mean_pooling", False):
            # DINOv3's ConvNeXt puts its pooled vector where others have a class token.
            return Tokens(features[:, 0], patches, grid), self.architecture == "vit"
        pooled = getattr(output, "pooler_output", None)
        return Tokens(patches.mean(dim=1) if pooled is None else pooled.flatten(1), patches, grid), False

    def library_input(self, image: UInt8[np.ndarray, "h w 3"]) -> Real[Tensor, "1 3 h w"] | None:
        return None if self.processor is None else preprocess(self.processor, image)

    def describe(self) -> str:
        settings = {key: value for key, value in self.config.to_dict().items() if key not in _NOT_THE_MODEL}
        return json.dumps([type(self.model).__name__, settings], sort_keys=True, default=str)


def _pair(value: Any) -> tuple[int, int] | None:
    if value is None:
        return None
    return (value, value) if isinstance(value, int) else (value[0], value[-1])
