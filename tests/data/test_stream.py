"""Streamed sets: every sample once, whatever the ranks, workers and shards are; exact resume; a bounded disk."""

import functools
import io
import json
import re
import threading
from collections import Counter
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from unic import rng
from unic.data.image_list import ImageList
from unic.data.loader import training_batches
from unic.data.shards.tar import TarWriter
from unic.data.shards.writing import write_shards
from unic.data.sources import DamagedImageError, open_source
from unic.data.sources.arrays import Arrays
from unic.data.streaming import catalogue as _catalogue
from unic.data.streaming import pieces as _pieces
from unic.errors import InputError

OPTIONS = {"size": 4, "augment": "none", "seed": 3, "first_step": 1}


def png(value):
    stream = io.BytesIO()
    Image.new("RGB", (4, 4), (value, 0, 0)).save(stream, "PNG")
    return stream.getvalue()


def shards(folder, counts, sizes=True):
    """Uneven shards in which every image has a colour of its own."""
    folder.mkdir()
    value = 0
    for number, count in enumerate(counts):
        tar = TarWriter(folder / f"{number:02d}.tar")
        for _ in range(count):
            tar.add(f"{value}.png", png(value))
            value += 1
        tar.close()
    if sizes:
        (folder / "sizes.json").write_text(json.dumps({f"{n:02d}.tar": count for n, count in enumerate(counts)}))
    return f"file://{folder}/{{00..{len(counts) - 1:02d}}}.tar"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("UNIC_CACHE", str(tmp_path / "cache"))


def batches(images, **options):
    return list(training_batches(images, **{**OPTIONS, **options}))


def colours(found):
    return torch.cat([batch.images for batch in found])[:, 0, 0, 0].tolist()


@pytest.mark.parametrize("counts", [[3, 9, 1, 7, 4], [24], [2] * 12], ids=["uneven", "one shard", "many"])
@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_every_sample_once_and_the_same_global_batches(tmp_path, counts, world_size):
    url = shards(tmp_path / "s", counts)
    whole = colours(batches(ImageList([open_source(url, window=2)]), batch_size=8, num_steps=6))
    assert Counter(whole[:24]) == Counter(whole[24:]) == Counter(range(24))  # two epochs, no duplicates or holes
    assert whole[:24] != whole[24:]
    ranks = [
        batches(ImageList([open_source(url, window=2)]), batch_size=8, num_steps=6, rank=rank, world_size=world_size)
        for rank in range(world_size)
    ]
    assert [colour for step in zip(*ranks, strict=True) for colour in colours(step)] == whole


def test_workers_change_nothing(tmp_path):
    url = shards(tmp_path / "s", [5, 2, 9, 8])
    whole = batches(ImageList([open_source(url, window=2)]), batch_size=8, num_steps=4)
    found = batches(ImageList([open_source(url, window=2)]), batch_size=8, num_steps=4, workers=2)
    assert colours(found) == colours(whole)


def test_resume_in_the_middle_of_a_shard_fetches_what_is_to_come_only(tmp_path, monkeypatch):
    url = shards(tmp_path / "s", [8] * 12)
    options = {"batch_size": 4, "num_steps": 24, "augment": "unic"}
    whole = batches(ImageList([open_source(url, window=1)]), **options)
    fetched = []
    copy = _pieces._copy_shard
    other = tmp_path / "other"  # the first reader may still be fetching ahead, into the folder that it had

    def counted(piece, file):
        if file.is_relative_to(other):
            fetched.append(piece.name)
        copy(piece, file)

    monkeypatch.setattr(_pieces, "_copy_shard", counted)
    monkeypatch.setenv("UNIC_CACHE", str(other))
    resumed = batches(ImageList([open_source(url, window=1)]), **options, first_step=20)
    for before, after in zip(whole[19:], resumed, strict=True):
        assert torch.equal(before.images, after.images)
        assert torch.equal(before.index, after.index)
    assert 0 < len(set(fetched)) <= 5  # 20 images of 12 shards of 8


def test_order_is_a_permutation_that_keeps_near_what_lies_near(tmp_path):
    source = open_source(shards(tmp_path / "s", [10] * 20), window=3)
    order = source.order(7, 1)
    assert sorted(order.tolist()) == list(range(200))
    assert not torch.equal(order, source.order(7, 2))
    pieces = order // 10
    for start in range(0, 190, 10):  # ten images in a row come from the window, not from everywhere
        assert len(pieces[start : start + 10].unique()) <= 5
    assert max((pieces == piece).nonzero().max() - (pieces == piece).nonzero().min() for piece in range(20)) < 50


def test_mixing_by_weight_keeps_the_pieces_in_a_row(tmp_path):
    streamed = open_source(shards(tmp_path / "s", [10] * 8), window=1)
    other = Arrays("grey", torch.zeros(40, 4, 4, dtype=torch.uint8).numpy(), np.zeros(40, int), ["x"])
    images = ImageList([streamed, other], [0.5, 1])
    first, second = images.epoch_order(0, 0), images.epoch_order(0, 1)
    assert (len(first), int((first < 80).sum())) == (80, 40)
    assert sorted(first[first < 80].tolist() + second[second < 80].tolist()) == list(range(80))
    assert torch.equal(first[first < 80], streamed.order(0, rng.stream("pass"), 0, 0)[:40])
    assert 5 < int((first[:40] < 80).sum()) < 35  # mixed, not one after the other
    assert images.source_of(torch.tensor([0, 79, 80, 119])).tolist() == [0, 0, 1, 1]


