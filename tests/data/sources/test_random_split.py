"""`PATH?test=0.2&seed=0`: a fixed, stratified part for a set that comes without one."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unic import rng
from unic.data.sources import open_source
from unic.data.sources.random_split import draw
from unic.errors import InputError


def noise(file: Path, seed: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)).save(file)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twenty cats, ten dogs, one cow."""
    for number, (kind, count) in enumerate({"cat": 20, "dog": 10, "cow": 1}.items()):
        for image in range(count):
            noise(tmp_path / "set" / kind / f"{image}.png", 100 * number + image)
    return tmp_path / "set"


def names(path: str, split: str | None = None) -> list[str]:
    source = open_source(path, split=split)
    return [source.name(index) for index in range(len(source))]


def test_the_parts_divide_every_class(folder):
    train, test = (names(f"{folder}?test=0.2&seed=0", split) for split in ("train", "test"))
    assert sorted(train + test) == names(str(folder))
    assert not set(train) & set(test)
    assert [sum(name.startswith(kind) for name in test) for kind in ("cat", "dog", "cow")] == [4, 2, 0]
    source = open_source(f"{folder}?test=0.2", split="test")
    assert [source.classes[source.label(index)] for index in range(len(source))] == [n.split("/")[0] for n in test]
    assert np.array_equal(source.read(0), Image.open(folder / test[0]))


def test_a_recipe_takes_the_training_part(folder):
    assert names(f"{folder}?test=0.2") == names(f"{folder}?test=0.2&seed=0", "train")


def test_the_draw_depends_on_the_seed_only(folder):
    tests = [names(f"{folder}?test=0.3&seed={seed}", "test") for seed in (0, 0, 1)]
    assert tests[0] == tests[1] != tests[2]
    assert names(f"{folder}?seed=1&test=0.3", "test") == tests[2]
    prints = [open_source(f"{folder}?test=0.3&seed={seed}").fingerprint() for seed in (0, 0, 1)]
    assert prints[0] == prints[1] != prints[2]


def test_the_draw_is_a_hash_of_seed_and_number():
    """Of 6 even and 6 odd numbers a quarter, 1.5 and 1.5: two and one, so that the sum is 3."""
    first = sorted(range(12), key=lambda number: rng.number(rng.stream("split"), 3, number))
    even, odd = ([number for number in first if number % 2 == kind] for kind in (0, 1))
    found = draw(np.array([0, 1] * 6), np.arange(12), 0.25, 3)
    assert np.flatnonzero(found).tolist() == sorted([*even[:2], odd[0]])


def test_copies_stay_on_one_side():
    contents = np.repeat(np.arange(20), 2)  # each image twice
    labels = np.zeros(40, int)
    for seed in range(20):
        test = draw(labels, contents, 0.5, seed)
        assert not set(contents[test]) & set(contents[~test])
    assert any(draw(labels, contents, 0.5, seed).any() for seed in range(20))


def test_the_share_holds_over_many_small_classes():
    labels = np.repeat(np.arange(100), 4)
    test = draw(labels, np.arange(400), 0.1, 0)
    assert test.sum() == 40
    assert np.bincount(labels[test], minlength=100).max() == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("test=0", "test=0;.*between 0 and 1"),
        ("test=1", "between 0 and 1"),
        ("test=nan", "between 0 and 1"),
        ("test=20%", "between 0 and 1"),
        ("test=", "between 0 and 1"),
        ("test=0.2&seed=-1", "seed=-1;.*whole number"),
        ("test=0.2&seed=99999999999999999999", "18 digits"),
        ("test=0.2&sed=1", "'sed'.*'seed'"),
        ("test=0.2&test=0.3", "'test'.*twice"),
        ("seed=1", "seed.*'test'"),
        ("overlap=deny", "overlap=allow"),
        ("test=0.01", " 31 images.*test image"),
    ],
)
def test_wrong_options_are_one_line(folder, options, message):
    with pytest.raises(InputError) as error:
        open_source(f"{folder}?{options}")
    assert re.search(message, str(error.value))
    assert f"data '{folder}?{options}'" in str(error.value)


def test_another_part_is_refused(folder):
    with pytest.raises(InputError, match="split 'val'.*test, train"):
        open_source(f"{folder}?test=0.2", split="val")


def test_any_other_question_mark_is_a_pattern(tmp_path):
    for name in ("a1", "a2", "a?test=0.2b1"):
        noise(tmp_path / name / "x.png", len(name))
    for path in ("a?.parquet", "a?test.parquet", "?seed/test=0.2", "a?test=0.2?"):
        with pytest.raises(InputError, match="no file matches"):
            open_source(f"{tmp_path}/{path}")


def test_a_set_that_stays_elsewhere_is_not_divided(folder, tmp_path):
    from unic.data.shards.writing import write_shards

    write_shards(open_source(str(folder)), tmp_path / "shards")
    with pytest.raises(InputError, match="at random"):
        open_source(f"file://{tmp_path}/shards?test=0.2")
