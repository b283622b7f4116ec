"""Patch tokens as colours: the first three principal components as red, green and blue, on a grid that shows shapes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image

from unic.data.loader import view_batches
from unic.data.sources import Source
from unic.encoders import Encoder
from unic.errors import InputError
from unic.reporting.draw.thumbnails import SIDE, data_uri
from unic.reporting.notes import reason
from unic.tokens import Grid, Tokens

FEWEST = 12  # rows and columns that a grid needs to show shapes
_MOST = 8  # largest multiple of an encoder's own input size


def patch_rows(encoders: Mapping[str, Encoder], parts: Sequence[Source]) -> tuple[list[dict[str, Any]], list[str]]:
    """A row of pictures for each encoder, and a note for each that has none.

    An encoder whose own grid is coarser than `FEWEST` sees larger views if it can: 3 × 3 squares show nothing.

    Args:
        encoders: by name.
        parts: sources of the images, all of them readable, in the order of the pictures.
    """
    rows, notes = [], []
    for name, encoder in encoders.items():
        try:
            tokens, size = _fine_tokens(encoder, parts)
            own = encoder.input_size
            images = [
                data_uri(Image.fromarray(picture).resize((SIDE, SIDE), Image.Resampling.NEAREST))
                for picture in principal_colours(tokens.patches.cpu().numpy()).reshape(-1, *tokens.grid, 3)
            ]
            seen = "" if size == own else f"at {_times(size)} px, {size[0] // own[0]} times its own size"
            rows.append({"name": name, "grid": _times(tokens.grid), "seen": seen, "images": images})
        except Exception as error:
            notes.append(f"{name}: {reason(error)}")
    return rows, notes


def _fine_tokens(encoder: Encoder, parts: Sequence[Source]) -> tuple[Tokens, tuple[int, int]]:
    """Tokens of all images, at the smallest multiple of the input size whose grid is fine enough, and that size."""
    own = encoder.input_size
    tokens = _tokens(encoder, parts, own)
    if not min(tokens.grid):
        raise InputError("it has no patch tokens")
    factor = min(_MOST, math.ceil(FEWEST / min(tokens.grid)))
    larger = (factor * own[0], factor * own[1])
    if factor == 1 or encoder.grid_at(larger) is None:
        return tokens, own
    return _tokens(encoder, parts, larger), larger


@torch.no_grad()
def _tokens(encoder: Encoder, parts: Sequence[Source], size: tuple[int, int]) -> Tokens:
    found = [
        encoder(batch.images.to(encoder.mean.device).float() / 255, None if size == encoder.input_size else size)
        for part in parts
        for batch in view_batches(part, size=size)
    ]
    cls, patches = (torch.cat([getattr(tokens, kind) for tokens in found]) for kind in ("cls", "patches"))
    return Tokens(cls, patches, found[0].grid)


def _times(sides: Grid) -> str:
    return f"{sides[0]} × {sides[1]}"


def principal_colours(tokens: np.ndarray) -> np.ndarray:
    """`(n, N, E)` tokens as `(n, N, 3)` bytes: their first three principal components over all images."""
    flat = tokens.reshape(-1, tokens.shape[-1]).astype(np.float64)
    flat = flat - flat.mean(axis=0)
    _, _, directions = np.linalg.svd(flat, full_matrices=False)
    parts = flat @ directions[:3].T
    parts = np.pad(parts, ((0, 0), (0, 3 - parts.shape[1])))
    parts *= np.where((parts**3).sum(axis=0) < 0, -1, 1)  # the sign of a component is arbitrary, so it is fixed
    low, high = np.percentile(parts, [1, 99], axis=0)
    spread = np.where(high - low > 1e-9, high - low, 1)
    colours = np.clip((parts - low) / spread, 0, 1)
    return (255 * colours).round().astype(np.uint8).reshape(*tokens.shape[:2], 3)
