"""The recipe: defaults, inheritance, overrides, and one line for every mistake."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from unic.errors import InputError
from unic.recipe.reading import recipe_folder
from unic.recipe.schema import Recipe, load_recipe, load_run_recipe

MINIMAL = {"teachers": {"models": {"a": "timm:x"}}, "student": {"model": "timm:y"}, "data": {"train": "images"}}


def test_written_recipe_reads_back_the_same(tmp_path: Path) -> None:
    recipe = load_recipe(MINIMAL, ["train.lr=1e-4", "projector.blocks=[0, -1]", "data.train=[{path: a, weight: 2}]"])
    assert recipe.train.lr == 1e-4
    assert recipe.projector.options == {"blocks": [0, -1]}
    assert recipe.data.train[0].weight == 2
    path = tmp_path / "recipe.yaml"
    path.write_text(recipe.to_yaml())
    assert load_recipe(path) == recipe


def test_of_steps_and_epochs_a_written_recipe_says_which_counts() -> None:
    text = load_recipe(MINIMAL, ["train.epochs=43", "train.steps=40"]).to_yaml()
    assert re.search("  epochs: 43.0  # .*steps.*\n  steps: 40\n", text)
    assert "43.0\n" in load_recipe(MINIMAL, ["train.epochs=43"]).to_yaml()
    by_epochs = {"stages": [{"train": {"steps": None}}]}
    assert "43.0\n" in load_recipe(MINIMAL | by_epochs, ["train.epochs=43", "train.steps=40"]).to_yaml()


def test_paths_are_short_for_sources() -> None:
    assert [source.path for source in load_recipe(MINIMAL, ["data.train=[a, b]"]).data.train] == ["a", "b"]


def test_base_is_inherited_and_named_maps_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(load_recipe(MINIMAL, ["seed=7", "train.lr=0.5"]).to_yaml())
    (tmp_path / "child.yaml").write_text(
        "base: base.yaml\ntrain: {epochs: 3}\nloss: {mse: 1.0}\nteachers: {models: {b: 'timm:z'}}\n"
    )
    child = load_recipe(tmp_path / "child.yaml")
    assert (child.seed, child.train.lr, child.train.epochs, child.base) == (7, 0.5, 3, None)
    assert child.loss == {"mse": 1.0}
    assert child.teachers.uris == {"b": "timm:z"}


def test_a_component_may_be_a_name_alone(tmp_path: Path) -> None:
    short = {"weighting": "uniform", "projector": "mlp", "standardize": "phi_s"}
    recipe = load_recipe(MINIMAL | {key: {"type": name} for key, name in short.items()})
    assert load_recipe(MINIMAL | short) == recipe == Recipe.model_validate(MINIMAL | short)
    assert load_recipe(MINIMAL, [f"{key}={name}" for key, name in short.items()]) == recipe
    assert "weighting:\n  type: uniform\n" in recipe.to_yaml()
    (tmp_path / "base.yaml").write_text("weighting: gradnorm\n")
    child = load_recipe(
        MINIMAL | {"base": str(tmp_path / "base.yaml"), "weighting": {"rate": 0.1}}, ["weighting.alpha=1"]
    )
    assert child.weighting.model_dump() == {"type": "gradnorm", "rate": 0.1, "alpha": 1}
    assert load_recipe(MINIMAL, ["projector=ladder", "projector.norm=pre"]).projector.options == {"norm": "pre"}


@pytest.mark.parametrize("written", ["mlp", {"type": "mlp"}])
def test_another_type_takes_no_options_of_the_base(tmp_path: Path, written: Any) -> None:
    """As `projector=mlp` on the command line: `hidden_dim` of an MLP is another option than that of a ladder."""
    base = tmp_path / "base.yaml"
    for typed in ("{type: ladder, hidden_dim: 8}", "{hidden_dim: 8}"):  # the default is a ladder
        base.write_text(f"projector: {typed}\nweighting: {{p: 0.3}}\n")
        child = load_recipe(MINIMAL | {"base": str(base), "projector": written, "weighting": {"level": "batch"}})
        assert child.projector.model_dump() == {"type": "mlp"}
        assert child.weighting.options == {"p": 0.3, "level": "batch"}
        same = load_recipe(MINIMAL | {"base": str(base), "projector": {"type": "ladder", "norm": "pre"}})
        assert same.projector.options == {"hidden_dim": 8, "norm": "pre"}


def test_an_override_of_one_loss_keeps_the_others(tmp_path: Path) -> None:
    default = load_recipe(MINIMAL).loss
    assert load_recipe(MINIMAL, ["loss.cosine=1"]).loss == default | {"cosine": 1}
    assert load_recipe(MINIMAL, ["loss[cosine]=1"]).loss == default | {"cosine": 1}
    assert load_recipe(MINIMAL, ["loss={cosine: 1}"]).loss == {"cosine": 1}
    assert load_recipe(MINIMAL, ["loss={mse: 1}", "loss.cosine=1"]).loss == {"mse": 1, "cosine": 1}
    assert load_recipe(MINIMAL | {"loss": {"mse": 1}}, ["loss.cosine=1"]).loss == {"mse": 1, "cosine": 1}
    assert load_recipe(load_recipe(MINIMAL | {"loss": {"mse": 1}}), ["loss.cosine=1"]).loss == {"mse": 1, "cosine": 1}
    (tmp_path / "base.yaml").write_text("loss: {mse: 1}\n")
    assert load_recipe(MINIMAL | {"base": str(tmp_path / "base.yaml")}, ["loss.mse=2"]).loss == {"mse": 2}
    assert load_recipe(MINIMAL).loss == default


def test_the_name_of_a_loss_alone_is_this_loss_with_weight_1(tmp_path: Path) -> None:
    assert load_recipe(MINIMAL, ["loss=mse"]).loss == {"mse": 1}
    assert load_recipe(MINIMAL, ["loss=mse", "loss.cosine=2"]).loss == {"mse": 1, "cosine": 2}
    assert load_recipe(MINIMAL | {"loss": "my_lab.huber"}).loss == {"my_lab.huber": 1}
    (tmp_path / "base.yaml").write_text("loss: {mse: 1}\n")
    assert load_recipe(MINIMAL | {"base": str(tmp_path / "base.yaml"), "loss": "cosine"}).loss == {"cosine": 1}
    teacher = load_recipe(MINIMAL, ["teachers.models.a={uri: 'timm:x', loss: mse}"]).teachers.models["a"]
    assert teacher.loss == {"mse": 1}
    own = ["teachers.models.a={uri: 'timm:x', loss: mse}", "teachers.models.a.loss.cosine=2"]
    assert load_recipe(MINIMAL, own).teachers.models["a"].loss == {"mse": 1, "cosine": 2}
    with pytest.raises(InputError, match="'loss': expected one name"):
        load_recipe(MINIMAL | {"loss": ""})
    with pytest.raises(InputError, match="'loss': expected one name, or names with weights such as"):
        load_recipe(MINIMAL, ["loss=[cosine,mse]"])


def test_an_option_of_a_loss_keeps_its_weight() -> None:
    written = MINIMAL | {"loss": {"queue_kl": 0.25}}
    assert load_recipe(written, ["loss.queue_kl.length=8"]).model_dump()["loss"] == {
        "queue_kl": {"weight": 0.25, "length": 8}
    }


def test_what_a_stage_keeps() -> None:
    """It keeps what it does not name; lists, a teacher's losses and a teacher as a URI alone are replaced whole."""
    models = {"a": {"uri": "timm:x", "weight": 2, "loss": {"cosine": 1, "mse": 1}}, "b": "timm:z"}
    tree = MINIMAL | {"teachers": {"models": models}, "data": {"train": "images", "sizes": [96, 224]}}
    stages = [
        {"teachers.models": {"b": {"weight": 3}}, "data": {"size": 112, "sizes": [112]}},
        {"teachers": {"models": {"a": {"loss": {"mse": 2}}}}},
        {"teachers.models.a.loss": {"mse": 2}},
        {"teachers.models.a.loss.mse": 2},
        {"teachers.models.a": "timm:y"},
    ]
    plans = load_recipe(tree | {"stages": stages}).plans()
    assert [list(plan.teachers.models) for plan in plans] == [["a", "b"]] * 5
    assert [plan.teachers.models["a"].weight for plan in plans] == [2, 2, 2, 2, 1]
    assert plans[0].teachers.models["b"].weight == 3
    assert plans[0].data.sizes == [112]
    losses = [plan.teachers.models["a"].loss for plan in plans[1:]]
    assert losses == [{"mse": 2}, {"mse": 2}, {"cosine": 1, "mse": 2}, None]


