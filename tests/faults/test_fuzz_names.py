"""Names, parts, prefixes and URIs at random: an answer or one line, never a traceback; what is written is read."""

from __future__ import annotations

import itertools
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import example, given, settings, strategies
from PIL import Image

from unic.compose import compose, write_recipe
from unic.data.sources import Source, open_source
from unic.data.sources._path_options import PathOptions, split_off
from unic.encoders import build_encoder, parse_uri
from unic.encoders._weights import unwrap
from unic.encoders.base import Encoder
from unic.errors import InputError
from unic.eval.datasets import DataPair, resolve
from unic.eval.named import unique_names
from unic.recipe.schema import load_recipe

PARTS = [
    "all.parquet", "set", "classes", "train", "test", "val", "images", "*", "**", "?", "[ab]", "{0..2}", "{2..0}",
    "{split}", "{0..999999999999}", ".parquet", ".tar", "/", "~", "~nobody", "stream:", "pipe:", "file://", "s3://",
    "https://", "gopher://", "hf://", "org/name", ":", "?test=0.5", "?test=2", "?test=", "&seed=1", "?seed=x",
    "?overlap=allow", "&", "=", "%", "+", "\x00", "\n", "é", "\ud800", " ", "'", "${a}", "x" * 300,
]  # fmt: skip
NAMES = [
    "x", "clipart", "cog", "cog?level=3", "cog?level=9", "a.b", "os", "unic.errors", "a/b", "a\nb", "", " ", "=", "?",
    "é", "\ud800", ".", "..",
]  # fmt: skip
SPLITS = [None, "train", "test", "val", "", "Train", "training", "..", "/", "\x00", "\n", "{split}", "tests"]
URIS = [
    "pixels:", "pixels:8", "timm:", "timm:test_vit?pretrained=false", "onnx:", "safetensors:", "torchscript:", "run:",
    "tim:", ":", "?", "&", "=", "img_size=32", "size=0x8", "size=8x8x8", "mean=0.5", "mean=nan", "std=0", "std=1,2",
    "checkpoint=no.pth", "no/such/file", ".onnx", "..", "~nobody", "\x00", "\n", "é", "\ud800", "٣", "-1", "1e9",
    "9" * 30, "%00", "+",
]  # fmt: skip
WRAPPERS = ["_orig_mod.", "module.", "model.", "backbone."]
CONTAINERS = ["state_dict", "model_state_dict", "model_ema", "model", "teacher"]
Texts = strategies.SearchStrategy[str]


def joined(parts: list[str], most: int = 4) -> Texts:
    return strategies.lists(strategies.sampled_from(parts) | strategies.text(max_size=4), max_size=most).map("".join)


