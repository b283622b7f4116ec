"""HEIC and JPEG XL: counted where no plugin reads them, read where one is installed."""

from __future__ import annotations

import re
import sys
import tarfile
from pathlib import Path

import pytest
from PIL import Image

from unic.data import _plugins
from unic.data.decode import _formats, decode, is_image
from unic.data.sources import DamagedImageError, open_source
from unic.errors import InputError

HEIC = b"\x00\x00\x00\x18ftypheic" + bytes(40)
JXL = b"\xff\x0a" + bytes(40)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One image that can be read, and three that need a plugin; none is installed."""
    monkeypatch.setattr(_plugins, "_is_installed", lambda plugin: False)
    for function in (_plugins.suffixes, _plugins.register, _formats):
        function.cache_clear()
    (tmp_path / "set").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "set" / "a.png")
    for name, data in {"b.HEIC": HEIC, "c.heif": HEIC, "d.jxl": JXL}.items():
        (tmp_path / "set" / name).write_bytes(data)
    yield tmp_path / "set"
    for function in (_plugins.suffixes, _plugins.register, _formats):
        function.cache_clear()


def test_images_that_need_a_plugin_are_counted(folder, caplog):
    assert len(open_source(str(folder))) == 1
    assert re.search(r"left out: 2 images.*b\.HEIC.*pip install pillow-heif", caplog.text)
    assert re.search(r"left out: 1 images.*d\.jxl.*pip install pillow-jxl-plugin", caplog.text)
    (folder / "a.png").unlink()
    with pytest.raises(
        InputError, match="no images .*; 2 images.* pip install pillow-heif; 1 images.* pillow-jxl-plugin"
    ):
        open_source(str(folder))


def test_in_shards_too(folder, caplog):
    with tarfile.open(folder.parent / "a.tar", "w") as archive:
        for name in ("a.png", "b.HEIC", "c.heif"):
            archive.add(folder / name, name)
    assert len(open_source(str(folder.parent / "a.tar"))) == 1
    assert re.search(" 2 images .*pip install pillow-heif", caplog.text)


def test_the_reason_names_the_package(folder):
    for data, package in ((HEIC, "pillow-heif"), (JXL, "pillow-jxl-plugin"), (folder / "b.HEIC", "pillow-heif")):
        with pytest.raises(DamagedImageError, match=f"package {package}"):
            decode(data)
    assert is_image(HEIC)
    assert not is_image(b"0001")


def test_an_installed_plugin_is_used(folder, monkeypatch, tmp_path):
    """A stand-in with the module and the function of pillow-heif, which opens BMP by another name."""
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "pillow_heif.py").write_text(
        "from PIL import BmpImagePlugin, Image\n"
        "class Heif(BmpImagePlugin.BmpImageFile):\n"
        "    format = 'HEIF'\n"
        "def register_heif_opener():\n"
        "    Image.register_open('HEIF', Heif, lambda data: data[:2] == b'BM')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path / "lib"))
    monkeypatch.setattr(_plugins, "_is_installed", lambda plugin: plugin.module == "pillow_heif")
    for function in (_plugins.suffixes, _plugins.register, _formats):
        function.cache_clear()
    Image.new("RGB", (4, 4), (5, 0, 0)).save(folder / "b.HEIC", "BMP")
    (folder / "a.png").unlink()
    try:
        source = open_source(str(folder))
        assert [source.name(index) for index in range(len(source))] == ["b.HEIC", "c.heif"]
        assert source.read(0).getpixel((0, 0)) == (5, 0, 0)
    finally:
        sys.modules.pop("pillow_heif", None)
        Image.OPEN.pop("HEIF", None)
        if "HEIF" in Image.ID:
            Image.ID.remove("HEIF")