def test_base_of_itself(tmp_path: Path) -> None:
    (tmp_path / "loop.yaml").write_text("base: loop.yaml\nseed: 1\n")
    with pytest.raises(InputError, match="inherits from itself"):
        load_recipe(tmp_path / "loop.yaml")


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("train.lrr=1", "'train.lrr'.*'lr'"),
        ("sed=1", "'sed'.*'seed'"),
        ("teachers.cache.view=1", "'teachers.cache.view'.*'views'"),
        ("data.train=[{path: a, wait: 1}]", "'data.train.0.wait'.*'weight'"),
        ("data.sizes=[]", "'data.sizes'.*at least 1"),
        ("data.sizes=[0,224]", "'data.sizes.0'.*greater than 0"),
        ("data.sizes=96", "'data.sizes'.*list"),
        ("data.sizes=[64,96]", "'data.sizes'.*96.*data.size.*224"),
        ("train.lr=-1", "'train.lr'.*greater than 0.*-1"),
        ("train.lr=fast", "'train.lr'.*number"),
        ("train.precision=fp8", "'train.precision'.*'auto', 'bf16' or 'fp32'.*'fp8'"),
        ("train.lr", "'train.lr'.*key=value"),
        ("teachers.models={}", "'teachers.models'"),
        ("teachers.cache={tokens: some}", "'teachers.cache.tokens'"),
        ("student={}", "'student.model' is missing"),
        ("teachers.models={'a.b': 'timm:x'}", "teacher name 'a.b'"),
    ],
)
def test_one_line_for_every_mistake(override: str, line: str) -> None:
    with pytest.raises(InputError, match=line) as error:
        load_recipe(MINIMAL, [override])
    assert "\n" not in str(error.value)


