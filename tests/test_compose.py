import json
from pathlib import Path

import pytest

from unic import cli
from unic.compose import compose, input_side, to_commented_yaml
from unic.config import Recipe, load_recipe
from unic.errors import InputError


def test_a_recipe_from_three_words(tmp_path):
    tree = compose(
        [
            "timm:vit_base_patch16_224.dino",
            "mine=onnx:a/b.onnx?size=96",
            "timm:vit_base_patch16_224.mae",
            "hf:x/1-y@v2",
        ],
        "timm:vit_small_patch16_224?img_size=96",
        ["images/", "more.parquet"],
        epochs=3,
    )
    recipe = load_recipe(tree)
    assert list(recipe.teachers.models) == ["vit_base_patch16_224", "mine", "vit_base_patch16_224_2", "t_1_y_v2"]
    assert recipe.teachers.models["mine"] == "onnx:a/b.onnx?size=96"
    assert (recipe.data.size, recipe.train.epochs) == (96, 3)
    path = tmp_path / "r.yaml"
    path.write_text(to_commented_yaml(tree))
    assert load_recipe(path) == recipe
    assert path.read_text().count("\n# ") >= 4


@pytest.mark.parametrize(
    ("uri", "side"),
    [
        ("timm:vit_small_patch16_224?pretrained=false", 224),
        ("timm:vit_base_patch14_dinov2.lvd142m?img_size=518", 518),
        ("packaged:lite0?size=48x64", 64),
        ("timm:eva02_base_patch14_448.mim", 448),
        ("timm:resnet50", 224),
    ],
)
def test_views_have_the_student_s_size(uri, side):
    assert input_side(uri) == side


def test_a_name_that_is_made_is_none_of_the_table_s():
    models = compose(["run:runs/student", "vit=timm:x"], "timm:y", ["images"])["teachers"]["models"]
    assert models == {"student_2": "run:runs/student", "vit": "timm:x"}


def test_nothing_given_is_refused():
    with pytest.raises(InputError, match="--student: expected at least one"):
        compose(["timm:a"], "", ["x"])


def test_init_writes_once(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    flags = ["--teachers", "timm:test_vit?pretrained=false", "--student", "timm:test_vit", "--data", "x"]
    monkeypatch.setattr("sys.argv", ["unic", "init", *flags])
    cli.main()
    assert "next: unic check recipe.yaml" in capsys.readouterr().out
    assert load_recipe("recipe.yaml").student.model == "timm:test_vit"
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 2
    assert "recipe.yaml: exists already" in capsys.readouterr().err


def test_schema_describes_every_key_and_the_page_is_of_today(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["unic", "schema"])
    cli.main()
    tree = json.loads(capsys.readouterr().out)
    assert set(tree["properties"]) == set(Recipe.model_fields)
    for section in tree["$defs"].values():
        assert all("description" in key for key in (section, *section["properties"].values()))
    monkeypatch.setattr("sys.argv", ["unic", "schema", "--markdown"])
    cli.main()
    page = Path(__file__).parents[1] / "docs" / "recipe.md"
    assert capsys.readouterr().out == page.read_text(), "run: unic schema --markdown > docs/recipe.md"
