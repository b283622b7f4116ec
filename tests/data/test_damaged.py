"""A folder full of what goes wrong with image files: nothing crashes, and all of it is listed with its reason.

Which fault an image has is in its name: `NUMBER-FAULT.jpg`.
"""

import errno
import io
import os
import re
import socket
import tarfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from unic.data.batch import DamagedImage
from unic.data.decode import decode
from unic.data.image_list import ImageList
from unic.data.loader import training_batches, view_batches
from unic.data.sources import DamagedImageError, open_source
from unic.errors import StoppedError


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def picture(mode: str = "RGB") -> Image.Image:
    draw = np.random.default_rng(0)
    if mode == "I;16":
        return Image.fromarray(draw.integers(0, 65536, (40, 48), dtype=np.uint16))
    return Image.fromarray(draw.integers(0, 256, (40, 48, 3), dtype=np.uint8)).convert(mode)


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(picture(), "JPEG", exif=exif)


def flipped(data: bytes) -> bytes:
    """One byte of the compressed pixels is another."""
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 0xFF]) + data[middle + 1 :]


def with_size(data: bytes, side: int) -> bytes:
    """A PNG whose header promises `side` × `side` pixels."""
    header = data[12:16] + side.to_bytes(4, "big") * 2 + data[24:29]
    return data[:12] + header + zlib.crc32(header).to_bytes(4, "big") + data[33:]


JPEG, PNG, WEBP, GIF = (encoded(picture(), kind) for kind in ("JPEG", "PNG", "WEBP", "GIF"))
FRAMES = {"save_all": True, "append_images": [Image.new("RGB", (48, 40), "blue")]}