def test_a_teacher_cache_has_one_size_of_views() -> None:
    with pytest.raises(InputError, match="'data': .*teachers.cache.*data.sizes"):
        load_recipe(MINIMAL, ["data.sizes=[96,224]", "teachers.cache={}"])


@pytest.mark.parametrize(
    ("text", "line"), [("a: [", "not valid YAML"), ("", "expected a mapping"), ("- 1\n- 2\n", "expected a mapping")]
)
def test_broken_files(tmp_path: Path, text: str, line: str) -> None:
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(InputError, match=line) as error:
        load_recipe(tmp_path / "bad.yaml")
    assert "\n" not in str(error.value)


def test_unknown_recipe_gets_the_nearest() -> None:
    with pytest.raises(InputError, match="'quickstart'"):
        load_recipe("quickstrat")


@pytest.mark.parametrize("path", sorted(recipe_folder().glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_recipes_are_valid_and_say_what_they_are(path: Path) -> None:
    load_recipe(path)
    assert path.read_text().startswith("# ")


def test_references_are_written_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGES", "/mnt/images")
    data = {"size": 96, "train": "${oc.env:IMAGES}/train"}
    stages = [{"train.epochs": 3}, {"data.size": 128}]
    recipe = load_recipe(
        MINIMAL | {"student": {"model": "timm:y?img_size=${data.size}"}, "data": data, "stages": stages}
    )
    assert recipe.student.model == "timm:y?img_size=96"
    assert recipe.data.train[0].path == "/mnt/images/train"
    assert [plan.student.model for plan in recipe.plans()] == [
        "timm:y?img_size=96"
    ] * 2  # written out before the stages


DOUBLING = {"x0": "ha" * 50} | {f"x{n}": f"${{trackers.t.x{n - 1}}}" * 2 for n in range(1, 60)}


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({"trackers": {"t": DOUBLING}}, "'${trackers.t.x1}'"),
        ({"trackers": {"t": {"a": ["x"], "b": ["${trackers[t][b]}"]}}}, "'${trackers[t][b]}'"),
        ({"trackers": {"t": {"a": "${trackers}"}}}, "'${trackers}'"),
        ({"trackers": {"t": {"a": "${.b}", "b": "c"}}}, "'trackers.t.a'"),
        ({"student": {"model": "${oc.decode:'1'}"}}, "'student.model'"),
        ({"student": {"model": "${oc.${seed}:1}"}}, "'student.model'"),
        ({"trackers": {"t": {"a": "ha" * 100_000, "b": ["${trackers.t.a}"] * 500}}}, "500 references in 2"),
    ],
)
def test_references_do_not_multiply(changed: dict, line: str) -> None:
    """Ten lines that each name the line before twice would make the text a thousand times longer."""
    with pytest.raises(InputError) as error:
        load_recipe({**MINIMAL, **changed})
    assert line in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["student", "start", "pixels", "concat"])
def test_names_of_columns_are_no_names_of_teachers(name: str, tmp_path: Path) -> None:
    models = {name: "pixels:8", "vit": "pixels:4"}
    for changed in (
        {**MINIMAL, "teachers": {"models": models}},
        {**MINIMAL, "stages": [{}, {"teachers.models": models}]},
        {**MINIMAL, "stages": [{"teachers": {"models": models}}]},
    ):
        line = f"recipe: 'teachers.models.{name}'.*column '{name}'"
        with pytest.raises(InputError, match=line):
            load_recipe(changed)
        (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(changed))
        assert name in load_run_recipe(tmp_path).plans()[-1].teachers.models  # a run of before opens
