"""Any timm model: `timm:NAME[?pretrained=true|false&checkpoint=PATH&img_size=SIZE&global_pool=token|avg&mean=&std=]`.

CLS = forward_head(forward_features(x)), which is what the exported `model(x)` returns; patches = forward_features(x)
without the prefix tokens. These are the students, and teachers as well.
"""

from __future__ import annotations

import difflib
import inspect
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import timm
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from unic.encoders import Spec, _drop_path
from unic.encoders._any_size import take_any_size
from unic.encoders._hugging_face import cached_file, require_hub
from unic.encoders._layout import NoGridError, grid_of, layout_of
from unic.encoders._origin import origin_of
from unic.encoders._weights import load_weights, read_state_dict
from unic.encoders.base import IMAGENET_MEAN, IMAGENET_STD, Encoder, Size, check_multiple
from unic.errors import InputError, first_line_of, in_one_line, nearest
from unic.tokens import Grid, Tokens, patches_of


def load(spec: Spec, *, drop_path: float = 0.0) -> TimmEncoder:
    """Builds the model, with weights from the hub (default), from a file (`checkpoint`) or random ones.

    `img_size` (or `size`) is the input size of the network; timm resizes the position embeddings of a ViT.
    `global_pool=avg` makes the CLS of a ViT the (normed) mean of its patches. Mean and std are those of the weights,
    ImageNet's for random ones; see `unic.encoders._origin` for those of a file.

    Raises:
        InputError: unknown name, unfitting weights or size, no network to download from, or a weight file of unknown
            mean and std.
    """
    spec.check("pretrained", "checkpoint", "img_size", "size", "global_pool", "mean", "std")
    check_name(spec.uri, spec.name)
    checkpoint = spec.options.get("checkpoint")
    pretrained = spec.flag("pretrained", checkpoint is None) and checkpoint is None
    size = spec.input_size()
    model_args: dict[str, Any] = {}
    if "global_pool" in spec.options:
        model_args["global_pool"] = spec.options["global_pool"]
    model = create(spec.uri, spec.name, model_args, size=size, pretrained=pretrained, drop_path=drop_path)
    if checkpoint is not None:
        where = f"encoder '{spec.uri}'"
        load_weights(model, read_state_dict(Path(checkpoint).expanduser(), where, model), where)
    config, origin = model.pretrained_cfg, origin_of(spec)
    return TimmEncoder(
        model,
        spec.name.partition(".")[0],
        model_args,
        size or tuple(config.get("input_size", (3, 224, 224))[1:]),
        mean=origin.mean,
        std=origin.std,
        from_scratch=not pretrained and checkpoint is None,
        licence=origin.licence,
    )


def own_size(spec: Spec) -> Size:
    """The input size of a name without the option `img_size`, from timm's configuration of its weights.

    Raises:
        InputError: timm has no such name.
    """
    check_name(spec.uri, spec.name)
    config = timm.get_pretrained_cfg(spec.name)
    assert config is not None, spec.name  # each of its models has one
    _, height, width = config.input_size
    return height, width


def check_name(uri: str, name: str) -> None:
    """Refuses a name that timm does not have, with the nearest one that it has."""
    if name.startswith(("local-dir:", "hf-hub:")):
        raise InputError(f"encoder '{uri}': {in_our_words(name)}")
    architecture, _, tag = name.partition(".")
    names = timm.list_models()
    if architecture not in names:
        raise InputError(f"encoder '{uri}': timm has no model '{architecture}'{_nearest_one(architecture, names)}")
    tags = [full.partition(".")[2] for full in timm.list_pretrained(f"{architecture}.*")]
    if tag and tag not in tags:
        raise InputError(f"encoder '{uri}': '{architecture}' has no weights '{tag}'{nearest(tag, tags)}")


def in_our_words(name: str) -> str:
    """What to write for a name that `timm.create_model` takes and a URI does not."""
    source, _, place = name.partition(":")
    if source == "local-dir":
        return f"a folder in timm's format is run:{place}"
    published = place.removeprefix("timm/")
    if published != place:
        return f"timm's own models on the hub are timm:{published}"
    return "give the architecture and the downloaded weights, timm:ARCHITECTURE?checkpoint=FILE"


def _nearest_one(name: str, names: list[str]) -> str:
    # timm has 1300 models: name one that is close, or none; never list them all.
    return nearest(name, difflib.get_close_matches(name, names, n=1, cutoff=0.5))