def test_the_disk_holds_a_bounded_number_of_shards(tmp_path):
    source = open_source(shards(tmp_path / "s", [2] * 30), window=2)
    for index in range(60):
        source.read(index)
    assert len(list((tmp_path / "cache").rglob("*.tar"))) <= 8
    assert not list((tmp_path / "cache").rglob("*.partial"))


def test_unlisted_shards_are_counted_once(tmp_path, monkeypatch, caplog):
    url = shards(tmp_path / "s", [3, 4], sizes=False)
    assert len(open_source(url)) == 7
    assert re.search(" 2 shards", caplog.text)
    monkeypatch.setattr(_pieces, "_copy_shard", lambda *args: pytest.fail("fetched again"))
    assert len(open_source(url)) == 7


def test_http_and_manifest(tmp_path, image_folder, monkeypatch):
    (tmp_path / "web").mkdir()
    source = open_source(str(image_folder))
    manifest = write_shards(source, tmp_path / "web" / "set", samples=15)

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=tmp_path / "web"))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setattr(_pieces.time, "sleep", lambda seconds: None)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    try:
        found = open_source(f"http://127.0.0.1:{server.server_port}/set")
        assert (len(found), found.classes) == (40, source.classes)
        assert sorted((found.encoded(index), found.label(index)) for index in range(40)) == sorted(
            (source.encoded(index).read_bytes(), source.label(index)) for index in range(40)
        )
        (tmp_path / "web" / "set" / "000001.tar").write_bytes(b"other bytes")
        monkeypatch.setenv("UNIC_CACHE", str(tmp_path / "other"))
        changed = open_source(f"http://127.0.0.1:{server.server_port}/set")
        with pytest.raises(InputError, match=r"000001.tar.* 3 times.*SHA-256"):
            changed.read(manifest["shards"][0]["samples"])
        with pytest.raises(InputError, match=r"manifest.json"):
            open_source(f"http://127.0.0.1:{server.server_port}/nothing")
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_parquet_row_groups_and_hub_names(tmp_path, monkeypatch):
    rows = [{"bytes": png(value), "path": None} for value in range(10)] + [None]
    table = pa.table({"image": pa.array(rows), "other": [0] * 11})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=4)
    source = open_source(f"file://{tmp_path}/a.parquet", window=1)
    assert [source.read(index).getpixel((0, 0))[0] for index in range(10)] == list(range(10))
    assert source.name(9) == "a.parquet#2[1]"
    with pytest.raises(DamagedImageError, match="empty"):
        source.read(10)

    class Builder:
        class config:
            data_files = {"train": [str(tmp_path / "a.parquet")]}  # noqa: RUF012

    monkeypatch.setattr("datasets.load_dataset_builder", lambda name, config: Builder)
    assert len(open_source("stream:org/name")) == 11
    with pytest.raises(InputError, match=r"split 'test'.* train"):
        open_source("stream:org/name", split="test")


def test_limit_takes_few_shards(tmp_path):
    source = open_source(shards(tmp_path / "s", [4] * 10), limit=6)
    assert (len(source), len(source._pieces)) == (6, 2)
    assert {source.read(index).size for index in range(6)} == {(4, 4)}


def test_images_of_a_limited_stream_know_their_numbers_in_the_whole(tmp_path):
    path = shards(tmp_path / "s", [4, 2, 5] * 3)
    whole = open_source(path)
    assert [whole.number(index) for index in range(len(whole))] == list(range(33))
    part = open_source(path, limit=10)
    numbers = [part.number(index) for index in range(10)]
    assert numbers != list(range(10))
    assert [whole.name(number) for number in numbers] == [part.name(index) for index in range(10)]


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("pipe:cat x.tar", "'pipe:'"),
        ("ftp://host/x.tar", "'ftp://'.*"),
        ("file:///nowhere/{0..1}.tar", r"file:///nowhere/0.tar.* 3 times"),
        ("file:///nowhere/a.parquet", "cannot be read"),
        ("https://host/folder", "no manifest.json"),
    ],
)
def test_what_is_not_fetched(path, line, monkeypatch):
    monkeypatch.setattr(_pieces.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(_catalogue, "_document", lambda url: (_ for _ in ()).throw(OSError("no network")))
    with pytest.raises(InputError, match=line):
        open_source(path)


def test_a_shard_that_cannot_be_fetched_ends_training_with_a_line(tmp_path, monkeypatch):
    images = ImageList([open_source(shards(tmp_path / "s", [4, 4]))])
    (tmp_path / "s" / "01.tar").unlink()
    monkeypatch.setattr(_pieces.time, "sleep", lambda seconds: None)
    with pytest.raises(InputError, match=r"01.tar.* 3 times"):
        batches(images, batch_size=8, num_steps=1)


def test_a_manifest_of_strangers_cannot_name_other_places(tmp_path):
    for name in ("../x.tar", "/etc/x.tar", "http://host/x.tar", "x.sh"):
        shard = {"file": name, "samples": 1, "bytes": 1, "sha256": ""}
        (tmp_path / "manifest.json").write_text(
            json.dumps({"format": "unic shards", "classes": None, "shards": [shard]})
        )
        with pytest.raises(InputError, match="manifest.json"):
            open_source(f"file://{tmp_path}")
