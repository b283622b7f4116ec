"""`unic encode`: the content of a file of features."""

from __future__ import annotations

import io
import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from safetensors import safe_open
from safetensors.numpy import load_file

from unic import api, cli
from unic.features import files as _feature_file

QUIET = Console(quiet=True)


def metadata(file: Path) -> dict[str, str]:
    with safe_open(file, "numpy") as found:
        return found.metadata()


@pytest.fixture
def numbered(tmp_path: Path) -> Path:
    """Twenty grey images in two classes, the n-th in the order of their names n · 10 bright; the third is damaged."""
    for number in range(20):
        folder = tmp_path / "set" / ("dark" if number < 10 else "light")
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (number * 10,) * 3).save(folder / f"{number:02d}.png")
    (tmp_path / "set" / "dark" / "02.png").write_bytes(b"no image")
    return tmp_path / "set"


@pytest.mark.parametrize("limit", [None, 7])
def test_every_row_knows_its_image(numbered: Path, tmp_path: Path, limit: int | None) -> None:
    file = api.encode("pixels:2", str(numbered), tmp_path / "f.safetensors", limit=limit, console=QUIET)
    arrays, said = load_file(file), metadata(file)
    assert set(arrays) == {"cls", "patch_mean", "index", "labels"}
    assert (said["uri"], said["data"], json.loads(said["classes"])) == ("pixels:2", str(numbered), ["dark", "light"])
    # The pixels themselves tell which image of the whole set a row is.
    shown = np.rint(arrays["cls"][:, 0] * 255 / 10).astype(int)
    assert len(shown) >= 6
    assert arrays["index"].tolist() == shown.tolist()
    assert json.loads(said["names"]) == [f"{'dark' if n < 10 else 'light'}/{n:02d}.png" for n in shown]
    if limit is None:
        assert shown.tolist() == [n for n in range(20) if n != 2]


