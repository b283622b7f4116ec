"""`Encoder(images) -> Tokens`: a teacher, a student and an evaluated model are the same thing.

An encoder takes images `(B, 3, H, W)` in [0, 1] at any size and owns its resizing, normalisation and precision.
A source of encoders is one file in this package whose `load(spec)` returns an `Encoder`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Real, UInt8
from torch import Tensor, nn

from unic.digest import sha256_of_each
from unic.encoders._own_model import modules_of
from unic.errors import InputError
from unic.own_code import OwnCode, own_code
from unic.tokens import Grid, Tokens

Precision = Literal["fp32", "bf16"]
Size = tuple[int, int]
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
NORMALISATIONS = {
    "imagenet": (IMAGENET_MEAN, IMAGENET_STD),
    "clip": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),  # of OpenAI
}
"""Usual pairs of mean and std, for images in [0, 1], by the name that stands for each in a URI."""
NO_LICENCE = ""
"""The licence of what needs none: random weights, raw pixels."""
UNKNOWN = "unknown"
"""Stands for an unknown licence in the licence of an exported student."""
_OVERSHOOT = 0.25  # a sharp resizing may leave [0, 1] by this much; normalised images leave it by more


class Encoder(nn.Module, ABC):
    """The common interface. Subclasses set the attributes and implement `encode`.

    A subclass that can be a student also overrides `encode_blocks` and perhaps `checkpoint_activations`. One that can
    take other image sizes overrides `grid_at`. `describe` and `library_input` are optional.

    Attributes:
        uri: the URI of the encoder, as the user wrote it.
        embed_dim: width of the CLS vector. A CNN's CLS is the pooled vector that its exported model returns.
        patch_dim: width of a patch vector.
        input_size: height and width of the network's input.
        has_cls: False if the model has no CLS token and `cls` is a pooled vector.
        architecture: "vit" or "cnn"; decides the automatic precision.
        licence: SPDX name of the weights' licence; None if it is unknown; `NO_LICENCE` if there is nothing to license.
        revision: exact version of the weights if the source has one (a commit of the Hugging Face hub).
        code: hash of the user's own code behind the model, part of the fingerprint. Schemes that know more about the
            code than the classes of the model tell set it; otherwise it is computed from these classes. Empty for a
            library's model.
        unknown: things that `code` does not cover, see `unidentified`.
        matched: tokens of a kept head that are in its teacher's space: "both", "cls" or "patches".
        block_dims: width of CLS and patches after each block (CNN: stage); empty if it cannot be a student.
        from_scratch: True if the weights are random, as at a student's start.
        channels_last: True if the network's input is kept in channels_last (CNNs).
        can_compile: False if torch.compile would break the graph nearly everywhere.
        precision: "fp32" or "bf16" (autocast), see `unic.encoders.pick_precision`.
    """

    uri: str = ""
    embed_dim: int
    patch_dim: int
    input_size: tuple[int, int]
    has_cls: bool = True
    architecture: Literal["vit", "cnn"] = "vit"
    licence: str | None = None
    revision: str | None = None
    code: str = ""
    unknown: str = ""
    _own: OwnCode | None = None  # computed where the scheme has set neither `code` nor `unknown`
    matched: Literal["both", "cls", "patches"] = "both"
    block_dims: Sequence[tuple[int, int]] = ()
    from_scratch: bool = False
    channels_last: bool = False
    can_compile: bool = True
    precision: Precision = "fp32"
    _fingerprint: str | None = None  # set by `round_weights`, from before the rounding
    _has_seen_images: bool = False
    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        # Not persistent: preprocessing is part of the encoder's description, not of its weights.
        self.register_buffer("mean", torch.tensor(list(mean)).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(list(std)).view(1, 3, 1, 1), persistent=False)

    @abstractmethod
    def encode(self, x: Float[Tensor, "b 3 h w"]) -> Tokens:
        """Tokens after the final norm.

        Args:
            x: resized and normalised images, as `prepare` returns them.
        """

    def encode_blocks(self, x: Float[Tensor, "b 3 h w"], blocks: Sequence[int]) -> list[Tokens]:
        """Tokens after each of several blocks, from one forward pass.

        Args:
            x: resized and normalised images, as `prepare` returns them.
            blocks: 0-based indices into `block_dims`, ascending.

        Raises:
            TypeError: the encoder gives no access to its blocks.
        """
        raise TypeError(f"{self.uri}: {type(self).__name__} has no blocks to read, so it cannot be a student")

    def checkpoint_activations(self) -> None:
        """Saves memory in training: each block keeps only its inputs and is computed again in the backward pass.

        Gradients stay the same; the running statistics of a batch norm are updated twice in each step.

        Raises:
            InputError: the network does not support it.
        """
        raise InputError(f"student '{self.uri}': this model does not support train.checkpoint_activations")

    def grid_at(self, size: Size) -> Grid | None:
        """Prepares the network for images of another size, in addition to its own.

        Args:
            size: height and width in pixels.

        Returns:
            Rows and columns of the patches at that size; None if the network cannot take it.
        """
        return None

    def prepare(self, images: Float[Tensor, "b 3 h w"], size: Size | None = None) -> Float[Tensor, "b 3 h2 w2"]:
        """Resizes images and normalises them.

        Args:
            images: floats in [0, 1].
            size: height and width of the result; default: `input_size`. Call `grid_at` first for any other size.
        """
        x = (resize(images, size or self.input_size) - self.mean) / self.std
        return x.contiguous(memory_format=torch.channels_last) if self.channels_last else x

    def forward(self, images: Float[Tensor, "b 3 h w"], size: Size | None = None) -> Tokens:
        """Tokens of images.

        Args:
            images: floats in [0, 1], of any size.
            size: see `prepare`.

        Returns:
            Tokens in float32.

        Raises:
            InputError: integer images; at the first call, values far outside [0, 1].
        """
        self._check(images)
        with self._autocast(images):
            return self.encode(self.prepare(images, size)).float()

    def intermediates(
        self, images: Float[Tensor, "b 3 h w"], blocks: Sequence[int], size: Size | None = None
    ) -> list[Tokens]:
        """Tokens after each of several blocks, shallow to deep.

        Args:
            images: floats in [0, 1], of any size.
            blocks: 0-based indices into `block_dims`, ascending.
            size: see `prepare`.

        Raises:
            InputError: as of `forward`.
        """
        self._check(images)
        with self._autocast(images):
            return self.encode_blocks(self.prepare(images, size), blocks)

    def _check(self, images: Tensor) -> None:
        """Refuses images that are not floats in [0, 1]. The range is read once only, as that waits for the device."""
        if not images.is_floating_point():
            raise InputError(
                f"{self._where()}: expected images as floats in [0, 1], not {images.dtype}; divide 0…255 by 255"
            )
        # Where it compiles, the URI must not be looked at: a graph would hold for the encoder of this name alone.
        if torch.compiler.is_compiling() or self._has_seen_images or not images.numel():
            return
        low, high = torch.stack(torch.aminmax(images.detach())).tolist()
        if low < -_OVERSHOOT or high > 1 + _OVERSHOOT:
            raise InputError(
                f"{self._where()}: expected images in [0, 1], not from {low:.3g} to {high:.3g}; "
                "the encoder normalises them itself"
            )
        self._has_seen_images = True

    def _where(self) -> str:
        return f"encoder '{self.uri or type(self).__name__}'"

    def _autocast(self, images: Tensor) -> torch.autocast:
        return torch.autocast(images.device.type, torch.bfloat16, enabled=self.precision == "bf16")

    def round_weights(self) -> Encoder:
        """Rounds linear and convolution weights to bf16 once, as autocast would in every forward pass.

        For a frozen encoder in bf16; another one stays as it is. Outputs and fingerprint stay the same bit for bit, and
        the weights take half the memory.
        """
        if self.precision == "bf16":
            self._fingerprint = self.fingerprint()
            for module in self.modules():
                # Subclasses are left alone: they may use their weights in other ways.
                if type(module) in (nn.Linear, nn.Conv2d):
                    module.to(torch.bfloat16)
        return self

    def freeze(self) -> Encoder:
        """Puts the encoder into evaluation mode without gradients, as a teacher or a measured model."""
        return self.eval().requires_grad_(False)

    def num_parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters())

    def fingerprint(self) -> str:
        """Hash of everything that decides the output: weights, preprocessing, size, precision, code (not the URI)."""
        if self._fingerprint is not None:
            return self._fingerprint
        return sha256_of_each(self._decisive())[:16]

    def _decisive(self) -> Iterator[str | bytes]:
        """The parts that the fingerprint hashes."""
        described = (type(self).__name__, self.input_size, self.mean.flatten().tolist(), self.std.flatten().tolist())
        yield repr((*described, self.precision, self.describe(), self._find_code()))
        for name, tensor in sorted(self.state_dict().items()):
            yield name
            yield tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()

    def unidentified(self) -> str:
        """Things that the output depends on beyond the fingerprint, as the end of a sentence "it depends on …".

        Empty if the fingerprint covers everything. Otherwise no output of the encoder is cached.
        """
        if self._own is None:
            self._find_code()
        return self.unknown or (self._own.unknown if self._own else "")

    def _find_code(self) -> str:
        if self.code or self.unknown:
            return self.code
        self._own = own_code(modules_of(self))
        return self._own.digest if self._own.files or self._own.unknown else ""

    def library_input(self, image: UInt8[np.ndarray, "h w 3"]) -> Real[Tensor, "1 3 h w"] | None:
        """The image after the preprocessing of the model's own library; None without one.

        Args:
            image: RGB, of the input size.
        """
        return None

    def normalisation_error(self) -> float | None:
        """Largest difference between `prepare` and `library_input` on a random image; None without a library.

        A value above 1e-4 means that range, mean, std or channel order is wrong. Resizing is not compared, because unic
        resizes for every encoder.
        """
        image = np.random.default_rng(0).integers(0, 256, (*self.input_size, 3), dtype=np.uint8)
        theirs = self.library_input(image)
        if theirs is None:
            return None
        ours = self.prepare(torch.from_numpy(image).permute(2, 0, 1)[None].to(self.mean.device) / 255)
        return float((ours.cpu() - theirs).abs().max())

    def describe(self) -> str:
        """Further settings that change the output but are not tensors (architecture, tap, channel order)."""
        return ""


def resize(images: Float[Tensor, "b 3 h w"], size: tuple[int, int]) -> Float[Tensor, "b 3 h2 w2"]:
    """Resizes images, bicubic and anti-aliased; does not keep the aspect ratio, as views are square."""
    if tuple(images.shape[-2:]) == size:
        return images
    return F.interpolate(images, size, mode="bicubic", antialias=True, align_corners=False).clamp(0, 1)


def check_multiple(where: str, size: tuple[int, int], patch_size: tuple[int, int]) -> None:
    """Refuses a size that is not a multiple of the patch size, and names the nearest ones that are.

    Args:
        where: start of the error line.
        size: height and width of the image in pixels.
        patch_size: height and width of a patch in pixels.

    Raises:
        InputError: a side would cut patches off.
    """
    for side, step in zip(size, patch_size, strict=True):
        if side % step:
            valid = " or ".join(str(times * step) for times in (side // step, side // step + 1) if times)
            raise InputError(f"{where}: size {side} is not a multiple of the patch size {step}; use {valid}")
