"""Input made to do harm: refused with one line, without running anything, allocating much or writing elsewhere."""

from __future__ import annotations

import json
import pickle
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch

from unic.encoders import load_encoder
from unic.errors import InputError
from unic.recipe.schema import load_recipe


class Payload:
    """Unpickled, it writes a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.marker,)


def refused(act: Callable[[], object]) -> str:
    with pytest.raises(InputError) as error:
        act()
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("uri", ["timm:test_vit?checkpoint={}", "official:unic?checkpoint={}"])
def test_a_pickle_with_code_in_it(tmp_path: Path, uri: str, zipped: bool) -> None:
    marker = tmp_path / "executed"
    path = tmp_path / "weights.pth"
    torch.save({"model": {"w": torch.ones(1)}, "args": Payload(marker)}, path, _use_new_zipfile_serialization=zipped)
    line = refused(lambda: load_encoder(uri.format(path), device=torch.device("cpu")))
    assert "pickle" in line
    path.write_bytes(pickle.dumps(Payload(marker)))
    refused(lambda: load_encoder(uri.format(path), device=torch.device("cpu")))
    assert not marker.exists()
    Payload(marker).__reduce__()[0](marker)  # it would have
    assert marker.exists()


def test_timm_itself_runs_no_code_of_a_file(tmp_path: Path) -> None:
    """The lowest timm that is declared reads no pickle by default; unic gives it none, but its users may."""
    marker = tmp_path / "executed"
    torch.save({"w": torch.ones(1), "args": Payload(marker)}, tmp_path / "pytorch_model.bin")
    (tmp_path / "config.json").write_text('{"architecture": "test_vit"}')
    with pytest.raises(RuntimeError):
        timm.models.load_checkpoint(timm.create_model("test_vit"), str(tmp_path / "pytorch_model.bin"))
    with pytest.raises(RuntimeError):
        timm.create_model(f"local-dir:{tmp_path}", pretrained=True)
    assert not marker.exists()


def header(tree: object, size: int | None = None, data: bytes = b"") -> bytes:
    text = tree if isinstance(tree, bytes) else json.dumps(tree).encode()
    return struct.pack("<Q", len(text) if size is None else size) + text + data


def entry(shape: list[int], begin: int, end: int, dtype: str = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


HEADERS = {
    "length of 2^63": header({}, 2**63),
    "length of 2^64 - 1": header({}, 2**64 - 1),
    "length of 99 MB": header({}, 99_000_000),
    "shape of 2^60": header({"a": entry([2**60], 0, 4)}, data=bytes(4)),
    "shape that overflows": header({"a": entry([2**40, 2**40], 0, 4)}, data=bytes(4)),
    "offsets behind the end": header({"a": entry([2**30], 0, 2**32)}, data=bytes(4)),
    "overlapping offsets": header({"a": entry([2], 0, 8), "b": entry([2], 4, 12)}, data=bytes(12)),
    "a hole": header({"a": entry([1], 0, 4), "b": entry([1], 8, 12)}, data=bytes(12)),
    "end before begin": header({"a": entry([1], 4, 0)}, data=bytes(4)),
    "negative shape": header({"a": entry([-1], 0, 4)}, data=bytes(4)),
    "unknown type": header({"a": entry([1], 0, 4, "OBJECT")}, data=bytes(4)),
    "deep JSON": header(b"[" * 100_000),
    "no JSON": header(b"\xff" * 64),
    "seven bytes": bytes(7),
    "nothing": b"",
}


@pytest.mark.parametrize("name", HEADERS)
def test_a_safetensors_header_that_lies(tmp_path: Path, name: str) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(HEADERS[name])
    tracemalloc.start()
    line = refused(lambda: load_encoder(f"timm:test_vit?checkpoint={path}", device=torch.device("cpu")))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert "cannot read" in line
    assert peak < 20_000_000


@pytest.mark.parametrize("uri", ["hub:{}:entry", "torchscript:{}/model.pt"])
def test_code_runs_only_where_it_is_allowed(tmp_path: Path, uri: str) -> None:
    marker = tmp_path / "executed"
    (tmp_path / "hubconf.py").write_text(f"open({str(marker)!r}, 'w')\ndef entry(): pass\n")
    (tmp_path / "model.pt").write_bytes(b"")
    line = refused(lambda: load_encoder(uri.format(tmp_path), device=torch.device("cpu")))
    assert "trust_remote_code=true" in line
    assert not marker.exists()


TAGS = [
    "!!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path ['{}']]",
    "!!python/object/new:pathlib.Path ['{}']", "!!python/name:os.system", "!!python/module:os",
    "!!python/object/apply:os.system ['touch {}']", "!!python/object/apply:eval [\"open('{}', 'w')\"]",
]  # fmt: skip


@pytest.mark.parametrize("tag", TAGS)
def test_yaml_makes_no_objects(tmp_path: Path, tag: str) -> None:
    marker = tmp_path / "executed"
    (tmp_path / "bad.yaml").write_text(f"seed: {tag.format(marker)}\n")
    assert "not valid YAML" in refused(lambda: load_recipe(tmp_path / "bad.yaml"))
    with pytest.raises(InputError):
        load_recipe("quickstart", [f"seed={tag.format(marker)}"])
    assert not marker.exists()


def test_names_of_teachers_are_no_paths_and_no_html() -> None:
    for name in ("../../etc", "a/b", "<b>", "a b", ""):
        recipe = {"teachers": {"models": {name: "timm:x"}}, "student": {"model": "timm:y"}, "data": {"train": "z"}}
        assert "letters, digits" in refused(lambda recipe=recipe: load_recipe(recipe))  # type: ignore[misc]
