"""What synthesised images are optimised for: embeddings that do not repeat one another, and smooth pixels.

After IDeaL (ECCV 2026): the embeddings of a pool are decorrelated over images and over patches, at all depths, under
total variation. The measure of repetition, a mean squared cosine, is ours.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from unic.encoders import Encoder
from unic.tokens import Tokens


def redundancy(vectors: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    """Mean squared cosine between different rows, after the mean row is taken away: 0 where all are orthogonal, 1 where
    all lie on one line.

    Args:
        vectors: at least two rows.
    """
    centred = F.normalize(vectors - vectors.mean(0), dim=1)
    count = len(vectors)
    squares = (centred @ centred.T).square()
    return (squares.sum() - squares.diagonal().sum()) / (count * (count - 1))


def total_variation(images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, ""]:
    """Mean absolute difference between neighbouring pixels (Rudin, Osher and Fatemi 1992, anisotropic)."""
    return images.diff(dim=2).abs().mean() + images.diff(dim=3).abs().mean()


def levels(encoder: Encoder, images: Float[Tensor, "b 3 h w"]) -> list[Tokens]:
    """Tokens of every block of an encoder; of one whose blocks cannot be read, its output.

    Args:
        encoder: frozen; gradients reach the images.
        images: in [0, 1].
    """
    if encoder.block_dims:
        return [tokens.float() for tokens in encoder.intermediates(images, range(len(encoder.block_dims)))]
    return [encoder(images)]


def repetition(level: Tokens, draws: Float[Tensor, " m"]) -> Float[Tensor, ""]:
    """Redundancy of CLS over images, and of patches over images and places, in equal parts.

    Args:
        level: tokens of several images.
        draws: uniform numbers in [0, 1) that choose the patches: all of them would make too large a matrix.
    """
    patches = level.patches.flatten(0, 1)
    rows = torch.unique((draws * len(patches)).long().clamp(max=len(patches) - 1))
    return (redundancy(level.cls) + redundancy(patches[rows])) / 2
