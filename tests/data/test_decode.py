"""Every kind of picture comes out RGB and upright; everything else is a `DamagedImageError` with a reason."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unic.data._bounds import pixels_up_to
from unic.data.augment import resized
from unic.data.decode import decode, decode_part
from unic.data.sources.base import DamagedImageError


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def pixel(image: Image.Image, x: int = 0, y: int = 0) -> tuple[int, ...]:
    assert image.mode == "RGB"
    return image.getpixel((x, y))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "TGA"])
def test_formats(kind):
    image = decode(encoded(Image.new("RGB", (20, 10), (200, 30, 60)), kind))
    assert image.size == (20, 10)
    np.testing.assert_allclose(pixel(image), (200, 30, 60), atol=8)


def test_cmyk():
    image = decode(encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG"))
    red, green, blue = pixel(image)
    assert red > 200
    assert max(green, blue) < 80


def test_sixteen_bits_are_scaled_not_clipped():
    values = np.array([[0, 257 * 100, 65535]], dtype=np.uint16)
    assert np.asarray(decode(encoded(Image.fromarray(values))))[0, :, 0].tolist() == [0, 100, 255]


def test_float_tiff():
    values = np.array([[0.0, 0.5, 1.0]], dtype=np.float32)
    assert np.asarray(decode(encoded(Image.fromarray(values), "TIFF")))[0, :, 1].tolist() == [0, 127, 255]


def test_alpha_is_laid_over_white():
    assert pixel(decode(encoded(Image.new("RGBA", (4, 4), (255, 0, 0, 0))))) == (255, 255, 255)
    assert pixel(decode(encoded(Image.new("LA", (4, 4), (0, 128))))) == (127, 127, 127)


def test_palette_with_alpha():
    image = Image.new("P", (4, 4), 0)
    image.putpalette([0, 0, 255, 10, 20, 30])
    image.putpixel((1, 0), 1)
    decoded = decode(encoded(image, transparency=b"\x00\xff"))
    assert pixel(decoded) == (255, 255, 255)
    assert pixel(decoded, 1) == (10, 20, 30)


def test_exif_rotation():
    image = Image.new("RGB", (30, 10), "black")
    image.paste("white", (0, 0, 10, 10))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90° clockwise to view
    decoded = decode(encoded(image, "JPEG", exif=exif))
    assert decoded.size == (10, 30)
    assert pixel(decoded, 5, 2)[0] > 200


def test_broken_exif_keeps_the_picture():
    data = encoded(Image.new("RGB", (8, 8)), "JPEG", exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff")
    assert decode(data).size == (8, 8)


def test_animation_gives_its_first_frame():
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    assert pixel(decode(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]))) == (255, 0, 0)


def test_wrong_suffix_is_decoded_by_content(tmp_path: Path):
    file = tmp_path / "really_a_png.jpg"
    file.write_bytes(encoded(Image.new("RGB", (8, 8))))
    assert decode(file).size == (8, 8)


def test_damage_has_a_reason(tmp_path: Path):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    with pytest.raises(DamagedImageError, match="^empty file$"):
        decode(b"")
    with pytest.raises(DamagedImageError, match="known format"):
        decode(b"<html>404</html>")
    for kind in ("JPEG", "PNG", "WEBP"):
        whole = encoded(noise, kind)
        with pytest.raises(DamagedImageError, match=r"\w"):
            decode(whole[: len(whole) // 2])
    with pytest.raises(DamagedImageError, match="No such file"):
        decode(tmp_path / "gone.png")


def test_what_is_larger_than_allowed_is_refused():
    data = encoded(Image.new("L", (40, 40)))
    with (
        pixels_up_to(1599),
        pytest.raises(DamagedImageError, match="more than data.max_pixels = 1599$"),
    ):
        decode(data)
    with pixels_up_to(1600):
        assert decode(data).size == (40, 40)


def test_postscript_is_not_run():
    with pytest.raises(DamagedImageError, match="known format"):
        decode(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n")


def detailed(width: int, height: int) -> Image.Image:
    """Hard edges of every size, which is where a small decode shows most."""
    noise = np.random.default_rng(0).integers(0, 256, (height // 16, width // 16, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((width, height), Image.Resampling.NEAREST)


def test_a_part_comes_at_the_smallest_size_that_is_enough():
    data = encoded(detailed(800, 640), "JPEG", quality=95)
    for side, factor in ((300, 1), (180, 2), (100, 4), (50, 8), (10, 8)):
        image, box = decode_part(data, lambda width, height: (width - 640, 0, width, height), (side, side))
        assert image.size == (800 // factor, 640 // factor)
        assert box == (160 // factor, 0, 800 // factor, 640 // factor)


def test_a_small_part_or_another_format_comes_in_full():
    for kind, part in (("JPEG", (10, 20, 110, 120)), ("PNG", (0, 0, 800, 640))):
        data = encoded(detailed(800, 640), kind)
        image, box = decode_part(data, lambda *_, part=part: part, (80, 80))
        assert box == part
        assert np.array_equal(np.asarray(image), np.asarray(decode(data)))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_part_of_a_turned_photograph(orientation):
    """The view of the small decode is that of the full one: at least 36 dB on hard edges, whichever way it lies."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(detailed(800, 640), "JPEG", exif=exif, quality=95)
    whole = decode(data)
    image, box = decode_part(data, lambda width, height: (40, 80, width - 80, height - 40), (64, 64))
    factor = round(whole.width / image.width)
    assert factor == 4
    small = resized(image, box, (64, 64)).double()
    full = resized(whole, tuple(edge * factor for edge in box), (64, 64)).double()
    assert 10 * np.log10(255**2 / ((small - full) ** 2).mean().item()) > 36


def test_damage_of_a_part_has_a_reason():
    whole = encoded(detailed(800, 640), "JPEG")
    with pytest.raises(DamagedImageError, match="truncated"):
        decode_part(whole[: len(whole) // 2], lambda *size: (0, 0, *size), (32, 32))
