"""Any torch module as a frozen encoder, with the options `size`, `mean`, `std` and `num_prefix_tokens` of its URI."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypedDict

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unic import trust
from unic.encoders import Spec
from unic.encoders._outputs import OutputReader
from unic.encoders.base import IMAGENET_MEAN, IMAGENET_STD, Encoder, check_multiple
from unic.errors import InputError, reason_of
from unic.tokens import Tokens

OPTIONS = ("size", "mean", "std", "num_prefix_tokens")


def require_trust(spec: Spec, what: str) -> None:
    """Refuses to run foreign code unless the URI has `trust_remote_code=true` and the user trusts the URI."""
    if not spec.flag("trust_remote_code", False):
        raise InputError(f"encoder '{spec.uri}': {what} is code; if you trust it, add trust_remote_code=true")
    trust.require(f"encoder '{spec.uri}'", spec.uri)


class ModuleOptions(TypedDict):
    """Keyword arguments of `ModuleEncoder`."""

    input_size: tuple[int, int]
    mean: Sequence[float]
    std: Sequence[float]
    num_prefix_tokens: int | None


def read_options(spec: Spec) -> ModuleOptions:
    """The options of the URI; defaults are 224 pixels and ImageNet's mean and std."""
    num_prefix = spec.options.get("num_prefix_tokens")
    if num_prefix is not None and not num_prefix.isdigit():
        raise InputError(f"encoder '{spec.uri}': option 'num_prefix_tokens' must be a number, not '{num_prefix}'")
    mean, std = spec.mean_std(IMAGENET_MEAN, IMAGENET_STD)
    return {
        "input_size": spec.size("size", (224, 224)),
        "mean": mean,
        "std": std,
        "num_prefix_tokens": None if num_prefix is None else int(num_prefix),
    }


class ModuleEncoder(Encoder):
    """A module whose `forward_features`, or else `forward`, returns an output that `OutputReader` can read.

    Args:
        module: the module, which is put into evaluation mode.
        where: start of an error line.
        input_size: height and width of the module's input.
        mean: mean of each channel, for images in [0, 1].
        std: standard deviation of each channel, for images in [0, 1].
        num_prefix_tokens: number of tokens before the patches; default: the module's own, else from its output.
        description: tells this module from others with the same weights; part of the fingerprint.

    Raises:
        InputError: the module does not return tokens at this size.
    """

    def __init__(
        self,
        module: nn.Module,
        where: str,
        *,
        input_size: tuple[int, int],
        mean: Sequence[float],
        std: Sequence[float],
        num_prefix_tokens: int | None = None,
        description: str = "",
    ) -> None:
        super().__init__(mean, std)
        self.module: Any = module.eval()
        self.input_size = input_size
        self.description = description
        self.patch_size = _patch_size(module)
        if num_prefix_tokens is None:
            num_prefix_tokens = getattr(module, "num_prefix_tokens", None)
        self.reader = OutputReader(input_size, self.patch_size, num_prefix_tokens)
        self.architecture = "vit" if self.patch_size else "cnn"
        self._probe(where)

    def _probe(self, where: str) -> None:
        """Sets `embed_dim`, `patch_dim` and `has_cls` from one empty image."""
        if self.patch_size:
            check_multiple(where, self.input_size, self.patch_size)
        try:
            with torch.no_grad():
                tokens, self.has_cls = self.reader.read(self._run(torch.zeros(1, 3, *self.input_size)))
        except Exception as error:  # the code of somebody else
            size, reason = "x".join(map(str, self.input_size)), reason_of(error)[-300:]
            text = f"the module returns no tokens at size {size} ({type(error).__name__}: {reason})"
            raise InputError(f"{where}: {text}") from None
        self.embed_dim, self.patch_dim = tokens.cls.shape[-1], tokens.patches.shape[-1]

    def _run(self, x: Tensor) -> Any:
        run = getattr(self.module, "forward_features", None)
        return self.module(x) if run is None else run(x)

    def encode(self, x: Float[Tensor, "b 3 h w"]) -> Tokens:
        return self.reader.read(self._run(x))[0]

    def describe(self) -> str:
        return repr((self.description, self.reader))


def _patch_size(module: nn.Module) -> tuple[int, int] | None:
    """The attribute `patch_size`, where the ViTs of timm and DINO have it; None without one."""
    value = getattr(module, "patch_size", None) or getattr(getattr(module, "patch_embed", None), "patch_size", None)
    if isinstance(value, int):
        return value, value
    return (int(value[0]), int(value[-1])) if isinstance(value, tuple | list) and value else None
