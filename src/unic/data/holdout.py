"""Images of a source that are never trained on: `data.holdout`.

Which ones is a hash of each image's number in its set and of nothing else. So they are the same in every run, stage and
process, whatever `limit` says and however often a set is listed; and a teacher cache serves runs of all seeds.
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
    """The images of a source that are trained on, and about `share` of them that are not.

    Raises:
        InputError: a streamed source, whose images cannot be read in any order; none is left to train on.
    """
    if source.in_pieces:
        raise InputError(
            f"data '{source.path}': data.holdout needs images that can be read in any order; a streamed source cannot"
        )
    numbers = torch.tensor([source.number(index) for index in range(len(source))])
    is_held_out = (rng.uniform(_HELD_OUT, numbers) < share).numpy()
    if is_held_out.all():
        raise InputError(
            f"data '{source.path}': data.holdout={share:g} leaves none of {len(source)} images to train on"
        )
    trained, held_out = (Selection(source.path, source, np.flatnonzero(part)) for part in (~is_held_out, is_held_out))
    return trained, held_out
