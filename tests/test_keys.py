"""An unknown key gets the one that was meant, also where that is of another section."""

import pytest

from unic.config import load_recipe
from unic.errors import InputError
from unic.eval.suite import load_suite

MINIMAL = {"teachers": {"models": {"a": "timm:a"}}, "student": {"model": "timm:b"}, "data": {"train": "images"}}


@pytest.mark.parametrize(
    ("override", "ending"),
    [
        ("lr=1e-4", "unknown key 'lr'; did you mean 'train.lr'?"),
        ("batch_sise=8", "unknown key 'batch_sise'; did you mean 'train.batch_size'?"),
        ("batchSize=8", "unknown key 'batchSize'; did you mean 'train.batch_size'?"),
        ("train.suite=quick", "unknown key 'train.suite'; did you mean 'eval.suite'?"),
        ("data.epochs=3", "unknown key 'data.epochs'; did you mean 'train.epochs'?"),
        ("every=3", "unknown key 'every'; did you mean 'checkpoint.every' or 'eval.every'?"),
        ("teachers.views=2", "unknown key 'teachers.views'; did you mean 'teachers.cache.views'?"),
        ("train.epoch=3", "unknown key 'train.epoch'; did you mean 'epochs'?"),
        ("data.train=[{path: a, wait: 1}]", "unknown key 'data.train.0.wait'; did you mean 'weight'?"),
        ("eval.zzzz=1", "unknown key 'eval.zzzz'; expected one of: every, patience, suite"),
    ],
)
def test_a_key_of_another_level(override: str, ending: str) -> None:
    with pytest.raises(InputError) as error:
        load_recipe(MINIMAL, [override])
    assert str(error.value) == f"recipe: {ending}"


def test_a_misspelt_section_is_told_before_the_one_that_is_missing() -> None:
    tree = {"teacher" if key == "teachers" else key: value for key, value in MINIMAL.items()}
    with pytest.raises(InputError, match=r"^recipe: unknown key 'teacher'; did you mean 'teachers'\?$"):
        load_recipe(tree)


def test_suites_have_the_same() -> None:
    with pytest.raises(InputError, match="'dta': .*; did you mean 'data'"):
        load_suite({"data": ["clipart"], "dta": 1})
