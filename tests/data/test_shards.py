"""`unic shard`: bytes and labels kept, the same bytes each time, resumed, and never over something else."""

import hashlib
import io
import json
import shutil
import tarfile

import pytest
from PIL import Image

from unic import cli
from unic.data.shards import writing as shards
from unic.data.shards.writing import write_shards
from unic.data.sources import open_source
from unic.errors import InputError


def contents(folder):
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


def test_bytes_labels_and_classes_are_kept(image_folder, tmp_path):
    source = open_source(str(image_folder))
    manifest = write_shards(source, tmp_path / "out", samples=15)
    assert [shard["samples"] for shard in manifest["shards"]] == [15, 15, 10]
    found = open_source(str(tmp_path / "out"))
    assert (len(found), found.classes) == (40, source.classes)
    expected = sorted((source.encoded(index).read_bytes(), source.label(index)) for index in range(40))
    assert sorted((found.encoded(index), found.label(index)) for index in range(40)) == expected
    assert {found.label(index) for index in range(15)} == {0, 1}  # shuffled: no shard of one class
    for shard in manifest["shards"]:
        assert hashlib.sha256((tmp_path / "out" / shard["file"]).read_bytes()).hexdigest() == shard["sha256"]


def test_the_order_can_be_kept_and_a_size_bounds_each_shard(image_folder, tmp_path):
    source = open_source(str(image_folder))
    manifest = write_shards(source, tmp_path, size="40kB", keep_order=True)
    assert len(manifest["shards"]) > 2
    assert all(shard["bytes"] <= 40_960 for shard in manifest["shards"])  # tar rounds up to 10 kB
    found = open_source(str(tmp_path))
    assert [found.encoded(index) for index in range(40)] == [source.encoded(i).read_bytes() for i in range(40)]


def test_names_lie_beside_the_index_and_change_no_shard(tmp_path):
    """Sums of shards that were written before there were names."""
    for kind, name in (("a", "{}.png"), ("b", "p {}.jpg")):
        (tmp_path / "set" / kind).mkdir(parents=True)
        for number in range(7):
            content = f"{'image' if kind == 'a' else 'picture'} {number}"
            (tmp_path / "set" / kind / name.format(number)).write_text(content)
    source = open_source(str(tmp_path / "set"))
    manifest = write_shards(source, tmp_path / "out", samples=6)
    assert [shard["sha256"] for shard in manifest["shards"]] == [
        "83dabe5dbb31ac91c11332cf22c237b2fbc2aff45b9667ead09e72b76269af1c",
        "291cd719d7fa0c5633eb13d6fa9b7a6a4e2efda663079c8de268d9415b3b9a29",
        "04032a60c335a92757f1bce1dbbd3c40a64ac9093c4a4ebdf757627ca6df36f9",
    ]
    assert manifest["index"] == "bf7ce3369f74c3404e8e4d3711877cf2f5c6b89cbe684c5af5b37cff8b73cb8e"
    rows = [json.loads(line) for line in (tmp_path / "out" / "names.jsonl").read_text().splitlines()]
    found = open_source(str(tmp_path / "out"))
    assert len(rows) == len(found) == 14
    for place, row in enumerate(rows):
        assert (tmp_path / "set" / row["name"]).read_bytes() == found.encoded(place)
        assert found.name(place).partition("/")[2].partition(".")[0] == row["key"]
        assert source.name(row["index"]) == row["name"]


def test_names_of_a_subset_without_what_was_skipped(image_folder, tmp_path):
    """Numbers are those of the whole set."""
    shutil.copytree(image_folder, tmp_path / "set")
    whole = open_source(str(tmp_path / "set"))
    part = open_source(str(tmp_path / "set"), limit=9)
    gone = part.name(4)
    (tmp_path / "set" / gone).unlink()
    (tmp_path / "set" / gone).symlink_to("nowhere")
    manifest = write_shards(part, tmp_path / "out", samples=5)
    assert [name for name, _ in manifest["skipped"]] == [gone]
    rows = [json.loads(line) for line in (tmp_path / "out" / "names.jsonl").read_text().splitlines()]
    assert {row["name"] for row in rows} == {part.name(index) for index in range(9)} - {gone}
    assert all(whole.name(row["index"]) == row["name"] for row in rows)


