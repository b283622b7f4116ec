"""Text towers: they map sentences to unit vectors in the joint space of images and texts of a CLIP-like model."""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import parse_qsl

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from unic import trust
from unic.device import default_device
from unic.errors import InputError, nearest, reason_of

SCHEME = "open_clip:"
_BATCH = 256


class TextTower(ABC):
    """The text side of a CLIP-like model.

    Attributes:
        dim: D, the width of the joint space.
    """

    dim: int

    @abstractmethod
    def embed(self, texts: Sequence[str]) -> Float[np.ndarray, "n d"]:
        """Unit vectors of sentences, float32."""

    def project(self, cls: Float[np.ndarray, "n w"]) -> Float[np.ndarray, "n d"]:
        """Projects vectors of the image tower, from before its projection, to the joint space; not normalised.

        Raises:
            InputError: the model has no such projection, or it is for another width.
        """
        raise InputError(f"{type(self).__name__} has no visual projection; expected image vectors of width {self.dim}")


def load_text_tower(spec: str, device: str | torch.device | None = None) -> TextTower:
    """The text tower that `spec` names.

    Args:
        spec: `open_clip:ARCH/PRETRAINED` (downloaded by open_clip), `open_clip:ARCH?checkpoint=PATH`, or a dotted
            module of your own with `load() -> TextTower`.
        device: device of the tower; default: the GPU if there is one.

    Raises:
        InputError: no such architecture, weights or module, or open_clip is not installed.
        UntrustedError: a module that is not trusted.
    """
    if spec.startswith(SCHEME):
        device = device or default_device()
        return _open_clip_tower(spec, torch.device(device))
    if "." not in spec or ":" in spec:
        raise InputError(f"text '{spec}': expected {SCHEME}ARCH/PRETRAINED, {SCHEME}ARCH?checkpoint=PATH or a module")
    trust.require(f"text '{spec}'", spec)
    try:
        module = importlib.import_module(spec)
    except ModuleNotFoundError as error:
        raise InputError(f"text '{spec}': cannot import it ({error})") from None
    if not hasattr(module, "load"):
        raise InputError(f"text '{spec}': the module has no function 'load', which returns the tower")
    tower = module.load()
    assert isinstance(tower, TextTower), tower
    return tower


def own_tower(uri: str, name: str) -> str:
    """The text tower of an encoder.

    Args:
        uri: URI of the encoder; options other than `checkpoint` are ignored.
        name: name of the encoder, for the error line.

    Raises:
        InputError: the encoder has no text tower.
    """
    if not uri.startswith(SCHEME):
        raise InputError(f"'{name}' ({uri or 'not in this evaluation'}) has no text tower; set one with 'text'")
    model, _, query = uri.partition("?")
    checkpoint = [part for part in query.split("&") if part.startswith("checkpoint=")]
    return "?".join([model, *checkpoint])


class OpenClipText(TextTower):
    """The text tower of an open_clip model, and its visual projection if that is a single matrix.

    Args:
        model: an open_clip model; its image tower is removed.
        tokenizer: tokenizer of the model.
        spec: the text that names the tower, for error lines.
    """

    def __init__(self, model: Any, tokenizer: Any, spec: str) -> None:
        self._spec, self._model, self._tokenizer = spec, model.eval(), tokenizer
        self._projection = _visual_projection(model.visual)
        del model.visual
        self.dim = self.embed(["a"]).shape[1]

    @torch.inference_mode()
    def embed(self, texts: Sequence[str]) -> Float[np.ndarray, "n d"]:
        device = next(self._model.parameters()).device
        batches = [self._tokenizer(list(texts[start : start + _BATCH])) for start in range(0, len(texts), _BATCH)]
        vectors = [self._model.encode_text(batch.to(device), normalize=True).float().cpu() for batch in batches]
        return torch.cat(vectors).numpy()

    def project(self, cls: Float[np.ndarray, "n w"]) -> Float[np.ndarray, "n d"]:
        if self._projection is None:
            raise InputError(f"text '{self._spec}': its visual projection is not a single matrix")
        weight, bias = self._projection
        if cls.shape[1] != weight.shape[0]:
            raise InputError(
                f"text '{self._spec}': its visual projection takes {weight.shape[0]}-d vectors, not {cls.shape[1]}-d"
            )
        return cls @ weight + bias


def _visual_projection(visual: nn.Module) -> tuple[np.ndarray, np.ndarray | float] | None:
    """Weight `(w, D)` and bias: `proj` of open_clip's own image towers, `head.proj` of timm's; None for others."""
    own = getattr(visual, "proj", None)
    if isinstance(own, Tensor):
        return own.detach().float().cpu().numpy(), 0.0
    linear = getattr(getattr(visual, "head", None), "proj", None)
    if isinstance(linear, nn.Linear):
        bias = 0.0 if linear.bias is None else linear.bias.detach().float().cpu().numpy()
        return linear.weight.detach().float().cpu().numpy().T, bias
    return None


def _open_clip_tower(spec: str, device: torch.device) -> OpenClipText:
    open_clip = import_open_clip(f"text '{spec}'")
    name, _, query = spec.removeprefix(SCHEME).partition("?")
    architecture, _, pretrained = name.partition("/")
    options = dict(parse_qsl(query.replace("+", "%2B"), keep_blank_values=True))
    for key in options:
        if key != "checkpoint":
            raise InputError(f"text '{spec}': unknown option '{key}'{nearest(key, ['checkpoint'])}")
    if architecture not in open_clip.list_models():
        close = nearest(architecture, open_clip.list_models())
        raise InputError(f"text '{spec}': open_clip has no model '{architecture}'{close}")
    checkpoint = options.get("checkpoint")
    if checkpoint is not None and not Path(checkpoint).expanduser().is_file():
        raise InputError(f"text '{spec}': no such file: {checkpoint}")
    tags = open_clip.list_pretrained_tags_by_model(architecture)
    if checkpoint is None and pretrained not in tags:
        raise InputError(f"text '{spec}': '{architecture}' has no weights '{pretrained}'{nearest(pretrained, tags)}")
    weights = str(Path(checkpoint).expanduser()) if checkpoint else pretrained
    # Weights that were trained with QuickGELU give slightly wrong vectors with the exact GELU.
    quick = bool((open_clip.get_pretrained_cfg(architecture, pretrained) or {}).get("quick_gelu", False))
    try:
        model = open_clip.create_model(
            architecture, pretrained=weights, device=device, weights_only=True, force_quick_gelu=quick
        )
        return OpenClipText(model, open_clip.get_tokenizer(architecture), spec)
    except Exception as error:  # open_clip raises many kinds for the network, a damaged file or other weights
        raise InputError(f"text '{spec}': cannot load it ({reason_of(error, 200)})") from None


def import_open_clip(where: str) -> ModuleType:
    try:
        import open_clip
    except ImportError:
        raise InputError(f"{where}: needs open_clip; run: pip install open_clip_torch") from None
    return open_clip
