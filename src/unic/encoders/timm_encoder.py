"""A timm model as an encoder: students, exports, and most teachers.

CLS = forward_head(forward_features(x)), which is what the exported `model(x)` returns; patches = forward_features(x)
without the prefix tokens.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from unic.encoders._any_size import take_any_size
from unic.encoders._layout import NoGridError, grid_of, layout_of
from unic.encoders.base import IMAGENET_MEAN, IMAGENET_STD, Encoder, Size
from unic.errors import InputError, in_one_line
from unic.tokens import Grid, Tokens, patches_of


class TimmEncoder(Encoder):
    """A timm model as encoder: token models (ViT and the like) and map models (CNNs, Swin).

    The rungs of a token model are its blocks without a norm, with the class token (or the mean of the patches) as CLS.
    The rungs of a map model are its stages, pooled to the grid of the last one, with their mean as CLS. The last rung
    of a map model is the output of `encode`, and so is that of a token model with `norm_last`.

    Attributes:
        model: the timm model, `num_classes=0`.
        name: name of the architecture in timm, without the tag of the weights.
        model_args: arguments of `timm.create_model` that build the model again, without drop path.
        norm_last: True if the last rung of a token model is `encode`'s output, after the final norm, which is trained.
            False from scratch: the last rung has no norm, and the final norm stays frozen at weight 1, bias 0, as in
            the reference (docs/method.md). The export applies this norm.
    """

    def __init__(
        self,
        model: nn.Module,
        name: str,
        model_args: dict[str, Any],
        input_size: tuple[int, int],
        *,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        from_scratch: bool = False,
        licence: str | None = None,
    ) -> None:
        super().__init__(mean, std)
        self.model: Any = model  # timm's methods are not those of nn.Module
        self.name = name
        self.model_args = model_args
        self.input_size = input_size
        self.licence = licence
        self.architecture = "cnn" if _is_convolutional(model) else "vit"
        self.channels_last = self.architecture == "cnn"
        self.from_scratch = from_scratch
        self.norm_last = not (from_scratch and _head_is_norm(model))
        if not self.norm_last:
            for name_of_norm in ("norm", "fc_norm"):
                getattr(model, name_of_norm).requires_grad_(False)
        self._grids: dict[Size, Grid] = {}  # by the sizes that `grid_at` has prepared
        try:
            self._probe()
        except NoGridError as error:
            raise InputError(f"timm model '{name}': its features {error}; expected one grid of patches") from None
        except NotImplementedError as error:
            raise InputError(f"timm model '{name}': it has no vector for an image ({in_one_line(error)})") from None

    def _probe(self) -> None:
        """Sets layout, grid and widths from the forward pass of one image, as timm's attributes differ between
        families.

        Raises:
            NoGridError: the features are no grid of patches.
            NotImplementedError: the model has no pooled vector.
        """
        training = self.training
        self.eval()
        with torch.no_grad():
            # The model may have been built on another device than this module's own tensors.
            x = torch.zeros(1, 3, *self.input_size, device=next(self.model.parameters()).device)
            features = self.model.forward_features(x)
            self.layout = layout_of(self.model, features)
            self.is_map, self.num_prefix_tokens = self.layout.is_map, self.layout.num_prefix_tokens
            self.has_cls = self.num_prefix_tokens > 0 and getattr(self.model, "global_pool", "token") == "token"
            self.grid = self._grid_of(features, self.input_size)
            tokens = self._tokens(features, self.grid)
            self.embed_dim, self.patch_dim = tokens.cls.shape[-1], tokens.patches.shape[-1]
            blocks = range(self._num_blocks())
            rungs = self.encode_blocks(x, blocks) if blocks else []
            self.block_dims = [(rung.cls.shape[-1], rung.patches.shape[-1]) for rung in rungs]
        self.train(training)

    def _num_blocks(self) -> int:
        forward = getattr(self.model, "forward_intermediates", None)
        if forward is None:
            return 0
        if self.is_map:
            return len(self.model.feature_info)
        is_token_model = "return_prefix_tokens" in inspect.signature(forward).parameters
        return len(getattr(self.model, "blocks", ())) if is_token_model else 0

    def grid_at(self, size: Size) -> Grid | None:
        """Prepares the model for images of another size: a CNN takes any, a ViT interpolates its position embeddings.

        The outputs at the model's own size stay the same.
        """
        if size not in self._grids:
            if not self.is_map:
                take_any_size(self.model)
            training, x = self.training, torch.zeros(1, 3, *size, device=self.mean.device)
            self.eval()
            try:
                with torch.no_grad(), self._autocast(x):
                    self._grids[size] = self._grid_of(self.model.forward_features(x), size)
            except (AssertionError, RuntimeError, ValueError):  # raised by timm's families and by `grid_of`
                return None
            finally:
                self.train(training)
        return self._grids[size]

    def _grid_for(self, x: Float[Tensor, "b 3 h w"]) -> Grid:
        return self._grids.get((x.shape[-2], x.shape[-1]), self.grid) if self._grids else self.grid

    def _grid_of(self, features: Tensor, size: Size) -> Grid:
        if self.is_map:
            height, width = self._as_map(features).shape[-2:]
            return int(height), int(width)
        return grid_of(self.model, features.shape[1] - self.num_prefix_tokens, size)

    def _as_map(self, features: Tensor) -> Float[Tensor, "b e h w"]:
        return features.permute(0, 3, 1, 2) if self.layout.channels_last else features

    def _tokens(self, features: Tensor, grid: Grid) -> Tokens:
        """The tokens of the output of `forward_features`. `cls` equals `model(x)`, as the model has no classifier."""
        cls = self.model.forward_head(features)
        if not self.is_map:
            return Tokens(cls, features[:, self.num_prefix_tokens :], grid)
        maps = self._as_map(features)
        # Not `grid`: an export takes other sizes too.
        return Tokens(cls, patches_of(maps), (maps.shape[-2], maps.shape[-1]))

    def encode(self, x: Float[Tensor, "b 3 h w"]) -> Tokens:
        return self._tokens(self.model.forward_features(x), self._grid_for(x))

    def encode_blocks(self, x: Float[Tensor, "b 3 h w"], blocks: Sequence[int]) -> list[Tokens]:
        if self.is_map:
            return self._encode_stages(x, blocks)
        return self._encode_token_blocks(x, blocks)

    def _encode_token_blocks(self, x: Tensor, blocks: Sequence[int]) -> list[Tokens]:
        needs_final = self.norm_last and len(self.model.blocks) - 1 in blocks
        result = self.model.forward_intermediates(
            x,
            indices=list(blocks),
            return_prefix_tokens=self.has_cls,  # False without prefix tokens: some families fail otherwise
            output_fmt="NLC",
            intermediates_only=not needs_final,
        )
        final, outputs = result if needs_final else (None, result)
        grid = self._grid_for(x)
        pairs = [output if isinstance(output, tuple) else (output, None) for output in outputs]
        rungs = [self._rung(patches, prefix, grid) for patches, prefix in pairs]
        if final is not None:
            rungs[-1] = self._tokens(final, grid)
        return rungs

    def _rung(self, patches: Float[Tensor, "b n e"], prefix: Float[Tensor, "b p e"] | None, grid: Grid) -> Tokens:
        cls = prefix[:, 0] if self.has_cls and prefix is not None else patches.mean(dim=1)
        return Tokens(cls, patches, grid)

    def _encode_stages(self, x: Tensor, blocks: Sequence[int]) -> list[Tokens]:
        final, maps = self.model.forward_intermediates(x, indices=list(blocks))
        grid, rungs = self._grid_for(x), []
        for stage in maps:
            pooled = F.adaptive_avg_pool2d(stage, grid)
            rungs.append(Tokens(pooled.mean(dim=(2, 3)), patches_of(pooled), grid))
        if len(self.model.feature_info) - 1 in blocks:
            # The output of what follows the last stage (EfficientNet's conv_head): the exported output must be trained.
            rungs[-1] = self._tokens(final, grid)
        return rungs

    def checkpoint_activations(self) -> None:
        try:
            self.model.set_grad_checkpointing()
        except (AttributeError, AssertionError):
            super().checkpoint_activations()

    def describe(self) -> str:
        return json.dumps([self.name, self.model_args], sort_keys=True)


def _is_convolutional(model: nn.Module) -> bool:
    """Whether some convolution has overlapping windows, which the patch embedding of a ViT or Swin has not."""
    return any(
        any(size > step for size, step in zip(layer.kernel_size, layer.stride, strict=True))
        for layer in model.modules()
        if isinstance(layer, nn.Conv2d)
    )


def _head_is_norm(model: nn.Module) -> bool:
    """Whether the head of a ViT has no weights beside its norms, so that all weights are trained without it."""
    return (
        all(isinstance(getattr(model, name, None), nn.Module) for name in ("blocks", "norm", "fc_norm"))
        and getattr(model, "global_pool", None) in ("token", "avg")
        and getattr(model, "attn_pool", None) is None
        and not getattr(model, "pool_include_prefix", False)
        and not hasattr(model, "dist_token")
    )
