import json
import re
from pathlib import Path

import pytest

from unic import cli
from unic.compose import compose, write_recipe
from unic.errors import InputError
from unic.recipe.schema import Recipe, load_recipe
from unic.recipe.text import commented


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
    assert recipe.teachers.uris["mine"] == "onnx:a/b.onnx?size=96"
    assert (recipe.data.size, recipe.train.epochs) == (96, 3)
    path = tmp_path / "r.yaml"
    path.write_text(commented(tree))
    assert load_recipe(path) == recipe


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
    tower = "from unic.encoders.schemes.pixels import Pixels\n\ndef wide_100():\n    return Pixels(48)\n"
    (tmp_path / "tower.py").write_text(tower)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert compose(["timm:a"], uri, ["x"])["data"]["size"] == side


@pytest.mark.parametrize(
    ("uri", "line"),
    [
        ("timm:mobilenetv3_large_10", "timm.*'mobilenetv3_large_10'.*'mobilenetv3_large_100'"),
        ("timm:resnet50?img_size=big", "'img_size'.*HEIGHTxWIDTH.*'big'"),
        ("run:nowhere", "no such folder: nowhere"),
    ],
)
def test_a_student_whose_size_is_not_known_is_refused(uri, line):
    with pytest.raises(InputError, match=f"^encoder '{re.escape(uri)}': .*{line}"):
        compose(["timm:a"], uri, ["x"])


def test_a_name_that_is_made_is_none_of_the_table_s():
    models = compose(["run:runs/student", "vit=timm:x"], "timm:test_vit", ["images"])["teachers"]["models"]
    assert models == {"student_2": "run:runs/student", "vit": "timm:x"}


def test_nothing_given_is_refused():
    with pytest.raises(InputError, match="--student"):
        compose(["timm:a"], "", ["x"])


def test_init_writes_once(tmp_path, monkeypatch, capsys, image_folder):
    monkeypatch.chdir(tmp_path)
    flags = ["--teachers", "timm:test_vit?pretrained=false", "--student", "timm:test_vit", "--data", str(image_folder)]
    monkeypatch.setattr("sys.argv", ["unic", "init", *flags])
    cli.main()
    assert "next: unic check recipe.yaml" in capsys.readouterr().out
    assert load_recipe("recipe.yaml").student.model == "timm:test_vit"
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 2
    assert "recipe.yaml: exists already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (["--student", "timm:test_vit", "--data", "nowhere"], "data 'nowhere'"),
        (["--student", "timm:test_vitt", "--data", "IMAGES"], "timm.*'test_vitt'"),
        (["--student", "pixels:8", "--data", "IMAGES"], "student.*'pixels:8'.*timm"),
        (["--student", "timm:test_vit", "--data", "IMAGES", "--epochs", "0"], "'train.epochs'.*greater than 0"),
    ],
)
def test_init_writes_nothing_that_is_wrong(flags, line, tmp_path, monkeypatch, capsys, image_folder):
    monkeypatch.chdir(tmp_path)
    teachers = ["--teachers", "timm:test_vit?pretrained=false"]
    flags = [flag.replace("IMAGES", str(image_folder)) for flag in flags]
    monkeypatch.setattr("sys.argv", ["unic", "init", *teachers, *flags])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 2
    assert re.search(line, capsys.readouterr().err)
    assert not list(tmp_path.iterdir())


def test_what_yaml_would_not_say_the_same_is_not_written(tmp_path, monkeypatch):
    tree = compose(["timm:a"], "timm:test_vit", ["x"])
    monkeypatch.setattr("unic.compose.commented", lambda tree: "data: {train: y}\nteachers: {models: {a: 'timm:a'}}\n"
                        "student: {model: 'timm:test_vit'}\n")  # fmt: skip
    with pytest.raises(InputError, match="not written"):
        write_recipe(tree, tmp_path / "r.yaml")
    assert not list(tmp_path.iterdir())


def test_every_section_is_written_with_its_keys_and_comments(tmp_path):
    tree = compose(["a=timm:x"], "timm:test_vit", ["1e3", "yes", "päth: #1"], epochs=3)
    text = commented(tree)
    assert load_recipe(_written(text, tmp_path)) == load_recipe(tree)
    lines = text.splitlines()
    assert max(map(len, lines)) <= 100
    for name, field in Recipe.model_fields.items():
        assert any(line.lstrip("# ").startswith(f"{name}:") for line in lines), name
        for key in getattr(field.annotation, "model_fields", {}):
            if name not in ("projector", "standardize", "weighting"):
                assert any(line.lstrip("# ").startswith(f"{key}:") for line in lines), key
    assert re.search(r"\n  # .*`data\.train`.*\n  epochs: 3", text)
    assert re.search(r"\n  # .*images.*\n  # batch_size: 128", text)
    # Every key that is a comment has its default: without its marks the file says the same.
    bare = "\n".join(line.replace("# ", "", 1) if _is_key(line) else line for line in lines)
    assert load_recipe(_written(bare, tmp_path)) == load_recipe(tree)


def _written(text, folder):
    (folder / "r.yaml").write_text(text)
    return folder / "r.yaml"


def _is_key(line):
    word = line.strip().removeprefix("# ").partition(":")[0]
    return line.strip().startswith("# ") and ((word.replace("_", "").isalnum() and word.islower()) or word[:2] == "- ")


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
