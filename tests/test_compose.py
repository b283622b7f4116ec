import json
from pathlib import Path

import pytest

from unic import cli
from unic.compose import compose, to_commented_yaml
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
        ("timm:vit_base_patch14_dinov2.lvd142m?img_size=98", 98),
        ("packaged:efficientnet_lite0?size=48x64", 64),
        ("timm:eva02_base_patch14_448.mim_in22k_ft_in22k_in1k", 448),
        ("timm:resnet50", 224),
        # Numbers at the end of a name that are no sizes: a width multiplier, a depth, a compute budget.
        ("timm:regnetx_002", 224),
        ("timm:mobilenetv3_large_100", 224),
        ("timm:mobilenetv2_140?pretrained=false", 224),
        ("timm:efficientnet_b3", 288),
        ("timm:test_vit", 160),
        # Models that timm knows nothing of are made and asked.
        ("py:tower:wide_100", 48),
        ("packaged:efficientnet_lite0", 128),
    ],
)
def test_views_have_the_size_that_the_student_sees(uri, side, tmp_path, monkeypatch):
    tower = "from unic.encoders.pixels import Pixels\n\ndef wide_100():\n    return Pixels(48)\n"
    (tmp_path / "tower.py").write_text(tower)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert compose(["timm:a"], uri, ["x"])["data"]["size"] == side


@pytest.mark.parametrize(
    ("uri", "line"),
    [
        (
            "timm:mobilenetv3_large_10",
            "timm has no model 'mobilenetv3_large_10'; did you mean 'mobilenetv3_large_100'?",
        ),
        ("timm:resnet50?img_size=big", "option 'img_size' must be SIZE or HEIGHTxWIDTH, not 'big'"),
        ("run:nowhere", "no such folder: nowhere"),
    ],
)
def test_a_student_whose_size_is_not_known_is_refused(uri, line):
    with pytest.raises(InputError) as caught:
        compose(["timm:a"], uri, ["x"])
    assert str(caught.value) == f"encoder '{uri}': {line}"


def test_a_name_that_is_made_is_none_of_the_table_s():
    models = compose(["run:runs/student", "vit=timm:x"], "timm:test_vit", ["images"])["teachers"]["models"]
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
