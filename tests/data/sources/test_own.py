"""`py:` sources: a factory of one's own, its options and splits, its code in the fingerprint, whose code may run."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import unic
from unic import trust
from unic.data.loader import view_batches
from unic.data.sources import open_source
from unic.data.sources.shared_files import share_files
from unic.errors import InputError, UntrustedError
from unic.eval.datasets import resolve

PATH = "py:own_squares.squares:Squares"
CODE = """
import threading

from PIL import Image
from unic.data.sources.base import DamagedImageError, Source
from unic.errors import InputError


class Squares(Source):
    def __init__(self, *, side: int = 8, images: int = 4, colour: str, grey: bool = False, split: str = "train"):
        self._side, self._images, self._colour, self._grey = side, images, colour, grey
        self.classes = ["first", "others"]
        self.split = split

    def __len__(self):
        return self._images

    def read(self, index):
        if index == 3:
            raise DamagedImageError("a hole")
        image = Image.new("RGB", (self._side + len(self.split), self._side), self._colour)
        return image.convert("L") if self._grey else image

    def label(self, index):
        return int(index > 0)

    def name(self, index):
        return f"{self.split} square {index}"

    def fingerprint(self):
        return f"{self._side} {self._images} {self._colour} {self.split}"


def whole(images: int = 2):
    return Squares(images=images, colour="red")


def same(images: int, split: str):
    return Squares(images=int(images), colour="red")


def nothing():
    return []


def empty():
    raise InputError("no archive here")


def broken():
    raise FileNotFoundError("pictures.zip")


class Named(Squares):
    def label(self, index):
        return [0, "first", 2, None][index]


def opened():
    source = Squares(colour="red")
    source.lock = threading.Lock()
    return source


class Halfway(Source):
    pass
"""


@pytest.fixture
def squares(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The file of the module `own_squares.squares`, whose code is trusted."""
    file = tmp_path / "lab" / "own_squares" / "squares.py"
    file.parent.mkdir(parents=True)
    file.write_text(CODE)
    monkeypatch.syspath_prepend(str(tmp_path / "lab"))
    _forget()
    with trust.trusting("own_squares.squares"):
        yield file
    _forget()


def _forget() -> None:
    for name in ("own_squares", "own_squares.squares"):
        sys.modules.pop(name, None)


@pytest.mark.usefixtures("squares")
def test_a_factory_gets_the_options_of_the_path_by_their_types() -> None:
    source = open_source(f"{PATH}?colour=blue&side=16&images=3")
    assert source.path == f"{PATH}?colour=blue&side=16&images=3"
    assert (len(source), source.read(0).size, source.read(0).getpixel((0, 0))) == (3, (21, 16), (0, 0, 255))
    assert (source.classes, source.label(0), source.label(2)) == (["first", "others"], 0, 1)
    assert len(open_source(f"{PATH}?colour=blue&images=9", limit=5)) == 5


@pytest.mark.usefixtures("squares")
@pytest.mark.parametrize(
    ("path", "line"),
    [
        (f"{PATH}?color=blue", "unknown option 'color'; did you mean 'colour'?"),
        (PATH, "Squares needs the option 'colour'"),
        (f"{PATH}?colour=blue&side=big", "side=big; expected a value like 8"),
        (f"{PATH}?colour=blue&colour=red", "an option is given twice"),
        (
            "py:own_squares.squares:Square?colour=red",
            "no function or class 'Square' in own_squares.squares; did you mean",
        ),
        ("py:own_squares.squares", "expected py:PACKAGE.MODULE:FACTORY"),
        ("py:own_squares.squares:nothing", "the factory returns a list, expected a unic.data.sources.Source"),
        ("py:own_squares.squares:whole?images=0", "the source has no images"),
        ("py:own_squares.squares:empty", "no archive here"),
        ("py:own_squares.squares:broken", "broken fails: FileNotFoundError: pictures.zip"),
        ("py:own_squares.squares:Halfway", "Halfway fails: TypeError: Can't instantiate abstract class Halfway"),
        ("py:own_squares.squares:opened", "the source cannot be pickled, as data workers need (TypeError: "),
    ],
)
def test_wrong_paths_are_refused_in_one_line(path: str, line: str) -> None:
    with pytest.raises(InputError) as error:
        open_source(path)
    assert str(error.value).startswith(f"data '{path}': {line}")
    assert "\n" not in str(error.value)


