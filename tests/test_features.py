"""One pass, one cache: keyed by content, complete or rebuilt, and the same numbers either way."""

import errno
import importlib
import json
import re
import resource
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock
from PIL import Image

from unic.data.sources import DamagedImageError, Source
from unic.encoders.base import Encoder
from unic.errors import InputError, StoppedError
from unic.features import DamagedRowsError, Extraction, Features, default_cache_dir, extract, find, obtain
from unic.features import entry as _entry_files
from unic.features import store as _feature_store
from unic.features.entry import load
from unic.tokens import Tokens


class Toy(Encoder):
    """Patches of 4 × 4 pixels through one matrix; CLS is their maximum."""

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__([0.5] * 3, [0.25] * 3)
        self.embed_dim = self.patch_dim = 5
        self.input_size = (16, 8)
        self.weight = torch.nn.Parameter(torch.linspace(-1, 1, 240).view(48, 5) * scale)
        self.dropout = torch.nn.Dropout(0.9)
        self.calls = 0

    def encode(self, x: torch.Tensor) -> Tokens:
        self.calls += 1
        patches = torch.nn.functional.unfold(x, 4, stride=4).transpose(1, 2) @ self.weight
        return Tokens(self.dropout(patches.amax(dim=1)), patches, (4, 2))


class Noise(Source):
    path = "noise"

    def __init__(self, length: int = 10, damaged: tuple[int, ...] = (), labelled: bool = True, seed: int = 0) -> None:
        self.length, self.damaged, self.seed = length, damaged, seed
        self.classes = ["a", "b"] if labelled else None

    def __len__(self) -> int:
        return self.length

    def read(self, index: int) -> Image.Image:
        if index in self.damaged:
            raise DamagedImageError("torn")
        values = np.random.default_rng([self.seed, index]).integers(0, 256, (20, 24, 3), dtype=np.uint8)
        return Image.fromarray(values)

    def label(self, index: int) -> int | None:
        return index % 2 if self.classes else None

    def name(self, index: int) -> str:
        return f"{index}.png"

    def fingerprint(self) -> str:
        return f"{self.length}-{self.damaged}-{self.seed}"


def entries(cache: Path) -> list[Path]:
    """Whole ones and begun ones; the locks between processes stay."""
    return [path for path in (*cache.iterdir(), *unfinished(cache)) if path.name != ".unfinished"]


def unfinished(cache: Path) -> list[Path]:
    return [path for path in cache.glob(".unfinished/*") if path.is_dir()]


