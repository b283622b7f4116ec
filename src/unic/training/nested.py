"""Nested widths (`student.widths`): the first d channels of the student's CLS and patches are features of their own.

Matryoshka representation learning (Kusupati et al., arXiv 2205.13147), with several teachers as in Pathryoshka (arXiv
2511.23204): the loss is the mean over the full width and each given one. At a width d the projector reads the first d
channels of the last block, which is what a user cuts out of the exported features, and nothing else. The other channels
are 0. In front of a linear layer W that is the layer W[:, :d], so all widths share one projector (MRL-E), of any kind.
Inner blocks are left out: a ladder could find in them what the first d channels of the last block lack.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from unic.encoders import Encoder
from unic.errors import InputError
from unic.tokens import Tokens


def first_channels(tokens: Tokens, width: int) -> Tokens:
    """The same tokens with 0 in all channels but the first `width`."""
    return Tokens(_only_first(tokens.cls, width), _only_first(tokens.patches, width), tokens.grid)


def _only_first(x: Tensor, width: int) -> Tensor:
    return F.pad(x[..., :width], (0, x.shape[-1] - width))


def check_widths(widths: Sequence[int], student: Encoder) -> None:
    """Refuses widths that cut nothing off.

    Raises:
        InputError: the student's CLS or patches have no more channels than that.
    """
    full = min(student.embed_dim, student.patch_dim)
    for width in widths:
        if width >= full:
            kinds = "" if student.embed_dim == student.patch_dim else f" (CLS {student.embed_dim}, patches {full})"
            raise InputError(f"recipe: 'student.widths': {width} is not below the student's width, {full}{kinds}")