def test_a_stopped_writing_is_gone_on_with_and_gives_the_same_bytes(image_folder, tmp_path, monkeypatch):
    source = open_source(str(image_folder))
    write_shards(source, tmp_path / "whole", samples=10)
    write, calls = shards._write_shard, []

    def stop_at_the_third(*args):
        calls.append(args)
        if len(calls) == 3:
            (tmp_path / "out" / ".000002.tar.partial").write_bytes(b"half")
            raise KeyboardInterrupt
        return write(*args)

    monkeypatch.setattr(shards, "_write_shard", stop_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        write_shards(source, tmp_path / "out", samples=10)
    assert not (tmp_path / "out" / "manifest.json").exists()
    write_shards(source, tmp_path / "out", samples=10)
    assert len(calls) == 5  # the two whole shards are not written again
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    write_shards(source, tmp_path / "out", samples=10)
    assert len(calls) == 5


def test_a_folder_of_something_else_is_refused(image_folder, tmp_path):
    source = open_source(str(image_folder))
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="empty.*shards"):
        write_shards(source, tmp_path)
    write_shards(source, tmp_path / "out", samples=10)
    before = contents(tmp_path / "out")
    with pytest.raises(InputError, match="these shards"):
        write_shards(source, tmp_path / "out", samples=20)
    assert contents(tmp_path / "out") == before
    with pytest.raises(InputError, match="with a unit"):
        write_shards(source, tmp_path / "other", size="big")


def test_parquet_keeps_its_bytes_and_finds_their_suffix(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    stored = []
    for number, kind in enumerate(("JPEG", "PNG", "WEBP")):
        stream = io.BytesIO()
        Image.new("RGB", (8, 8), (number, 0, 0)).save(stream, kind)
        stored.append(stream.getvalue())
    rows = [{"bytes": data, "path": None} for data in (*stored, b"no image", None)]
    pq.write_table(pa.table({"image": rows}), tmp_path / "a.parquet")
    manifest = write_shards(open_source(str(tmp_path / "a.parquet")), tmp_path / "out", keep_order=True)
    ((name, reason),) = manifest["skipped"]
    assert (name, "no image bytes" in reason) == ("a.parquet[4]", True)
    with tarfile.open(tmp_path / "out" / "000000.tar") as archive:
        names = [(member.name, member.mtime, member.uid) for member in archive]
        assert names == [(f"{n:09d}{s}", 0, 0) for n, s in enumerate((".jpg", ".png", ".webp", ".png"))]
        assert [archive.extractfile(name).read() for name, *_ in names] == [*stored, b"no image"]


def test_an_index_or_manifest_that_does_not_fit_is_not_believed(image_folder, tmp_path):
    write_shards(open_source(str(image_folder)), tmp_path, samples=20)
    expected = [open_source(str(tmp_path)).encoded(index) for index in range(40)]
    for damage in ("index.bin", "manifest.json"):
        data = bytearray((tmp_path / damage).read_bytes())
        data[len(data) // 2] ^= 1
        (tmp_path / damage).write_bytes(data)
        found = open_source(str(tmp_path))
        assert [found.encoded(index) for index in range(40)] == expected


def test_command(image_folder, tmp_path, monkeypatch, capsys):
    line = ["unic", "shard", str(image_folder), "--out", str(tmp_path / "out"), "--samples", "25"]
    monkeypatch.setattr("sys.argv", line)
    cli.main()
    assert "40 images in 2 shards, 0 skipped" in capsys.readouterr().out
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["images"] == 40


def test_generated_images_become_shards(tmp_path, monkeypatch, capsys):
    """The command writes what the source draws, without loss, and once more the same bytes."""
    path = "generated:strokes?images=7&size=24&seed=3"
    for out in ("one", "two"):
        monkeypatch.setattr("sys.argv", ["unic", "shard", path, "--out", str(tmp_path / out), "--samples", "3"])
        cli.main()
    said = capsys.readouterr()
    assert f"{tmp_path / 'one'}: 7 images in 3 shards, 0 skipped" in said.out
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    drawn, found = open_source(path), open_source(str(tmp_path / "one"))
    rows = [json.loads(line) for line in (tmp_path / "one" / "names.jsonl").read_text().splitlines()]
    assert sorted(row["index"] for row in rows) == list(range(7))
    for place, row in enumerate(rows):
        assert found.read(place).tobytes() == drawn.read(row["index"]).tobytes()


def test_a_family_of_ones_own_that_is_typed_is_trusted(tmp_path, monkeypatch):
    (tmp_path / "lab_for_shards").mkdir()
    (tmp_path / "lab_for_shards/grey.py").write_text(
        "import numpy as np\n\n\ndef draw(random, size):\n    return np.full((size, size, 3), 9, np.uint8)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    path = "generated:lab_for_shards.grey?images=2&size=8"
    monkeypatch.setattr("sys.argv", ["unic", "shard", path, "--out", str(tmp_path / "out")])
    cli.main()
    assert len(open_source(str(tmp_path / "out"))) == 2