@pytest.mark.usefixtures("squares")
def test_a_missing_module_is_named() -> None:
    with trust.trusting("own_squares.round"), pytest.raises(InputError, match="No module named 'own_squares.round'"):
        open_source("py:own_squares.round:Round")


@pytest.mark.usefixtures("squares")
def test_a_factory_that_takes_a_split_is_called_for_each() -> None:
    path = f"{PATH}?colour=red&images=3"
    assert open_source(path).name(0) == "train square 0"
    assert open_source(path, split="test").name(0) == "test square 0"
    assert open_source(f"{path}&split=val").name(0) == "val square 0"
    with pytest.raises(InputError, match="the path names the split 'val' already, so leave out 'test'"):
        open_source(f"{path}&split=val", split="test")
    with pytest.raises(InputError, match="no split 'test'; its factory does not take split"):
        open_source("py:own_squares.squares:whole", split="test")
    pair = resolve(f"mine={path}")  # images of another width
    assert (pair.train.name(0), pair.test.name(0)) == ("train square 0", "test square 0")
    with pytest.raises(
        InputError, match="all 3 test images are training images .* or use an evaluation set with OVERL"
    ):
        resolve("mine=py:own_squares.squares:same?images=3")


@pytest.mark.usefixtures("squares")
def test_training_reads_it_like_any_source_and_leaves_out_damaged_images() -> None:
    [batch] = list(view_batches(open_source(f"{PATH}?colour=lime"), size=8, batch_size=4))
    assert batch.index.tolist() == [0, 1, 2]
    expected = torch.tensor([0, 255, 0], dtype=torch.uint8).view(1, 3, 1, 1).expand(3, 3, 8, 8)
    assert torch.equal(batch.images, expected)


@pytest.mark.usefixtures("squares")
def test_an_image_of_another_mode_is_refused() -> None:
    source = open_source(f"{PATH}?colour=red&grey=true")
    with pytest.raises(InputError, match=r"read\(0\) returns image of mode L, expected an RGB image of Pillow"):
        source.read(0)


@pytest.mark.usefixtures("squares")
def test_a_label_is_an_index_of_the_classes_or_none() -> None:
    source = open_source("py:own_squares.squares:Named?colour=red")
    assert (source.label(0), source.label(3)) == (0, None)
    for index, label in ((1, "'first'"), (2, "2")):
        line = rf"label\({index}\) returns {label}, expected an index of `classes` \(2\) or None"
        with pytest.raises(InputError, match=line):
            source.label(index)


def test_the_fingerprint_includes_the_code_and_a_resume_does_not_ask_for_it(squares: Path) -> None:
    path = f"{PATH}?colour=red"
    before = open_source(path)
    assert open_source(path).fingerprint() == before.fingerprint()
    assert open_source(f"{PATH}?colour=blue").fingerprint() != before.fingerprint()
    squares.write_text(CODE.replace('"RGB", (', '"RGB",  ('))
    _forget()
    after = open_source(path)
    assert after.fingerprint() != before.fingerprint()
    assert after.portable_fingerprint() == before.portable_fingerprint()


def test_only_code_that_was_typed_runs(squares: Path) -> None:
    path = f"{PATH}?colour=red"
    token = trust._TRUSTED.set(frozenset())
    try:
        with pytest.raises(UntrustedError, match="add trust_code="):
            open_source(path)
        assert "own_squares.squares" not in sys.modules
        assert len(unic.open_source(path)) == 4  # a call that names it
    finally:
        trust._TRUSTED.reset(token)
    assert squares.is_file()


def test_options_of_computed_images_are_not_those_of_a_path() -> None:
    assert not share_files("py:a.b:c?seed=1", "py:a.b:c?seed=1")
    assert len(open_source("generated:strokes?seed=1&images=3&size=16")) == 3
