"""Train equals test: refused before anything is measured, whatever form the set comes in."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unic.errors import InputError
from unic.eval.datasets import resolve
from unic.eval.plan import make_plan
from unic.eval.suite import Suite


def noise(file: Path, seed: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)).save(file)


def images(folder: Path, count: int, seed: int = 0) -> Path:
    for number in range(count):
        noise(folder / ("cat", "dog")[number % 2] / f"{number}.png", seed + number)
    return folder


def test_a_copy_of_the_training_part_is_no_test_part(tmp_path):
    images(tmp_path / "train", 6)
    shutil.copytree(tmp_path / "train", tmp_path / "test")
    with pytest.raises(InputError) as error:
        resolve(f"x={tmp_path}")
    assert re.search(r"data 'x': all 6 test images .*cat/0\.png.*\?overlap=allow", str(error.value))


def test_one_image_in_both_parts_is_too_many_unless_it_is_asked_for(tmp_path):
    images(tmp_path / "train", 6)
    images(tmp_path / "val", 4, seed=100)
    assert len(resolve(f"x={tmp_path}").test) == 4
    shutil.copy(tmp_path / "train" / "dog" / "3.png", tmp_path / "val" / "cat" / "other.png")
    with pytest.raises(InputError, match=r"1 of 5 test images .*cat/other.png \(dog/3.png in training\)"):
        resolve(f"x={tmp_path}")
    assert len(resolve(f"x={tmp_path}?overlap=allow").test) == 5


def test_only_what_is_measured_is_compared(tmp_path):
    images(tmp_path / "train", 6)
    images(tmp_path / "test", 6, seed=100)
    measured = resolve(f"x={tmp_path}", max_test=1).test.name(0)
    other = next(name for name in ("cat/0.png", "cat/2.png") if name != measured)
    shutil.copy(tmp_path / "train" / other, tmp_path / "test" / other)
    assert len(resolve(f"x={tmp_path}", max_test=1).test) == 1
    with pytest.raises(InputError, match="1 of 6 test images"):
        resolve(f"x={tmp_path}")


def test_masks_and_depths_are_compared_too(tmp_path):
    for part in ("train", "test"):
        for number in range(3):
            noise(tmp_path / part / "images" / f"{number}.png", number)
            depth = np.full((4, 4), 1000 + number, np.uint16)
            (tmp_path / part / "depth").mkdir(exist_ok=True)
            Image.fromarray(depth).save(tmp_path / part / "depth" / f"{number}.png")
    with pytest.raises(InputError, match="all 3 test images"):
        resolve(f"x={tmp_path}")


def test_a_set_without_parts_is_refused_in_a_suite_and_a_random_part_taken(tmp_path):
    images(tmp_path, 10)
    with pytest.raises(InputError, match=r"split 'test'.*\?test="):
        make_plan(Suite(data=[f"x={tmp_path}"]))
    plan = make_plan(Suite(data=[f"x={tmp_path}?test=0.2&seed=1"]))
    assert plan.protocol().counts["x"].model_dump() == {"train": 8, "test": 2, "classes": 2}
    assert plan.protocol().data == [f"x={tmp_path}?test=0.2&seed=1"], "what decided the numbers is in the results"


MODULE = """
from unic.data.sources import open_source
from unic.eval.datasets import DataPair

def load(root, *, download=False):
    return DataPair("own", open_source(str(root)), open_source(str(root)))
"""


def test_a_module_of_ones_own(tmp_path, monkeypatch, trust):
    trust("lab_sets.own")
    trust("lab_sets.allowed")
    images(tmp_path / "images", 4)
    (tmp_path / "lab_sets").mkdir()
    (tmp_path / "lab_sets" / "own.py").write_text(MODULE)
    (tmp_path / "lab_sets" / "allowed.py").write_text(MODULE + "OVERLAPS = True\n")
    (tmp_path / "lab_sets" / "slash.py").write_text(MODULE.replace('"own"', '"own/1"'))
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(InputError, match="all 4 test images .*OVERLAPS = True.*lab_sets.own"):
        resolve("lab_sets.own", root=tmp_path / "images")
    assert len(resolve("lab_sets.allowed", root=tmp_path / "images").test) == 4
    trust("lab_sets.slash")
    with pytest.raises(InputError, match="its module names the set 'own/1'; expected a name without slashes"):
        resolve("lab_sets.slash", root=tmp_path / "images")
    for name in [name for name in sys.modules if name.startswith("lab_sets")]:
        del sys.modules[name]


@pytest.mark.parametrize("name", ["a/b", "a\nb", " a", "a\ud800"])
def test_a_name_that_would_break_a_table_is_refused(tmp_path, name):
    with pytest.raises(InputError, match="slashes, line breaks") as error:
        resolve(f"{name}={tmp_path}")
    assert "\n" not in str(error.value)
