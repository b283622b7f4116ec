"""Any timm model: `timm:NAME[?pretrained=true&checkpoint=PATH&img_size=SIZE&global_pool=token|avg&mean=&std=]`."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

import timm
import torch

from unic.encoders import Spec, _drop_path
from unic.encoders._hugging_face import cached_file, require_hub
from unic.encoders._origin import origin_of
from unic.encoders._weights import check_file, load_weights, read_state_dict
from unic.encoders.base import Size, check_multiple
from unic.encoders.timm_encoder import TimmEncoder
from unic.errors import InputError, first_line_of, nearest


def load(spec: Spec, *, drop_path: float = 0.0) -> TimmEncoder:
    """Builds the model, with weights from the hub (default), from a file (`checkpoint`) or random ones.

    `img_size` (or `size`) is the input size of the network; timm resizes the position embeddings of a ViT.
    With `global_pool=avg` the CLS of a ViT is the mean of its patches, after the norm. Mean and std are those of the
    weights, ImageNet's for random weights; for a file see `unic.encoders._origin`.

    Raises:
        InputError: unknown name, wrong weights or size, no network to download from, or a weight file of unknown mean
            and std.
    """
    spec.check("pretrained", "checkpoint", "img_size", "size", "global_pool", "mean", "std")
    check_name(spec.uri, spec.name)
    checkpoint = spec.options.get("checkpoint")
    where = f"encoder '{spec.uri}'"
    if checkpoint is not None:
        check_file(Path(checkpoint).expanduser(), where)  # before a large model is made for nothing
    pretrained = spec.flag("pretrained", checkpoint is None) and checkpoint is None
    size = spec.input_size()
    model_args: dict[str, Any] = {}
    if "global_pool" in spec.options:
        model_args["global_pool"] = spec.options["global_pool"]
    model = create(spec.uri, spec.name, model_args, size=size, pretrained=pretrained, drop_path=drop_path)
    if checkpoint is not None:
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
    """The input size of a model without the option `img_size`, from timm's configuration of its weights.

    Raises:
        InputError: timm has no such name.
    """
    check_name(spec.uri, spec.name)
    config = timm.get_pretrained_cfg(spec.name)
    assert config is not None, spec.name  # each model of timm has one
    _, height, width = config.input_size
    return height, width


def check_name(uri: str, name: str) -> None:
    """Refuses a name that timm does not have.

    Raises:
        InputError: the line names the nearest valid name.
    """
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
    """Advice for a name that `timm.create_model` takes but a URI does not."""
    source, _, place = name.partition(":")
    if source == "local-dir":
        return f"for a folder in timm's format use run:{place}"
    published = place.removeprefix("timm/")
    if published != place:
        return f"for timm's own models on the hub use timm:{published}"
    return "use timm:ARCHITECTURE?checkpoint=FILE with the downloaded weights"


def _nearest_one(name: str, names: list[str]) -> str:
    # timm has 1300 models, too many to list: only a close name is shown.
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
    """A timm model without a classifier and with keyed drop path.

    Args:
        uri: the URI, for error lines.
        name: name of the model in timm.
        model_args: further arguments of `timm.create_model`. `img_size` is added if the architecture takes it.
        size: height and width of the input; default: the model's own.
        pretrained: load timm's weights, which are downloaded if they are not in the cache.
        drop_path: rate of the last block.

    Raises:
        InputError: the architecture does not take these arguments, or its weights cannot be loaded.
    """
    config = timm.get_pretrained_cfg(name)
    if size is not None and config is not None and config.fixed_input_size:
        model_args["img_size"] = list(size)
    # Passed only if it is not 0, as a few architectures do not take it.
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
        # Some constructors use drop path by default (Swin: 0.1).
        for module in model.modules():
            if isinstance(module, timm.layers.DropPath):
                module.drop_prob = 0.0
    _drop_path.install(model)
    return model


def _is_cached(config: timm.models.PretrainedCfg) -> bool:
    """Whether the weights that timm would load are in a cache on this machine."""
    if config.hf_hub_id:
        names = [config.hf_hub_filename] if config.hf_hub_filename else ["model.safetensors", "pytorch_model.bin"]
        return any(cached_file(config.hf_hub_id, name) for name in names)
    return bool(config.url) and (Path(torch.hub.get_dir()) / "checkpoints" / Path(str(config.url)).name).is_file()
