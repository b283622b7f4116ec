"""`data.holdout`: the images of a source that are never trained on.

A hash of an image's index in the whole set decides, and nothing else. So every run, stage and process holds out the
same images, for any `limit` and even if a set is listed twice, and runs of all seeds share a teacher cache.
"""

from __future__ import annotations

import numpy as np
import torch

from unic import rng
from unic.data.sources.base import Source
from unic.data.sources.selection import Selection
from unic.errors import InputError

_HELD_OUT = rng.stream("holdout")


def divided(source: Source, share: float) -> tuple[Source, Source]:
    """Divides a source into the images to train on and the images to hold out.

    Args:
        source: any source that is not streamed.
        share: expected share of the images to hold out.

    Returns:
        The images to train on, and those that are held out.

    Raises:
        InputError: the source is streamed, or no image is left to train on.
    """
    if source.in_pieces:
        raise InputError(
            f"data '{source.path}': data.holdout does not support a streamed set; images must be readable in any order"
        )
    indices = torch.tensor([source.number(index) for index in range(len(source))])
    is_held_out = (rng.uniform(_HELD_OUT, indices) < share).numpy()
    if is_held_out.all():
        raise InputError(
            f"data '{source.path}': data.holdout={share:g} holds out all {len(source)} images; set a smaller share"
        )
    trained, held_out = (Selection(source.path, source, np.flatnonzero(part)) for part in (~is_held_out, is_held_out))
    return trained, held_out