def create(
    uri: str,
    name: str,
    model_args: dict[str, Any],
    *,
    size: tuple[int, int] | None = None,
    pretrained: bool = False,
    drop_path: float = 0.0,
) -> Any:
    """A timm model without a classifier and with keyed drop path; `model_args` gains `img_size` where it takes one.

    Raises:
        InputError: the architecture does not take these arguments, or its weights cannot be had.
    """
    config = timm.get_pretrained_cfg(name)
    if size is not None and config is not None and config.fixed_input_size:
        model_args["img_size"] = list(size)
    # Not passed when 0: a few architectures do not know the argument.
    extra: dict[str, Any] = {"drop_path_rate": drop_path} if drop_path else {}
    if pretrained and config is not None and not _is_cached(config):
        require_hub(f"encoder '{uri}'", "" if config.hf_hub_id else str(config.url or ""))
    try:
        model = timm.create_model(name, pretrained=pretrained, num_classes=0, **model_args, **extra)
    except TypeError as error:  # an unexpected keyword argument
        if "drop_path_rate" in str(error):
            raise InputError(f"encoder '{uri}': this architecture has no drop path; set student.drop_path=0") from None
        raise InputError(f"encoder '{uri}': {error}") from None
    except (OSError, RuntimeError, ValueError, AssertionError) as error:
        reason = first_line_of(error)
        hint = "; use pretrained=false or checkpoint=PATH" if pretrained else ""
        raise InputError(f"encoder '{uri}': cannot create it ({reason}){hint}") from None
    patch_size = getattr(getattr(model, "patch_embed", None), "patch_size", None)
    if size is not None and patch_size is not None:
        check_multiple(f"encoder '{uri}'", size, patch_size)
    if not drop_path:
        # Some constructors have a drop path of their own as default (Swin: 0.1).
        for module in model.modules():
            if isinstance(module, timm.layers.DropPath):
                module.drop_prob = 0.0
    _drop_path.install(model)
    return model


def _is_cached(config: timm.models.PretrainedCfg) -> bool:
    """Whether the weights that timm would load are on this machine."""
    if config.hf_hub_id:
        names = [config.hf_hub_filename] if config.hf_hub_filename else ["model.safetensors", "pytorch_model.bin"]
        return any(cached_file(config.hf_hub_id, name) for name in names)
    return bool(config.url) and (Path(torch.hub.get_dir()) / "checkpoints" / Path(str(config.url)).name).is_file()


class TimmEncoder(Encoder):
    """A timm model as encoder: token models (ViT and the like) and map models (CNNs, Swin).

    Rungs of the ladder: a ViT's blocks, un-normed, with the class token (or the mean of the patches) as CLS; a map
    model's stages, pooled to the grid of the last one, with their mean as CLS. The last rung of a map model is what
    `encode` returns, and so is that of a ViT with `norm_last`.

    Attributes:
        model: the timm model, `num_classes=0`.
        name: its architecture in timm, without the tag of the weights.
        model_args: what `timm.create_model` needs to build it again (never drop path).
        norm_last: the last rung of a ViT is `encode`'s output, after the final norm, which trains. False from
            scratch: there the rung is un-normed and the norm stays frozen at weight 1, bias 0, as in the reference
            (METHOD §2); the export applies it.
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
        self._grids: dict[Size, Grid] = {}  # at sizes that `grid_at` was asked for
        try:
            self._probe()
        except NoGridError as error:
            raise InputError(f"timm model '{name}': its features {error}; expected one grid of patches") from None
        except NotImplementedError as error:
            raise InputError(f"timm model '{name}': it gives no vector of an image ({in_one_line(error)})") from None

    def _probe(self) -> None:
        """Sets layout, grid and widths from one tiny forward pass: what timm's attributes say differs between families.

        Raises:
            NoGridError: the features are no grid of patches.
            NotImplementedError: the model makes no vector of them.
        """
        training = self.training
        self.eval()
        with torch.no_grad():
            x = torch.zeros(1, 3, *self.input_size)
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
        """A CNN takes any size; a ViT then interpolates its position embeddings, which leaves its own size as it is."""
        if size not in self._grids:
            if not self.is_map:
                take_any_size(self.model)
            training, x = self.training, torch.zeros(1, 3, *size, device=self.mean.device)
            self.eval()
            try:
                with torch.no_grad(), self._autocast(x):
                    self._grids[size] = self._grid_of(self.model.forward_features(x), size)
            except (AssertionError, RuntimeError, ValueError):  # how timm's families say no, and `grid_of`
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
        """From `forward_features`. Without `pre_logits`: with no classifier this is `model(x)` to the letter."""
        cls = self.model.forward_head(features)
        if not self.is_map:
            return Tokens(cls, features[:, self.num_prefix_tokens :], grid)
        maps = self._as_map(features)
        return Tokens(cls, patches_of(maps), (maps.shape[-2], maps.shape[-1]))  # of other sizes as well, in an export

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
            return_prefix_tokens=self.has_cls,  # not where there are none: some families fail then
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
            # Not the last stage but what follows it (EfficientNet's conv_head): the exported output must be trained.
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
    """Whether windows overlap somewhere: a ViT's or Swin's patch embedding does not make a CNN of it."""
    return any(
        any(size > step for size, step in zip(layer.kernel_size, layer.stride, strict=True))
        for layer in model.modules()
        if isinstance(layer, nn.Conv2d)
    )


def _head_is_norm(model: nn.Module) -> bool:
    """A ViT whose `forward_head` only picks or averages tokens beside its norms, so skipping it leaves all trained."""
    return (
        all(isinstance(getattr(model, name, None), nn.Module) for name in ("blocks", "norm", "fc_norm"))
        and getattr(model, "global_pool", None) in ("token", "avg")
        and getattr(model, "attn_pool", None) is None
        and not getattr(model, "pool_include_prefix", False)
        and not hasattr(model, "dist_token")
    )
