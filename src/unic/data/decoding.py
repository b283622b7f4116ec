"""The work of a data worker: makes a batch of decoded views from its request."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import UInt8
from torch import Tensor

from unic.data._bounds import pixels_up_to
from unic.data.augment import Augmentation, resized
from unic.data.batch import Batch, DamagedImage, Request
from unic.data.decode import decode_part
from unic.data.mix import Mix
from unic.data.sources import DamagedImageError, Source
from unic.data.workers import Answer
from unic.errors import InputError

_MAX_SUBSTITUTES = 1000  # damaged images in a row after which the run ends


@dataclass(frozen=True)
class Decoder:
    """Makes a `Batch` from a request. A call, in a worker, returns its arrays, or an `InputError` instead.

    Attributes:
        images: any source.
        augmentation: its crop is done here.
        seed: seed of the run; first key of the random numbers.
        mix: how views are mixed with those of other images; None: they are not mixed.
        substitute: replace a damaged image by the next readable one; False: leave it out.
    """

    images: Source
    augmentation: Augmentation
    seed: int
    mix: Mix | None
    substitute: bool

    def __call__(self, request: Request) -> Answer:
        try:
            batch = self.batch(request)
        except InputError as error:  # a mistake of the user, raised in the main process without a traceback
            return error, None
        return (batch.index.numpy(), batch.view.numpy(), batch.damaged), batch.images.numpy()

    def batch(self, request: Request) -> Batch:
        """Decodes the views of a request.

        Raises:
            InputError: a streamed set cannot be fetched, or with `substitute` no image can be read.
        """
        size = (request.size, request.size) if isinstance(request.size, int) else request.size
        views = torch.empty(len(request.indices), 3, *size, dtype=torch.uint8)
        indices: list[int] = []
        keys: list[int] = []
        damaged: list[DamagedImage] = []
        for index, key in zip(request.indices, request.keys, strict=True):
            with pixels_up_to(self.images.max_pixels):
                decoded = self._view(index, key, size, damaged)
            if decoded is None and self.substitute:
                last = damaged[-1]
                raise InputError(
                    f"data '{self.images.path}': no image can be read; the last was {last.name} ({last.reason})"
                )
            if decoded is not None:
                index, views[len(indices)] = decoded
                indices.append(index)
                keys.append(key)
        return Batch(
            views[: len(indices)],
            torch.tensor(indices, dtype=torch.int64),
            torch.tensor(keys, dtype=torch.int64),
            damaged,
        )

    def _view(
        self, index: int, key: int, size: tuple[int, int], damaged: list[DamagedImage]
    ) -> tuple[int, Tensor] | None:
        """Index and view of the image, or with `substitute` of the next readable one; fills `damaged`."""
        tries = min(len(self.images), _MAX_SUBSTITUTES) if self.substitute else 1
        for candidate in range(index, index + tries):
            candidate %= len(self.images)
            try:
                return candidate, self._mixed(candidate, key, size)
            except DamagedImageError as error:
                damaged.append(DamagedImage(candidate, self.images.name(candidate), str(error)))
        return None

    def _mixed(self, index: int, key: int, size: tuple[int, int]) -> UInt8[Tensor, "3 h w"]:
        own = self._cropped(index, key, size)
        if self.mix is None:
            return own
        first, length = self.images.siblings(index)
        partner = self.mix.partner(self.seed, key, index, length)
        if partner is None:
            return own
        try:
            other = self._cropped(first + partner, key, size)
        except DamagedImageError:  # reported when this image is read for itself
            return own
        return self.mix(own, other, self.seed, key, index)

    def _cropped(self, index: int, key: int, size: tuple[int, int]) -> UInt8[Tensor, "3 h w"]:
        stored = self.images.encoded(index) if self.augmentation.scale is not None else None
        if stored is None:
            return self.augmentation.crop(self.images.read(index), self.seed, key, index, size)
        part = partial(self.augmentation.box, seed=self.seed, view=key, index=index)
        return resized(*decode_part(stored, part, size), size)
