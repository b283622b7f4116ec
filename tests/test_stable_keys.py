"""Keys and fingerprints do not change, so caches, cells and runs of earlier versions are found again.

The digests were taken before `unic.digest` came, each place with a hash of its own.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import nn

from unic import digest
from unic.data.sources import open_source
from unic.data.sources.arrays import Arrays
from unic.data.sources.base import Source
from unic.data.sources.selection import Selection
from unic.data.streaming.pieces import Piece, Shelf
from unic.data.streaming.source import Streamed
from unic.encoders import build_encoder
from unic.encoders._module import ModuleEncoder
from unic.encoders._own_model import values_of_model
from unic.eval import cells, task_code
from unic.eval.outcome import TOP1, Outcome
from unic.features import entry as _entry_files
from unic.features.extraction import Extraction
from unic.own_code import own_code
from unic.runs import checkpoint

TIME = 1_700_000_000  # of files whose times are in a fingerprint


def arrays() -> Arrays:
    images = np.arange(4 * 8 * 8, dtype=np.uint8).reshape(4, 8, 8)
    return Arrays("four", images, np.array([0, 1, 1, 0]), ["a", "b"])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Images in two classes, as bytes that no library writes: fingerprints do not decode them."""
    for number, name in enumerate(("a/1.png", "a/2.png", "b/ü.png")):
        file = tmp_path / "set" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x" * (number + 1))
        os.utime(file, (TIME, TIME))
    return tmp_path / "set"


def test_a_feature_cache_key_and_what_it_is_made_of() -> None:
    encoder, images = build_encoder("pixels:4"), arrays()
    assert encoder.fingerprint() == "55fb71a79d58fe42"
    assert images.fingerprint() == "df326fb1d81843c6"
    assert images.label_fingerprint() == "aa47eb73ac62634aeef7485fc52e86be00df3434e2242da2a9dead2f52aed42e"
    assert Extraction(encoder, images).key == "3c08b28dd00e6256ba634153"
    part = Extraction(encoder, images, size=8, blocks=(1,), span=(0, 2), patch_grid=(2, 2))
    assert part.entry == "11bbdaef320c698135907096-2x2-fp16"


def test_fingerprints_of_an_encoder_with_weights() -> None:
    module = nn.Conv2d(3, 2, 2, 2)
    with torch.no_grad():
        module.weight.copy_(torch.arange(24).reshape(2, 3, 2, 2))
        module.bias.copy_(torch.tensor([0.5, -0.5]))
    encoder = ModuleEncoder(module, "mine", description="d", input_size=(4, 4), mean=[0.0] * 3, std=[1.0] * 3)
    assert encoder.fingerprint() == "be02d4fe584c0f39"
    assert values_of_model(module) == "abfdde520b412ad9"


def test_fingerprints_of_sources(folder: Path, tmp_path: Path) -> None:
    pieces = [Piece("https://example.org/a.tar", 3), Piece("https://example.org/b.parquet", 2, 0, "0" * 64)]
    whole = open_source(str(folder))
    sources: dict[str, Source] = {
        "folder": whole,
        "selection": Selection("some", whole, np.array([2, 0])),
        "streamed": Streamed("https://example.org", pieces, Shelf("x", tmp_path / "shelf", 4)),
        "generated": open_source("generated:dead_leaves?images=3&size=16&seed=1"),
    }
    portable = {name: source.portable_fingerprint() for name, source in sources.items()}
    assert portable == {
        "folder": "d7e95127e3c57353",
        "selection": "d983e6c1e1a3889b",
        "streamed": "e7b2da9fc4960596",
        "generated": "31bba0a6a3ecaaf5",
    }
    whole_of = {name: sources[name].fingerprint() for name in ("folder", "selection", "streamed")}
    assert whole_of == {
        "folder": "d300b80da9e3cff7",
        "selection": "5e870c1c4b3d6dc0",
        "streamed": "c9d10c72377c5121",
    }


def test_the_name_of_a_cell(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cells, "versions", lambda *_: "of the shipped tasks")
    assert (
        cells.cell_key("knn", options={"k": 5, "list": ["a"]}, encoder="e", images=("i", 3))
        == "95556944ad4a4bfdad0562c2f03512c9"
    )
    cells.CellStore(tmp_path).save("cell", Outcome(np.array([[1.0], [0.0]]), TOP1, {"k": 5}))
    with safe_open(tmp_path / "cell.safetensors", framework="numpy") as stored:
        assert stored.metadata()["digest"] == "2c3b299d9f72ae85bf9772d9f24dcc27e813f1bee9a305f48e5548e57bdf9279"


def test_the_hash_of_own_code_and_of_files_in_options(tmp_path: Path) -> None:
    (tmp_path / "probe.py").write_text("import math\n\n\ndef run():\n    return math.pi\n")
    (tmp_path / "prompts.txt").write_text("a photo of {}\n")
    assert own_code(files=[tmp_path / "probe.py"]).digest == "1b0e502fe87c13b7"
    assert task_code.content_of_uri(f"py:x?checkpoint={tmp_path}/prompts.txt")[1] == [
        "b561de7f9dde003b0d15e604d4b996b3c3b2c320b909dcc10dcebccd104dccd6"
    ]


def test_the_sums_of_an_entry(tmp_path: Path) -> None:
    (tmp_path / "begun").mkdir()
    (tmp_path / "kept").mkdir()
    np.save(tmp_path / "begun" / "cls.npy", np.arange(6, dtype=np.float32).reshape(3, 2))
    target = tmp_path / "kept" / "entry"
    _entry_files.publish(tmp_path / "begun", target, _entry_files.Tally(rows=3))
    assert json.loads((target / "meta.json").read_text())["files"] == {
        "cls.npy": {
            "size": 152,
            "sha256": "bb3905ae49129159d6bc99ce6d7d4b5db621bd30476913e80f1495393cc98a7a",
            "header": "7b972544f52ec20b87c91096802b117cb4701be1f81fed47f3dc9362888ec946",
        }
    }


def test_the_sum_of_a_large_file_is_of_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_entry_files, "_HASHED_WHOLE", 1000)
    monkeypatch.setattr(_entry_files, "_BLOCK", 16)
    (tmp_path / "large").write_bytes(bytes(range(256)) * 20)
    assert _entry_files._hash(tmp_path / "large") == "368c70138dbef0aa651347ab9771dd69e4f5c949ce744fbc5c3348556905b4e4"


def test_hashes_are_made_in_one_place() -> None:
    root = Path(digest.__file__).parent
    found = {str(path.relative_to(root)) for path in root.rglob("*.py") if "hashlib.sha" in path.read_text("utf-8")}
    assert found == {"digest.py"}


def test_the_sums_of_a_checkpoint(tmp_path: Path) -> None:
    folder = checkpoint.save(tmp_path, checkpoint.Checkpoint(3, {"a": torch.zeros(2)}, {"stage": 0}), keep=1)
    sums = (folder / "SHA256SUMS").read_text().splitlines()
    assert sums[0] == "5aefab8a760a0a3b2be2acf0c21fa5bae03e94e3b61db61e326e511052942712  state.json"