def same(a: Features, b: Features) -> None:
    for name in ("cls", "patch_mean", "index", "labels", "patches"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    assert (a.grid, a.classes, a.damaged) == (b.grid, b.classes, b.damaged)


def test_values_labels_and_damage():
    images = Noise(10, damaged=(0, 6))
    seen = []
    encoder = Toy().train()
    encoder.dropout.eval()
    found = extract(
        encoder, images, patch_grid=(2, 2), batch_size=4, progress=lambda done, total: seen.append((done, total))
    )
    assert encoder.training
    assert not encoder.dropout.training
    assert found.index.tolist() == [1, 2, 3, 4, 5, 7, 8, 9]
    assert found.labels is not None
    assert found.labels.tolist() == [1, 0, 1, 0, 1, 1, 0, 1]
    assert found.classes == ["a", "b"]
    assert [entry[0] for entry in found.damaged] == [0, 6]
    assert seen == [(4, 10), (8, 10), (10, 10)]
    assert (found.cls.dtype, found.patches.dtype) == (np.float32, np.float16)
    assert found.patches.shape == (8, 4, 5)
    view = images.read(4).crop((2, 0, 22, 20)).resize((8, 16), Image.Resampling.BICUBIC)
    tokens = Toy().eval()(torch.from_numpy(np.array(view)).permute(2, 0, 1)[None] / 255)
    np.testing.assert_allclose(found.cls[3], tokens.cls[0].detach(), atol=1e-6)
    np.testing.assert_allclose(found.patch_mean[3], tokens.patch_mean()[0].detach(), atol=1e-6)
    np.testing.assert_allclose(found.patches[3], tokens.to_grid((2, 2)).patches[0].detach(), rtol=2e-3, atol=2e-3)


def test_cache_hits_and_misses(tmp_path):
    encoder = Toy()
    first = extract(encoder, Noise(10, damaged=(3,)), cache=tmp_path, patch_grid="own")
    same(extract(encoder, Noise(10, damaged=(3,)), cache=tmp_path, patch_grid="own"), first)
    pooled = extract(encoder, Noise(10, damaged=(3,)), cache=tmp_path)  # an entry with patches answers
    assert encoder.calls == 1
    assert pooled.patches is None
    np.testing.assert_array_equal(pooled.cls, first.cls)
    assert isinstance(first.patches.base, np.memmap) or isinstance(first.patches, np.memmap)
    same(extract(encoder, Noise(10, damaged=(3,)), patch_grid="own"), first)
    assert encoder.calls == 2
    calls = (
        {"size": 12}, {"augment": "unic"}, {"augment": "unic", "view": 1}, {"augment": "unic", "seed": 1},
        {"patch_grid": (2, 2)}, {"patch_grid": "own", "dtype": "fp32"},
    )  # fmt: skip
    for number, options in enumerate(calls):
        for _ in range(2):
            extract(encoder, Noise(10, damaged=(3,)), cache=tmp_path, **options)
        assert encoder.calls == 3 + number, options
    extract(encoder, Noise(10, damaged=(3,)), cache=tmp_path, seed=5, view=2)  # not random: the keys do not matter
    assert encoder.calls == 2 + len(calls)
    extract(encoder, Noise(10, seed=1), cache=tmp_path)
    assert encoder.calls == 3 + len(calls)
    other = Toy(scale=2.0)
    extract(other, Noise(10, seed=1), cache=tmp_path)
    assert other.calls == 1
    assert not unfinished(tmp_path)


@pytest.mark.parametrize("damage", ["truncate", "flip", "meta", "missing", "half"])
def test_damaged_entry_is_rebuilt(tmp_path, damage):
    encoder = Toy()
    first = extract(encoder, Noise(), cache=tmp_path, patch_grid=(2, 2))
    first.patches = np.array(first.patches)  # the damage below happens to the file under its memory map
    (entry,) = entries(tmp_path)
    file = entry / "patches.npy"
    if damage == "truncate":
        file.write_bytes(file.read_bytes()[:-8])
    elif damage == "flip":
        content = bytearray(file.read_bytes())
        content[-3] ^= 1
        file.write_bytes(content)
    elif damage == "meta":
        (entry / "meta.json").write_text(json.dumps({"rows": 10}))
    elif damage == "missing":
        (entry / "cls.npy").unlink()
    else:
        (entry / "meta.json").unlink()
    same(extract(encoder, Noise(), cache=tmp_path, patch_grid=(2, 2)), first)
    assert encoder.calls == 2
    extract(encoder, Noise(), cache=tmp_path, patch_grid=(2, 2))
    assert encoder.calls == 2


class Killed(Exception):
    pass


def stop_after(images: int):
    def progress(done: int, total: int) -> None:
        if done >= images:
            raise Killed

    return progress


def test_extraction_interrupted_before_a_record_leaves_nothing(tmp_path):
    with pytest.raises(Killed):
        extract(Toy(), Noise(), cache=tmp_path, patch_grid="own", batch_size=2, progress=stop_after(6))
    assert entries(tmp_path) == []


@pytest.mark.parametrize("stops", [[4], [2, 6], [10]])
def test_interrupted_extraction_goes_on(tmp_path, stops, monkeypatch):
    monkeypatch.setattr(_feature_store, "_RECORD_EVERY", 0)
    images, options = Noise(10, damaged=(0, 1, 3, 8, 9)), {"cache": tmp_path, "patch_grid": (2, 2), "batch_size": 2}
    for images_done in stops:
        with pytest.raises(Killed):
            extract(Toy(), images, **options, progress=stop_after(images_done))
    assert len(entries(tmp_path)) == 1
    encoder, seen = Toy(), []
    found = extract(encoder, images, **options, progress=lambda done, _: seen.append(done))
    assert seen[0] == min(stops[-1] + 2, 10)
    assert encoder.calls == {4: 2, 6: 1, 10: 0}[stops[-1]]
    same(found, extract(Toy(), images, patch_grid=(2, 2), batch_size=2))
    assert [path.parent for path in entries(tmp_path)] == [tmp_path]


@pytest.mark.parametrize("damage", ["file", "header", "record"])
def test_what_an_interruption_left_damaged_is_not_used(tmp_path, damage, monkeypatch):
    monkeypatch.setattr(_feature_store, "_RECORD_EVERY", 0)
    with pytest.raises(Killed):
        extract(Toy(), Noise(), cache=tmp_path, batch_size=2, progress=stop_after(6))
    (folder,) = entries(tmp_path)
    if damage == "record":
        (folder / "record.json").write_text("{")
    else:
        content = (folder / "cls.npy").read_bytes()
        (folder / "cls.npy").write_bytes(content[:-1] if damage == "file" else b"nothing" + content)
    encoder = Toy()
    same(extract(encoder, Noise(), cache=tmp_path, batch_size=2), extract(Toy(), Noise(), batch_size=2))
    assert encoder.calls == 5


def flipped(file: Path, bit: int) -> None:
    content = bytearray(file.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    file.write_bytes(content)


@pytest.mark.parametrize("name", ["cls", "patches", "index"])
def test_a_flipped_bit_in_a_header_is_found_without_reading_the_rows(tmp_path, name):
    extract(Toy(), Noise(), cache=tmp_path, patch_grid=(2, 2))
    (entry,) = entries(tmp_path)
    assert load(entry, "rows") is not None
    for bit in range(0, 128 * 8, 7):
        flipped(entry / f"{name}.npy", bit)
        assert load(entry, "rows") is None, bit
        flipped(entry / f"{name}.npy", bit)


def test_entries_of_versions_without_hashes_of_headers_are_read_or_refused(tmp_path):
    """Never an exception: numpy raises many kinds for a header that it cannot read."""
    extract(Toy(), Noise(), cache=tmp_path)
    (entry,) = entries(tmp_path)
    meta = json.loads((entry / "meta.json").read_text())
    for known in meta["files"].values():
        del known["header"]
    (entry / "meta.json").write_text(json.dumps(meta))
    assert load(entry, "rows") is not None
    refused = 0
    for bit in range(128 * 8):
        flipped(entry / "cls.npy", bit)
        refused += load(entry, "rows") is None
        flipped(entry / "cls.npy", bit)
    assert refused > 500


def test_a_header_whose_numbers_are_swapped_is_not_continued(tmp_path, monkeypatch):
    monkeypatch.setattr(_feature_store, "_RECORD_EVERY", 0)
    with pytest.raises(Killed):
        extract(Toy(), Noise(), cache=tmp_path, batch_size=2, progress=stop_after(6))
    (folder,) = entries(tmp_path)
    content = (folder / "cls.npy").read_bytes()
    (folder / "cls.npy").write_bytes(content.replace(b"<f4", b">f4"))
    encoder = Toy()
    same(extract(encoder, Noise(), cache=tmp_path, batch_size=2), extract(Toy(), Noise(), batch_size=2))
    assert encoder.calls == 5


def test_a_cache_in_the_lower_layer_of_an_overlay_file_system(tmp_path, monkeypatch):
    """As in a container whose image brings a cache: no folder that the image brings can be renamed there."""
    lower, upper, work, cache = (tmp_path / name for name in ("lower", "upper", "work", "cache"))
    for folder in (upper, work, cache):
        folder.mkdir()
    extract(Toy(), Noise(), cache=lower, batch_size=2)
    (entry,) = entries(lower)
    (entry / "cls.npy").write_bytes(b"damaged")
    monkeypatch.setattr(_feature_store, "_RECORD_EVERY", 0)
    with pytest.raises(Killed):
        extract(Toy(), Noise(), cache=lower, batch_size=2, progress=stop_after(6))
    options = f"lowerdir={lower},upperdir={upper},workdir={work}"
    mounted = subprocess.run(
        ["mount", "-t", "overlay", "overlay", "-o", options, str(cache)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("may not mount an overlay file system here")
    try:
        encoder = Toy()
        same(extract(encoder, Noise(), cache=cache, batch_size=2), extract(Toy(), Noise(), batch_size=2))
        assert encoder.calls == 2
        extract(encoder, Noise(), cache=cache, batch_size=2)
        assert encoder.calls == 2
        assert [path.name for path in entries(cache)] == [entry.name]
    finally:
        subprocess.run(["umount", str(cache)], check=True)


def test_of_two_at_a_time_one_computes_and_the_other_waits(tmp_path):
    encoders, found = [Toy(), Toy()], []
    begun, go_on = threading.Event(), threading.Event()

    def hold(done: int, total: int) -> None:
        begun.set()
        assert go_on.wait(10)

    first = threading.Thread(target=lambda: found.append(extract(encoders[0], Noise(), cache=tmp_path, progress=hold)))
    second = threading.Thread(target=lambda: found.append(extract(encoders[1], Noise(), cache=tmp_path)))
    first.start()
    assert begun.wait(10)
    second.start()
    second.join(0.2)
    assert second.is_alive()
    go_on.set()
    first.join(10)
    second.join(10)
    same(*found)
    assert [encoder.calls for encoder in encoders] == [1, 0]


def test_large_arrays_are_on_a_memory_map(tmp_path, monkeypatch):
    small = extract(Toy(), Noise(), cache=tmp_path)
    assert not isinstance(small.cls.base, np.memmap)
    monkeypatch.setattr(_entry_files, "_MAPPED", 0)
    large = extract(Toy(), Noise(), cache=tmp_path)
    for name in ("cls", "patch_mean", "index"):
        assert isinstance(getattr(large, name).base, np.memmap), name
    same(large, small)


def test_entries_with_spare_rows_of_patches_are_still_read(tmp_path):
    """As they were written before rows were appended."""
    encoder = Toy()
    first = extract(encoder, Noise(), cache=tmp_path, patch_grid="own")
    first.patches = np.array(first.patches)
    (entry,) = entries(tmp_path)
    np.save(entry / "patches.npy", np.concatenate([first.patches, first.patches[:3]]))
    meta = json.loads((entry / "meta.json").read_text())
    size, digest = (entry / "patches.npy").stat().st_size, _entry_files._hash(entry / "patches.npy")
    meta["files"]["patches.npy"] = {"size": size, "sha256": digest}
    (entry / "meta.json").write_text(json.dumps(meta))
    same(extract(encoder, Noise(), cache=tmp_path, patch_grid="own"), first)
    assert encoder.calls == 1


def test_rows_are_found_by_the_number_of_the_image():
    found = extract(Toy(), Noise(10, damaged=(0, 6)), patch_grid=(2, 2))
    assert found.rows(torch.tensor([9, 1, 7, 7])).tolist() == [7, 0, 5, 5]
    taken = found.take(torch.tensor([9, 1]))
    np.testing.assert_array_equal(taken["patches"], found.patches[[7, 0]])
    np.testing.assert_array_equal(taken["cls"], found.cls[[7, 0]])
    assert set(extract(Toy(), Noise(10)).take(torch.tensor([3]))) == {"cls"}
    for missing in (6, 10):
        with pytest.raises(KeyError, match=f"image {missing}"):
            found.rows(torch.tensor([1, missing]))


def shard(**options) -> Extraction:
    return Extraction(Toy(), Noise(10, damaged=(6,)), patch_grid=(2, 2), span=(4, 9), **options)


@pytest.mark.parametrize("dtype", ["fp16", "int8"])
def test_a_span_holds_these_images_only_and_goes_on_inside(tmp_path, dtype, monkeypatch):
    whole = extract(Toy(), Noise(10, damaged=(6,)), patch_grid=(2, 2), dtype=dtype)
    monkeypatch.setattr(_feature_store, "_RECORD_EVERY", 0)
    with pytest.raises(Killed):
        obtain(shard(dtype=dtype, batch_size=2, progress=stop_after(2)), tmp_path)
    found = obtain(shard(dtype=dtype, batch_size=2), tmp_path, "rows")
    assert found.index.tolist() == [4, 5, 7, 8]
    asked = torch.tensor([8, 4])
    for name, values in found.take(asked).items():
        np.testing.assert_array_equal(values, whole.take(asked)[name])
    assert find(Extraction(Toy(), Noise(10, damaged=(6,)), patch_grid=(2, 2), span=(4, 8)), tmp_path) is None


def test_a_span_without_a_readable_image_is_empty(tmp_path):
    wanted = Extraction(Toy(), Noise(10, damaged=(4, 5)), span=(4, 6))
    assert len(obtain(wanted, tmp_path, "rows")) == 0
    with pytest.raises(KeyError):
        find(wanted, tmp_path, "rows").take(torch.tensor([4]))


@pytest.mark.parametrize("name", ["cls", "patches", "ranges"])
@pytest.mark.parametrize("damage", ["flip", "zeros", "swap"])
def test_opened_by_rows_damage_is_found_where_it_is_read(tmp_path, name, damage):
    obtain(shard(dtype="int8"), tmp_path)
    (entry,) = entries(tmp_path)
    rows = np.load(entry / f"{name}.npy", mmap_mode="r+")
    if damage == "flip":
        rows[1].view(np.uint8).reshape(-1)[3] ^= 4
    elif damage == "zeros":
        rows[1] = 0
    else:
        rows[[1, 2]] = rows[[2, 1]]
    rows.flush()
    found = find(shard(dtype="int8"), tmp_path, "rows")  # sizes and headers are as they should be
    found.take(torch.tensor([4, 8]))
    with pytest.raises(DamagedRowsError, match=name):
        found.take(torch.tensor([4, 5]))
    assert find(shard(dtype="int8"), tmp_path, "whole") is None


@pytest.mark.parametrize("damage", ["truncate", "header", "sums", "index", "replace"])
def test_opened_by_rows_other_damage_is_found_at_once_or_where_it_is_read(tmp_path, damage):
    obtain(shard(), tmp_path)
    (entry,) = entries(tmp_path)
    file = entry / ("patches.npy" if damage in ("truncate", "header", "replace") else f"{damage}.npy")
    content = bytearray(file.read_bytes())
    if damage == "truncate":
        file.write_bytes(content[:-8])
    elif damage == "header":
        file.write_bytes(content.replace(b"(4, 4, 5)", b"(3, 4, 5)"))
    elif damage == "replace":  # by the same file of another view
        obtain(shard(seed=1, augment="unic"), tmp_path)
        (other,) = set(entries(tmp_path)) - {entry}
        shutil.copy(other / "patches.npy", file)
        with pytest.raises(DamagedRowsError):
            find(shard(), tmp_path, "rows").take(torch.tensor([4]))
        return
    else:
        content[-1] ^= 1
        file.write_bytes(content)
    assert find(shard(), tmp_path, "rows") is None


def test_patches_beyond_fp16_are_kept_as_its_largest_and_reported(tmp_path, caplog):
    found = extract(Toy(scale=1e6), Noise(), patch_grid="own")
    assert np.isfinite(found.patches).all()
    assert np.abs(found.patches).max() == np.finfo(np.float16).max
    assert re.search("0.png.*fp16", caplog.text)
    exact = extract(Toy(scale=1e6), Noise(), patch_grid="own", dtype="fp32")
    np.testing.assert_allclose(np.clip(exact.patches, -65504, 65504), found.patches, rtol=1e-3, atol=1)


def test_patches_are_read_from_the_device_once_and_in_16_bit(monkeypatch):
    read, cpu = [], torch.Tensor.cpu
    monkeypatch.setattr(torch.Tensor, "cpu", lambda x: read.append((x.dtype, x.ndim)) or cpu(x))
    extract(Toy(), Noise(4), patch_grid="own")
    assert [dtype for dtype, dims in read if dims == 3] == [torch.float16]


def test_unlabelled_images():
    found = extract(Toy(), Noise(labelled=False))
    assert found.labels is None
    assert found.classes is None


def test_what_cannot_be_kept_is_refused(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="0.png.*not finite"):
        extract(Toy(scale=float("nan")), Noise())
    with pytest.raises(InputError, match="no image.*0.png: torn"):
        extract(Toy(), Noise(2, damaged=(0, 1)))
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write there"):
        extract(Toy(), Noise(), cache=tmp_path / "file")
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(_feature_store.shutil, "disk_usage", lambda _: usage._replace(free=630))
    with pytest.raises(StoppedError, match="GB needed.*disk$"):
        extract(Toy(), Noise(), cache=tmp_path)  # 10 × (5 + 5) × 4 bytes, 10 numbers of images and two sums of each
    monkeypatch.setattr(_feature_store.shutil, "disk_usage", lambda _: usage._replace(free=640))
    extract(Toy(), Noise(), cache=tmp_path)
    with pytest.raises(StoppedError, match="GB needed.*pooled patches"):
        extract(Toy(), Noise(), cache=tmp_path, patch_grid="own")


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
@pytest.mark.parametrize("what", ["FileLock", "mkdir"])
def test_a_cache_that_cannot_be_written_is_read(tmp_path, monkeypatch, caplog, what, number):
    """Root may write anywhere, so the system is not asked."""
    extract(Toy(), Noise(seed=5), cache=tmp_path)
    before, made = entries(tmp_path), Path.mkdir

    def refuse(path, *arguments, **options):
        if tmp_path in Path(path).parents:
            raise OSError(number, "no")
        return made(path, *arguments, **options) if what == "mkdir" else FileLock(path)

    monkeypatch.setattr(*((Path, "mkdir") if what == "mkdir" else (_feature_store, "FileLock")), refuse)
    encoder = Toy()
    extract(encoder, Noise(seed=5), cache=tmp_path)
    assert encoder.calls == 0
    for seed in (6, 6, 7):
        same(extract(encoder, Noise(seed=seed), cache=tmp_path), extract(Toy(), Noise(seed=seed)))
    assert encoder.calls == 2
    assert entries(tmp_path) == before
    (message,) = caplog.messages
    assert message.startswith(f"cache {tmp_path} cannot be written")


def test_what_an_unknown_encoder_gives_is_not_kept(tmp_path, caplog):
    encoder = Toy()
    encoder.uri, encoder.unknown = "py:lab:net", "code in no file"
    for _ in range(2):
        extract(encoder, Noise(), cache=tmp_path)
    assert encoder.calls == 1  # this very encoder is known to this process
    again = Toy()
    again.unknown = "code in no file"
    extract(again, Noise(), cache=tmp_path)
    assert again.calls == 1
    assert entries(tmp_path) == []
    assert re.match("py:lab:net: .*code in no file", caplog.messages[0])
    assert len(caplog.messages) == 2


def test_the_code_of_a_class_of_one_s_own_decides(tmp_path, monkeypatch):
    """An encoder that is given as an object: its file is all that tells it from an earlier version of itself."""
    text = "from tests_toy import Toy\n\nclass Own(Toy):\n    pass\n"
    monkeypatch.setitem(sys.modules, "tests_toy", sys.modules[__name__])
    monkeypatch.syspath_prepend(str(tmp_path))
    prints = []
    for version in (text, text, f"{text}# other\n"):
        (tmp_path / "own_toy.py").write_text(version)
        sys.modules.pop("own_toy", None)
        importlib.invalidate_caches()
        prints.append(importlib.import_module("own_toy").Own().fingerprint())
    assert prints[0] == prints[1] != prints[2]


def test_a_disk_that_fills_up_is_one_line(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
    try:
        with pytest.raises(StoppedError, match="cannot write there.*; set UNIC_CACHE"):
            extract(Toy(), Noise(100), cache=tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert entries(tmp_path) == []


def test_default_cache_dir(tmp_path, monkeypatch):
    monkeypatch.setenv("UNIC_CACHE", str(tmp_path / "here"))
    assert default_cache_dir() == tmp_path / "here"
    monkeypatch.delenv("UNIC_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert default_cache_dir() == tmp_path / "home" / ".cache" / "unic"
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HOME", str(tmp_path / "file"))
    assert default_cache_dir().name.startswith("unic-")
