"""The forward pass over a set of images, batch by batch, and the cache key of its features."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float
from torch import Tensor

from unic.cores import beside
from unic.data import augment as augmentations
from unic.data.batch import Batch
from unic.data.loader import view_batches
from unic.data.mix import Mix
from unic.data.sources import Source
from unic.data.sources.base import MAX_PIXELS
from unic.digest import sha256_of_value
from unic.encoders.base import Encoder
from unic.errors import InputError
from unic.features.entry import Tally
from unic.features.patches import Dtype, overflows, store
from unic.features.store import BatchFeatures, advance
from unic.tokens import Grid, Tokens, side_by_side

log = logging.getLogger("unic")

ProgressCallback = Callable[[int, int], None]
"""Called with the number of images done and of all images."""

FORMAT = 1  # raise it when the meaning of a stored number changes
_DRAWN = 2  # raise it when the pixels of random views change

_identities: WeakKeyDictionary[Encoder, int] = WeakKeyDictionary()  # of encoders that a hash cannot tell apart
_next = itertools.count()


@dataclass(frozen=True)
class Extraction:
    """The arguments of `unic.features.extract` except `cache`, and four more.

    Attributes:
        span: index of the first image and of the one after the last; None: all images.
        known: fingerprints of the encoder and of the images, if the caller has computed them (each reads every byte).
        mix: how views are mixed with those of other images; None: they are not mixed.
        plain: leave out the augmentation's changes of colour.
    """

    encoder: Encoder
    images: Source
    size: int | None = None
    augment: str = "none"
    seed: int = 0
    view: int = 0
    patch_grid: Grid | Literal["own"] | None = None
    blocks: Sequence[int] = ()
    batch_size: int = 64
    workers: int = 0
    dtype: Dtype = "fp16"
    progress: ProgressCallback | None = None
    span: tuple[int, int] | None = None
    known: tuple[str, str] | None = None
    mix: Mix | None = None
    plain: bool = False

    @property
    def device(self) -> torch.device:
        return self.encoder.mean.device

    def __len__(self) -> int:
        return self.span[1] - self.span[0] if self.span else len(self.images)

    @cached_property
    def key(self) -> str:
        """Hash of everything that decides the values. Which of them are stored is the `layout`."""
        view = self.augmentation
        drawn = (self.seed, self.view, _DRAWN) if view.is_random or self.mix else None
        size = self.size or self.encoder.input_size
        encoder, images = self.known or (self.encoder.fingerprint(), self.images.fingerprint())
        described: tuple[Any, ...] = (FORMAT, encoder, images, size, repr(view), drawn)
        described += (tuple(self.blocks),) if self.blocks else ()
        described += ("span", *self.span) if self.span else ()
        described += ("pixels", self.images.max_pixels) if self.images.max_pixels != MAX_PIXELS else ()
        described += (repr(self.mix),) if self.mix else ()
        if self.encoder.unidentified():  # equal to itself only
            described += (_identities.setdefault(self.encoder, next(_next)),)
        return sha256_of_value(described)[:24]

    @property
    def augmentation(self) -> augmentations.Augmentation:
        whole = augmentations.preset(self.augment)
        return whole.plain() if self.plain else whole

    @property
    def layout(self) -> str:
        """How patches are stored: `pooled` (their mean only), or their grid and type."""
        if self.patch_grid is None:
            return "pooled"
        grid = "own" if self.patch_grid == "own" else f"{self.patch_grid[0]}x{self.patch_grid[1]}"
        return f"{grid}-{self.dtype}"

    @property
    def entry(self) -> str:
        """Name of the entry's folder in the cache."""
        return f"{self.key}-{self.layout}"

    def batches(self, first: int) -> Iterator[Batch]:
        return view_batches(
            self.images, size=self.size or self.encoder.input_size, augment=self.augment, seed=self.seed,
            key=self.view, batch_size=self.batch_size, workers=self.workers,
            first=first + (self.span[0] if self.span else 0), last=self.span[1] if self.span else None,
            mix=self.mix, pin_memory=self.device.type == "cuda",
        )  # fmt: skip

    def tokens(self, views: Tensor) -> Tokens:
        if not self.blocks:
            return self.encoder(views).float()
        return side_by_side(self.encoder.intermediates(views, self.blocks)).float()

    def forward(self, first: int) -> Iterator[BatchFeatures]:
        """Yields the features of each batch, from the image at `first` of the span on.

        Raises:
            InputError: an output is not finite, or none of all images can be read.
        """
        done = Tally(images=first)
        for batch in self.batches(first):
            with beside(self.workers):
                features = self.features_of(batch)
            yield features
            advance(done, features)
            if self.progress is not None:
                self.progress(done.images, len(self))
        if not self.span and not first and not done.rows:
            reason = f"; {done.damaged[0].name}: {done.damaged[0].reason}" if done.damaged else ""
            raise InputError(f"data '{self.images.path}': no image can be read{reason}")

    def features_of(self, batch: Batch) -> BatchFeatures:
        if not len(batch):
            return BatchFeatures({}, None, batch.damaged)
        images = batch.images.to(self.device, non_blocking=True)
        views = self.augmentation(images, self.seed, batch.view, batch.index)
        tokens = self.tokens(views)
        arrays = {
            "cls": self._checked(tokens.cls, batch).cpu().numpy(),
            "patch_mean": self._checked(tokens.patch_mean(), batch).cpu().numpy(),
            "index": batch.index.numpy(),
        }
        if self.patch_grid is None:
            return BatchFeatures(arrays, None, batch.damaged)
        tokens = tokens if self.patch_grid == "own" else tokens.to_grid(self.patch_grid)
        arrays |= store(self._checked(tokens.patches, batch), self.dtype)
        if cut := overflows(tokens.patches, self.dtype):
            log.warning(
                "%s: %d patch values in the batch of %s exceed fp16 and are clipped to ±65504; set dtype: fp32",
                self.encoder.uri or "encoder", cut, self.images.name(int(batch.index[0])),
            )  # fmt: skip
        return BatchFeatures(arrays, tokens.grid, batch.damaged)

    def _checked(self, values: Float[Tensor, "b ..."], batch: Batch) -> Float[Tensor, "b ..."]:
        """The same values, still on the device."""
        finite = values.isfinite().flatten(1).all(1).tolist()
        if not all(finite):
            name = self.images.name(int(batch.index[finite.index(False)]))
            raise InputError(f"{self.encoder.uri or 'encoder'}: its output for {name} is not finite")
        return values


@contextmanager
def evaluating(encoder: Encoder) -> Iterator[None]:
    """Puts an encoder into evaluation mode without gradients, and each of its modules back into its own mode after."""
    modes = [(module, module.training) for module in encoder.modules()]
    encoder.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in modes:
            module.training = training
