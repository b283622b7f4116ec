"""Pictures of the page: small PNGs as data URIs."""

from __future__ import annotations

import base64
import io

from markupsafe import Markup
from PIL import Image, ImageOps

SIDE = 96  # pixels


def thumbnail(image: Image.Image) -> Markup:
    """The centre square as a PNG data URI, at most `SIDE` pixels wide."""
    side = min(SIDE, *image.size)
    return data_uri(ImageOps.fit(image.convert("RGB"), (side, side), Image.Resampling.LANCZOS))


def data_uri(image: Image.Image) -> Markup:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return Markup("data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode())
