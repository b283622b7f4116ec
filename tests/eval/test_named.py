"""What a user gives for a model, and what its column is called."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from unic.encoders.schemes.pixels import Pixels
from unic.errors import InputError
from unic.eval.named import by_name

ENCODER = Pixels(8)
ENCODER.uri = "pixels:8"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("timm:a/b.c?x=y", {"b.c": "timm:a/b.c?x=y"}),
        (["b=pixels:8", "pixels:4", "a=pixels:2"], {"b": "pixels:8", "4": "pixels:4", "a": "pixels:2"}),
        (["pixels:4", "pixels:4"], {"4": "pixels:4", "4-2": "pixels:4"}),
        (ENCODER, {"8": ENCODER}),
        ([Pixels(2), "timm:x?a=b"], {"Pixels": ..., "x": "timm:x?a=b"}),
        (Path("runs/gone"), {"gone": "run:runs/gone"}),
        ({"mine": ENCODER, "its=name": "pixels:4", "p": Path("a:b")},
         {"mine": ENCODER, "its=name": "pixels:4", "p": "run:a:b"}),
        ([], {}),
    ],
)  # fmt: skip
def test_names_in_the_order_given(given: Any, expected: dict[str, Any]) -> None:
    found = by_name(given)
    assert list(found) == list(expected)
    assert all(wanted is ... or found[name] is wanted or found[name] == wanted for name, wanted in expected.items())


def test_folders_are_models_whatever_their_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("2024-05-01T12:30:00", "lr=1e-4,bs=64"):
        (tmp_path / name).mkdir()
    assert by_name(["lr=1e-4,bs=64", "lr=1e-4,bs=64?img_size=96"]) == {
        "lr=1e-4,bs=64": "lr=1e-4,bs=64",
        "lr=1e-4,bs=64-2": "lr=1e-4,bs=64?img_size=96",
    }
    assert by_name(Path("2024-05-01T12:30:00")) == {"2024-05-01T12:30:00": "run:2024-05-01T12:30:00"}


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (["a=pixels:8", "a=pixels:4"], "model 'a'.*twice.*NAME=URI"),
        (["pixels:8", "8=pixels:4"], "model '8'.*twice"),
        (["a="], "model 'a='.*NAME=URI"),
        (["=pixels:8"], "model '=pixels:8': expected NAME=URI"),
    ],
)
def test_one_line(given: list[str], line: str) -> None:
    with pytest.raises(InputError, match=line):
        by_name(given)
