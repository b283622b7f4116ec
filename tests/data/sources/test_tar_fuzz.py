"""Mutated and hostile archives: a line or listed damage, never a crash, a hang, or a file written or followed."""

import io
import tarfile

import numpy as np
import pytest
from PIL import Image

from unic.data.shards.index import INDEX, MANIFEST
from unic.data.shards.writing import write_shards
from unic.data.sources import DamagedImageError
from unic.data.sources.folder import Folder
from unic.data.sources.webdataset import WebDataset
from unic.errors import InputError


def png(value):
    stream = io.BytesIO()
    Image.new("RGB", (4, 4), (value, 0, 0)).save(stream, "PNG")
    return stream.getvalue()


def archive(kind=tarfile.PAX_FORMAT):
    """Short and long names, labels in both forms, a pax header of its own."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:", format=kind) as tar:
        for number in range(6):
            name = ("long/" * 30 if number == 3 else "") + f"{number}"
            label = (f"{name}.cls", b"%d" % number) if number % 2 else (f"{name}.json", b'{"label": 1}')
            for member_name, data in ((f"{name}.png", png(number)), label):
                member = tarfile.TarInfo(member_name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    return stream.getvalue()


def mutated(data, draw):
    """Flipped bytes (most of them in headers), cut, grown, with a block moved or a field of a header overwritten."""
    data = bytearray(data)
    for _ in range(int(draw.integers(1, 4))):
        block = 512 * int(draw.integers(0, max(1, len(data) // 512)))
        match int(draw.integers(0, 6)):
            case 0:
                data[int(draw.integers(0, len(data)))] ^= 1 << int(draw.integers(0, 8))
            case 1:
                data = data[: int(draw.integers(1, len(data) + 1))]
            case 2:
                data[block : block + 512] = draw.bytes(512)
            case 3:
                field = [b"77777777777\0", b"\x80" + b"\xff" * 11, b"\xff" * 12, b"-0000000001\0", b"\0" * 12]
                data[block + 124 : block + 136] = field[int(draw.integers(0, len(field)))]
                _sign(data, block)
            case 4:
                data[block + 156 : block + 157] = b"0123456789xgLKSX"[int(draw.integers(0, 16)) :][:1]
                _sign(data, block)
            case 5:
                other = 512 * int(draw.integers(0, max(1, len(data) // 512)))
                data[block : block + 512] = data[other : other + 512]
        if not data:
            return b"\0"
    return bytes(data)


def _sign(data, block):
    """A right checksum, so that the mutation is read and not only refused."""
    if block + 512 <= len(data):
        data[block + 148 : block + 156] = b" " * 8
        data[block + 148 : block + 156] = b"%06o\0 " % sum(data[block : block + 512])


def use(file):
    """Everything that a run does with a shard."""
    try:
        source = WebDataset("x", [file])
    except InputError as error:
        return "refused" if "\n" not in str(error) else "more than a line"
    damaged = 0
    for index in range(len(source)):
        assert isinstance(source.name(index), str)
        source.label(index)
        try:
            assert source.read(index).size
        except DamagedImageError:
            damaged += 1
    return "damaged" if damaged else "read" if len(source) == 6 else "short"


def fuzz(folder, rounds, seed):
    draw = np.random.default_rng(seed)
    whole = [archive(tarfile.PAX_FORMAT), archive(tarfile.GNU_FORMAT)]
    file, found = folder / "x.tar", {}
    for number in range(rounds):
        file.write_bytes(mutated(whole[number % 2], draw))
        outcome = use(file)
        found[outcome] = found.get(outcome, 0) + 1
        assert [entry.name for entry in folder.iterdir()] == ["x.tar"]
    return found


def test_mutated_shards(tmp_path):
    found = fuzz(tmp_path, 300, seed=0)
    assert "more than a line" not in found
    assert min(found.get(outcome, 0) for outcome in ("refused", "damaged", "read")) > 5, found


@pytest.mark.long
@pytest.mark.parametrize("seed", range(1, 9))
def test_mutated_shards_for_longer(tmp_path, seed):
    fuzz(tmp_path, 20_000, seed)


def test_a_damaged_header_in_the_middle_is_no_end(tmp_path):
    data = bytearray(archive())
    data[data.index(b"2.png") + 20] ^= 1
    (tmp_path / "x.tar").write_bytes(data)
    with pytest.raises(InputError, match="header at byte"):
        WebDataset("x", [tmp_path / "x.tar"])


def test_nothing_outside_is_followed_or_written(tmp_path):
    secret = tmp_path / "secret.png"
    secret.write_bytes(png(99))
    (tmp_path / "in").mkdir()
    file = tmp_path / "in" / "x.tar"
    with tarfile.open(file, "w:") as tar:
        for name, kind, target in (
            ("link.png", tarfile.SYMTYPE, str(secret)),
            ("hard.png", tarfile.LNKTYPE, "../secret.png"),
            ("device.png", tarfile.CHRTYPE, ""),
            ("pipe.png", tarfile.FIFOTYPE, ""),
            ("../folder.png", tarfile.DIRTYPE, ""),
        ):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, target
            tar.addfile(member)
        for name in ("../../escape.png", f"{tmp_path}/absolute.png"):
            member = tarfile.TarInfo(name)
            member.size = len(png(1))
            tar.addfile(member, io.BytesIO(png(1)))
    source = WebDataset("x", [file])
    assert [source.read(index).getpixel((0, 0))[0] for index in range(len(source))] == [1, 1]
    write_shards(source, tmp_path / "out", keep_order=True)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["in", "out", "secret.png"]
    with tarfile.open(tmp_path / "out" / "000000.tar") as tar:
        assert tar.getnames() == ["000000000.png", "000000001.png"]


@pytest.mark.parametrize("label", [b"9" * 50, b"1048576", b"-3", b"[" * 60_000, b"\xff", b"1e3", b""])
@pytest.mark.parametrize("suffix", ["cls", "json"])
def test_labels_that_are_none(tmp_path, label, suffix):
    with tarfile.open(tmp_path / "x.tar", "w:") as tar:
        for name, data in (("1.png", png(1)), (f"1.{suffix}", label)):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    assert WebDataset("x", [tmp_path / "x.tar"]).classes is None


def test_a_chain_of_extended_headers_is_refused(tmp_path):
    link = tarfile.TarInfo("././@LongLink")
    link.type, link.size = tarfile.GNUTYPE_LONGNAME, 4
    block = link.tobuf(tarfile.GNU_FORMAT) + b"name".ljust(512, b"\0")
    (tmp_path / "x.tar").write_bytes(block * 5000)
    with pytest.raises(InputError, match="tar archive"):
        WebDataset("x", [tmp_path / "x.tar"])


def test_mutated_indices_are_not_believed(tmp_path, image_folder):
    write_shards(Folder("x", image_folder), tmp_path)
    whole, draw = {name: (tmp_path / name).read_bytes() for name in (INDEX, MANIFEST)}, np.random.default_rng(0)
    for number in range(100):
        name = (INDEX, MANIFEST)[number % 2]
        (tmp_path / name).write_bytes(mutated(whole[name], draw))
        source = WebDataset("x", [tmp_path / "000000.tar"])
        assert len(source) == 40
        assert source.read(39).size
        (tmp_path / name).write_bytes(whole[name])