def test_names_that_would_be_too_long_for_the_head_are_a_tensor(
    numbered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.rename(numbered / "dark" / "01.png", os.fsencode(numbered / "dark") + b"/caf\xe9.png")
    files = []
    for number, most in enumerate((80_000_000, 100)):
        monkeypatch.setattr(_feature_file, "_MOST_BYTES", most)
        files.append(api.encode("pixels:2", str(numbered), tmp_path / f"{number}.safetensors", console=QUIET))
    assert "names" not in load_file(files[0]).keys() | metadata(files[1]).keys()
    found = load_file(files[1])["names"].tobytes().split(b"\0")
    assert b"dark/caf\xe9.png" in found
    assert found == [os.fsencode(name) for name in json.loads(metadata(files[0])["names"])]


def test_images_without_labels_have_names(numbered: Path, tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(numbered / "loose.png")
    file = api.encode("pixels:2", str(numbered), tmp_path / "f.safetensors", console=QUIET)
    assert set(load_file(file)) == {"cls", "patch_mean", "index"}
    assert "classes" not in metadata(file)
    assert json.loads(metadata(file)["names"])[-1] == "loose.png"


def one_line(said: io.StringIO) -> str:
    """What was said, which is wrapped to the width of its place."""
    return " ".join(said.getvalue().split())


def divided(layout: str, folder: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    for split, grey in (("train", 50), ("test", 100)):
        stream = io.BytesIO()
        Image.new("RGB", (8, 8), (grey,) * 3).save(stream, "PNG")
        if layout == "folders":
            (folder / split / "kind").mkdir(parents=True)
            (folder / split / "kind" / "0.png").write_bytes(stream.getvalue())
        elif layout == "parquet":
            folder.mkdir(exist_ok=True)
            rows = [{"bytes": stream.getvalue(), "path": None}]
            pq.write_table(pa.table({"image": rows}), folder / f"{split}-00000-of-00001.parquet")
        else:
            inner = {"masks": ("images/{}", "masks/{}"), "depth": ("{}/images", "{}/depth")}[layout]
            for place in (folder / each.format(split) for each in inner):
                place.mkdir(parents=True)
                (place / "0.png").write_bytes(stream.getvalue())
            depth = Image.fromarray(np.full((8, 8), 1000 if layout == "depth" else 1, np.uint16))
            (depth if layout == "depth" else depth.convert("L")).save(folder / inner[1].format(split) / "0.png")
    if layout == "masks":
        (folder / "classes.txt").write_text("a\nb\n")


@pytest.mark.parametrize("layout", ["folders", "parquet", "masks", "depth"])
def test_one_split_of_several_is_said(layout: str, tmp_path: Path) -> None:
    divided(layout, tmp_path / "set")
    said = io.StringIO()
    options: dict[str, Any] = {"console": Console(file=said, width=40)}
    file = api.encode("pixels:1", str(tmp_path / "set"), tmp_path / "f.safetensors", **options)
    assert re.search(f"data '{tmp_path / 'set'}'.*'train' of test, train", one_line(said))
    assert (metadata(file)["split"], load_file(file)["cls"][0, 0]) == ("train", pytest.approx(50 / 255))
    said.truncate(0)
    file = api.encode("pixels:1", str(tmp_path / "set"), tmp_path / "f.safetensors", split="test", **options)
    assert "only its split" not in said.getvalue()
    assert (metadata(file)["split"], load_file(file)["cls"][0, 0]) == ("test", pytest.approx(100 / 255))


def test_a_whole_set_is_not_called_a_split(numbered: Path, tmp_path: Path) -> None:
    said = io.StringIO()
    file = api.encode("pixels:1", str(numbered), tmp_path / "f.safetensors", console=Console(file=said))
    assert "only its split" not in said.getvalue()
    assert "split" not in metadata(file)


def test_a_set_of_the_hub_and_a_placeholder_are_said_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from unic.data.sources import open_source

    divided("folders", tmp_path / "set")
    one = open_source(str(tmp_path / "set"))

    class Builder:
        config = type("Config", (), {"data_files": {"train": ["a"], "validation": ["b"]}})

    monkeypatch.setattr("datasets.load_dataset_builder", lambda name, config: Builder)
    monkeypatch.setattr("unic.data.sources.huggingface.open_hub", lambda name, split, named: one)
    for data, listed in (("lab/birds", " of train, validation"), (f"{tmp_path}/set/{{split}}", "")):
        said = io.StringIO()
        api.encode("pixels:1", data, tmp_path / "f.safetensors", console=Console(file=said))
        assert re.search(re.escape(f"data '{data}'") + f".*'train'{listed} ", one_line(said))


def test_why_there_are_no_labels_is_said(tmp_path: Path) -> None:
    (tmp_path / "flat").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "flat" / "a.png")
    (tmp_path / "flat" / "metadata.csv").write_text("file_name,kind\na.png,owl\n")
    said = io.StringIO()
    file = api.encode("pixels:1", f"{tmp_path}/flat", tmp_path / "f.safetensors", console=Console(file=said, width=40))
    assert re.search(rf"data '{tmp_path}/flat'.*no labels.*metadata\.csv.*'label'.*\?label=kind", one_line(said))
    assert "labels" not in load_file(file)
    file = api.encode("pixels:1", f"{tmp_path}/flat?label=kind", tmp_path / "g.safetensors", console=Console(file=said))
    assert load_file(file)["labels"].tolist() == [0]


def test_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    divided("folders", tmp_path / "set")
    monkeypatch.chdir(tmp_path)
    for command, out in (("encode pixels:1 --data set", "f.safetensors"), ("shard set", "shards")):
        monkeypatch.setattr("sys.argv", ["unic", *command.split(), "--out", out])
        cli.main()
        assert re.search("data 'set'.*'train' of test, train", capsys.readouterr().err)
        monkeypatch.setattr("sys.argv", ["unic", *command.split(), "--out", f"test-{out}", "--split", "test"])
        cli.main()
        assert "only its split" not in capsys.readouterr().err
    assert metadata(tmp_path / "test-f.safetensors")["split"] == "test"