def one_line(call: Callable[[], Any]) -> Any:
    """What `call` answers; None where it refuses."""
    try:
        return call()
    except InputError as error:
        if len(str(error).splitlines()) != 1:
            raise ValueError("not one line") from error
        return None


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of sets in several forms, the working folder; nothing outside the machine answers."""

    def offline(*_: Any, **__: Any) -> Any:
        raise OSError("no network\nhere")

    for split, count in (("train", 4), ("test", 2)):
        for number in range(count):
            pixels = np.random.default_rng([number, count]).integers(0, 256, (4, 4, 3), dtype=np.uint8)
            for folder in ("set/" + split, "classes"):
                file = tmp_path / "data" / folder / ("a", "b")[number % 2] / f"{split}{number}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(file)
    pngs = [file.read_bytes() for file in sorted((tmp_path / "data" / "classes").rglob("*.png"))]
    pq.write_table(pa.table({"image": pngs}), tmp_path / "data" / "all.parquet")
    for target in ("load_dataset", "load_dataset_builder"):
        monkeypatch.setattr(f"datasets.{target}", offline)
    monkeypatch.setattr(urllib.request, "urlopen", offline)
    monkeypatch.chdir(tmp_path / "data")
    return tmp_path


def try_many(count: int, check: Callable[..., None], /, *first: tuple[Any, ...], **strategy: Any) -> None:
    """Runs `check` on examples that hypothesis makes, the same ones each time, and on those given."""
    test = given(**strategy)(check)
    for values in first:
        test = example(*values)(test)
    settings(derandomize=True, database=None, deadline=None, max_examples=count, report_multiple_bugs=False)(test)()


def paths(count: int) -> None:
    def check(path: str, split: str | None, limit: int | None) -> None:
        if path.startswith("/"):
            return  # the whole disk
        found = one_line(lambda: open_source(path, limit, split))
        if isinstance(found, Source):
            assert len(found) > 0
            assert one_line(lambda: open_source(path, limit, split)).fingerprint() == found.fingerprint()

    try_many(
        count, check, path=joined(PARTS), split=strategies.sampled_from(SPLITS),
        limit=strategies.sampled_from([None, 1, 3, 100]),
    )  # fmt: skip


def path_options(count: int) -> None:
    def check(path: str, share: float, seed: int) -> None:
        assert split_off(f"{path}?test={share!r}&seed={seed}") == (path, PathOptions(share, seed))
        assert split_off(f"{path}?seed={seed}&test={share!r}&overlap=allow") == (path, PathOptions(share, seed, True))
        if not any(f"?{key}=" in path for key in ("test", "seed", "overlap")):
            assert split_off(path) == (path, PathOptions())

    try_many(
        count, check, path=joined(PARTS) | strategies.text(),
        share=strategies.floats(0, 1, exclude_min=True, exclude_max=True), seed=strategies.integers(0, 10**18 - 1),
    )  # fmt: skip


def sets(count: int) -> None:
    def check(name: str, equals: str, path: str) -> None:
        if path.startswith("/"):
            return
        found = one_line(lambda: resolve(f"{name}{equals}{path}", root=Path("nowhere"), max_test=50))
        if isinstance(found, DataPair) and equals:
            train, test = ({data(part, number) for number in range(len(part))} for part in (found.train, found.test))
            assert "overlap=allow" in path or not train & test
            assert found.name == name

    try_many(count, check, name=joined(NAMES, 2), equals=strategies.sampled_from(["=", "=", ""]), path=joined(PARTS))


def data(source: Source, index: int) -> bytes:
    stored = source.stored(index)
    return stored if isinstance(stored, bytes) else stored.read_bytes()


def uris(count: int) -> None:
    def check(uri: str) -> None:
        spec = one_line(lambda: parse_uri(uri))
        if spec is not None:
            assert uri.startswith(f"{spec.scheme}:{spec.name}")
        if spec is not None and spec.scheme not in ("py", "hub", "hf", "open_clip", "packaged", "official"):
            encoder = one_line(lambda: build_encoder(uri))
            assert encoder is None or isinstance(encoder, Encoder)
            assert encoder is None or encoder.uri == uri

    try_many(count, check, uri=joined(URIS, 5))


def uri_options(count: int) -> None:
    words = strategies.text(min_size=1)

    def check(name: str, options: dict[str, str]) -> None:
        uri = f"timm:{name.replace('?', '')}x?{urlencode(options, quote_via=quote)}"
        assert parse_uri(uri).options == options

    plain = strategies.text(strategies.characters(exclude_categories=["Cs"]), min_size=1)
    try_many(count, check, name=words, options=strategies.dictionaries(plain, plain, max_size=3))


def recipes(count: int, folder: Path) -> None:
    numbers = itertools.count()

    def check(name: str, uri: str, path: str) -> None:
        teachers = [f"{name}=pixels:8", f"u={uri}"]
        tree = one_line(lambda: compose(teachers, "timm:test_vit?pretrained=false&img_size=32", [path]))
        recipe = one_line(lambda: load_recipe(tree)) if tree else None
        if recipe is None:
            return
        assert list(recipe.teachers.uris.values())[-1] == uri
        assert [entry.path for entry in recipe.data.train] == [path]
        file = folder / f"{next(numbers)}.yaml"
        one_line(lambda: write_recipe(tree, file))
        assert not file.exists() or load_recipe(str(file)) == recipe

    try_many(count, check, name=joined(NAMES, 2), uri=joined(URIS), path=joined(PARTS))


def columns(count: int) -> None:
    def check(given: list[str]) -> None:
        named = unique_names(given)
        assert set(named.values()) == set(given)
        assert all(named)

    try_many(count, check, given=strategies.lists(joined(URIS).filter(bool), max_size=4, unique=True))


def prefixes(count: int) -> None:
    names = strategies.text(strategies.characters(exclude_categories=["Cs"]), min_size=1).filter(
        lambda name: not any(name.startswith(wrapper) for wrapper in WRAPPERS)
    )

    def check(keys: list[str], worn: list[bool], inside: list[str]) -> None:
        prefix = "".join(itertools.compress(WRAPPERS, worn))
        tensors = {key: torch.tensor(number) for number, key in enumerate(keys)}
        tree: Any = {f"{prefix}{key}": tensor for key, tensor in tensors.items()}
        for container in inside:
            tree = {"epoch": 3, container: tree}
        assert unwrap(tree, "x") == tensors

    try_many(
        count, check, keys=strategies.lists(names, min_size=1, unique=True),
        worn=strategies.lists(strategies.booleans(), min_size=4, max_size=4),
        inside=strategies.lists(strategies.sampled_from(CONTAINERS), max_size=2),
    )  # fmt: skip


ALL: dict[str, Callable[..., None]] = {
    "paths": paths, "path options": path_options, "sets": sets, "uris": uris, "uri options": uri_options,
    "columns": columns, "prefixes": prefixes,
}  # fmt: skip


@pytest.mark.parametrize("kind", ALL)
def test_some(kind: str, place: Path) -> None:
    ALL[kind](25)


def test_some_recipes(place: Path) -> None:
    recipes(25, place)


@pytest.mark.long
@pytest.mark.parametrize("kind", ALL)
def test_many(kind: str, place: Path) -> None:
    ALL[kind](1500)


@pytest.mark.long
def test_many_recipes(place: Path) -> None:
    recipes(1000, place)