# File contents that are no image, and the line that says so.
BROKEN: dict[str, tuple[bytes, str]] = {
    "zero_bytes": (b"", "^empty file$"),
    "short_jpeg": (JPEG[: len(JPEG) // 2], r"^cannot be decoded: .*truncated.*\d+ bytes"),
    "short_png": (PNG[: len(PNG) // 2], "truncated"),
    "short_webp": (WEBP[: len(WEBP) // 2], "^cannot be decoded: "),
    "short_gif": (GIF[: len(GIF) // 2], "truncated"),
    "header_only": (JPEG[:20], "known format"),
    "flipped_png": (flipped(PNG), "broken"),
    "zeros": (bytes(2000), "known format"),
    "web_page": (b"<!doctype html><title>404</title>", "known format"),
    "bomb": (with_size(PNG, 60_000), r"60000 x 60000 .*data\.max_pixels.* 200000000$"),
    "lying_header": (with_size(PNG, 200), "^cannot be decoded: "),
}  # fmt: skip

# File contents that are unusual, and images.
UNUSUAL: dict[str, bytes] = {
    "png_as_jpg": PNG,
    "cmyk": encoded(picture("CMYK"), "JPEG"),
    "grey": encoded(picture("L"), "JPEG"),
    "bits_16": encoded(picture("I;16"), "PNG"),
    "one_bit": encoded(picture("1"), "PNG"),
    "palette": encoded(picture("P"), "PNG"),
    "palette_alpha": encoded(picture("P"), "PNG", transparency=bytes(range(256))),
    "alpha": encoded(picture("RGBA"), "WEBP"),
    "turned": turned(),
    "gif": encoded(picture("P"), "GIF", **FRAMES),
    "animated_webp": encoded(picture(), "WEBP", **FRAMES),
    "trailing_garbage": JPEG + bytes(500),
}


def fault_of(name: str) -> str:
    return Path(name).stem.partition("-")[2]


def write_folder(folder: Path, count: int) -> dict[str, str]:
    """`count` files in two classes, a tenth broken, a tenth unusual. Returns the broken ones' names and faults."""
    broken = {}
    for number in range(count):
        kind, nth = number % 10, number // 10
        fault, data = "", JPEG
        if kind == 3:
            fault, (data, _) = list(BROKEN.items())[nth % len(BROKEN)]
        elif kind == 7:
            fault, data = list(UNUSUAL.items())[nth % len(UNUSUAL)]
        name = f"{'<b>cats&dogs' if number % 2 else 'birds'}/{number:05}-{fault}.jpg"
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        (folder / name).write_bytes(data)
        if kind == 3:
            broken[name] = fault
    return broken


def check_folder(folder: Path, count: int, workers: int) -> None:
    broken = write_folder(folder, count)
    images = ImageList([open_source(str(folder))])
    assert len(images) == count
    batches = list(view_batches(images, size=16, batch_size=64, workers=workers))
    assert sum(len(batch) for batch in batches) == count - len(broken)
    check_reasons(broken, [entry for batch in batches for entry in batch.damaged], folder)
    # Training keeps its shape, and one epoch comes upon every one of them.
    batches = list(
        training_batches(
            images, size=16, augment="unic", seed=0, batch_size=20, first_step=1, num_steps=count // 20, workers=workers
        )
    )
    assert {len(batch) for batch in batches} == {20}
    check_reasons(broken, [entry for batch in batches for entry in batch.damaged], folder)


def check_reasons(broken: dict[str, str], found: list[DamagedImage], folder: Path) -> None:
    reasons = {name.removeprefix(f"{folder}: "): reason for _, name, reason in found}
    assert {name: fault_of(name) for name in reasons} == broken
    for name, reason in reasons.items():
        assert len(reason) < 120, reason
        assert "\n" not in reason
        assert "0x" not in reason
        assert re.search(BROKEN[broken[name]][1], reason), (name, reason)


def test_a_tenth_is_damaged(tmp_path: Path) -> None:
    check_folder(tmp_path, 240, workers=0)


@pytest.mark.long
def test_a_thousand_of_ten_thousand_are_damaged(tmp_path: Path) -> None:
    check_folder(tmp_path, 10_000, workers=2)


@pytest.mark.parametrize("name", UNUSUAL)
def test_unusual_files_are_images(name: str) -> None:
    image = decode(UNUSUAL[name])
    assert image.mode == "RGB"
    assert image.size == ((40, 48) if name == "turned" else (48, 40))
    if name in ("gif", "animated_webp"):
        assert np.asarray(image)[..., 0].mean() > 60  # the first frame; the second is blue


def test_a_run_stops_above_its_limit(tmp_path: Path, recipe: dict) -> None:
    from unic.recipe.schema import load_recipe
    from unic.training.train import fit

    write_folder(tmp_path / "images", 60)
    data = recipe["data"] | {"train": str(tmp_path / "images")}
    console = Console(file=io.StringIO())
    tiny = recipe | {"data": data}
    with pytest.raises(StoppedError, match=r"of 60 images are damaged, more than data.max_damaged = 1.00% \(the first"):
        fit(load_recipe(tiny), tmp_path / "stops", console=console)
    assert list((tmp_path / "stops" / "checkpoints").glob("step-*"))
    fit(load_recipe(tiny | {"data": data | {"max_damaged": 0.2}}), tmp_path / "ends", console=console)
    listed = (tmp_path / "ends" / "damaged.json").read_text()
    assert listed.count("-") >= 5


def test_things_that_are_no_files(tmp_path: Path) -> None:
    """Folders with an image's name, sockets, pipes, cycles of links, links to nothing: no hang and no crash."""
    (tmp_path / "cats").mkdir()
    (tmp_path / "cats" / "1.jpg").write_bytes(JPEG)
    (tmp_path / "cats" / "folder.jpg").mkdir()
    (tmp_path / "cats" / "folder.jpg" / "2.jpg").write_bytes(JPEG)
    os.mkfifo(tmp_path / "cats" / "pipe.jpg")
    (tmp_path / "cats" / "up").symlink_to("..")
    (tmp_path / "cats" / "loop.jpg").symlink_to("loop.jpg")
    (tmp_path / "cats" / "nothing.jpg").symlink_to("gone.jpg")
    with socket.socket(socket.AF_UNIX) as plug:
        here = Path.cwd()
        os.chdir(tmp_path)  # names of sockets must be short
        try:
            plug.bind("cats/plug.jpg")
        finally:
            os.chdir(here)
        images = open_source(str(tmp_path))
        found = {images.name(index) for index in range(len(images))}
        batches = list(view_batches(images, size=16))
    assert {"cats/1.jpg", "cats/folder.jpg/2.jpg"} <= found
    assert not any(name.startswith("cats/up/") for name in found)
    assert sum(len(batch) for batch in batches) == 2
    assert {name for batch in batches for _, name, _ in batch.damaged} == found - {
        "cats/1.jpg",
        "cats/folder.jpg/2.jpg",
    }
    assert images.fingerprint()


def test_a_file_that_may_not_be_read_is_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may read everything, so the refusal is played."""
    (tmp_path / "1.jpg").write_bytes(JPEG)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "/secret/1.jpg")

    monkeypatch.setattr(Image, "open", refuse)
    with pytest.raises(DamagedImageError, match="^Permission denied$"):
        decode(tmp_path / "1.jpg")


@pytest.fixture
def linked(tmp_path: Path) -> Path:
    """A folder with one image of its own, a linked class, a linked file, and links that lead in circles."""
    for name in ("data/own/1.jpg", "elsewhere/2.jpg"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(JPEG)
    data = tmp_path / "data"
    (data / "class").symlink_to(tmp_path / "elsewhere")
    (data / "own" / "3.jpg").symlink_to(tmp_path / "elsewhere" / "2.jpg")
    (data / "own" / "up").symlink_to(data)
    (tmp_path / "elsewhere" / "back").symlink_to(data)
    return data


def test_links_that_lead_out_are_left_out_and_named(linked: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = open_source(str(linked))
    assert [source.name(index) for index in range(len(source))] == ["own/1.jpg"]
    assert "2 links left out, the first is class; UNIC_FOLLOW_LINKS=1 follows links" in caplog.text


def test_links_are_followed_on_request_and_circles_end(linked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNIC_FOLLOW_LINKS", "1")
    source = open_source(str(linked))
    assert [source.name(index) for index in range(len(source))] == ["class/2.jpg", "own/1.jpg", "own/3.jpg"]
    assert source.classes == ["class", "own"]
    assert {source.read(index).size for index in range(3)} == {(48, 40)}


def test_members_of_archives_are_never_unpacked(tmp_path: Path) -> None:
    """`..`, absolute names, links and devices in a shard are names of samples, or nothing; no file appears."""
    home = tmp_path / "in" / "side"
    home.mkdir(parents=True)
    escaped = tmp_path / "absolute.jpg"
    with tarfile.open(home / "shard.tar", "w") as shard:
        for name in ("../../dots.jpg", str(escaped), "plain.jpg"):
            member = tarfile.TarInfo(name)
            member.size = len(JPEG)
            shard.addfile(member, io.BytesIO(JPEG))
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
            member = tarfile.TarInfo(f"kind{kind.decode()}.jpg")
            member.type, member.linkname = kind, "/etc/passwd"
            shard.addfile(member)
    before = sorted(tmp_path.rglob("*"))
    source = open_source(str(home / "shard.tar"))
    batches = list(view_batches(source, size=16))
    assert len(source) == sum(len(batch) for batch in batches) == 3
    assert sorted(tmp_path.rglob("*")) == before
