"""The line about an unknown key names the key that was meant, also one of another section."""

from pathlib import Path

import pytest
import yaml

from unic import api
from unic.errors import InputError
from unic.eval.suite import load_suite
from unic.recipe.schema import load_recipe

MINIMAL = {"teachers": {"models": {"a": "timm:a"}}, "student": {"model": "timm:b"}, "data": {"train": "images"}}


@pytest.mark.parametrize(
    ("override", "key", "meant"),
    [
        ("lr=1e-4", "'lr'", "'train.lr'"),
        ("batch_sise=8", "'batch_sise'", "'train.batch_size'"),
        ("batchSize=8", "'batchSize'", "'train.batch_size'"),
        ("train.suite=quick", "'train.suite'", "'eval.suite'"),
        ("data.epochs=3", "'data.epochs'", "'train.epochs'"),
        ("every=3", "'every'", "'checkpoint.every' or 'eval.every'"),
        ("teachers.views=2", "'teachers.views'", "'teachers.cache.views'"),
        ("train.epoch=3", "'train.epoch'", "'epochs'"),
        ("data.train=[{path: a, wait: 1}]", "'data.train.0.wait'", "'weight'"),
        ("eval.zzzz=1", "'eval.zzzz'", "every, patience, suite"),
    ],
)
def test_a_key_of_another_level(override: str, key: str, meant: str) -> None:
    with pytest.raises(InputError, match=f"^recipe: .*{key}.*{meant}"):
        load_recipe(MINIMAL, [override])


def test_a_misspelt_section_is_told_before_the_one_that_is_missing() -> None:
    tree = {"teacher" if key == "teachers" else key: value for key, value in MINIMAL.items()}
    with pytest.raises(InputError, match="^recipe: .*'teacher'.*'teachers'"):
        load_recipe(tree)


BASE = MINIMAL | {"train": {"epochs": 3}}


@pytest.mark.parametrize(
    ("files", "overrides", "line"),
    [
        ({"own": BASE | {"trian": {}}}, [], "recipe own.yaml: .*'trian'.*'train'"),
        ({"own": {"base": "b.yaml"}, "b": BASE | {"trian": {}}}, [], "recipe b.yaml: .*'trian'"),
        ({"own": {"base": "b.yaml", "train": {"lrr": 1}}, "b": BASE}, [], "recipe own.yaml: .*'train.lrr'"),
        ({"own": BASE | {"train": {"epochs": "x"}}}, [], "recipe own.yaml: 'train.epochs': "),
        ({"own": {"data": {"train": "images"}}}, [], "recipe own.yaml: .*'teachers'.*missing"),
        ({"own": BASE | {"seed": "${nothing}"}}, [], "recipe own.yaml: "),
        ({"own": BASE | {"teachers": {"models": {"pixels": "timm:a"}}}}, [], "recipe own.yaml: 'teachers.models.pix"),
        ({"own": BASE}, ["trian.lr=1"], "recipe: .*'trian'"),
        ({"own": BASE}, ["train.epochs=x"], "recipe: 'train.epochs': "),
    ],
)  # fmt: skip
def test_the_file_of_a_mistake_is_named(
    files: dict[str, dict], overrides: list[str], line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, tree in files.items():
        Path(f"{name}.yaml").write_text(yaml.safe_dump(tree))
    with pytest.raises(InputError, match=f"^{line}"):
        load_recipe("own.yaml", overrides)


def test_the_file_of_a_stage_and_of_a_part_with_a_mistake_is_named(
    recipe: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own.yaml").write_text(yaml.safe_dump(recipe | {"stages": [{"train": {"lrr": 1}}]}))
    with pytest.raises(InputError, match=r"^recipe own\.yaml: .*'train\.lrr'"):
        load_recipe("own.yaml").plans()
    Path("own.yaml").write_text(yaml.safe_dump(recipe | {"projector": {"type": "ladder", "hidden_dims": 3}}))
    for call in (api.dry_run, lambda source: api.distill(source, out="run")):
        with pytest.raises(InputError, match=r"^recipe own\.yaml: projector 'ladder'.*'hidden_dims'"):
            call("own.yaml")
    with pytest.raises(InputError, match="^recipe: projector 'ladder'.*'hidden_dims'"):
        api.dry_run("own.yaml", seed=4)  # what was typed may be what is wrong


def test_suites_have_the_same() -> None:
    with pytest.raises(InputError, match="'dta'.*'data'"):
        load_suite({"data": ["clipart"], "dta": 1})
