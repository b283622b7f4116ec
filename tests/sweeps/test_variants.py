"""Which variants a sweep has, what they are called, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from unic.cli.words import axis_in
from unic.errors import InputError
from unic.sweeps.asked import read_asked, with_changes
from unic.sweeps.folder import SweepFolder
from unic.sweeps.plan import make_plan, only, try_out
from unic.sweeps.variants import folder_name


@pytest.fixture
def measured(recipe: dict[str, Any]) -> dict[str, Any]:
    return recipe | {"eval": {"suite": "quick"}}


def variants(tree: dict[str, Any]) -> dict[str, list[str]]:
    plan = make_plan(read_asked(tree))
    return {variant.name: list(variant.overrides) for variant in plan.variants}


def test_values_one_at_a_time(measured: dict[str, Any]) -> None:
    asked = {
        "recipe": measured,
        "vary": {"projector.blocks": ["all", "last"], "weighting": [{"type": "uniform"}], "train.lr": [0.01, 0.1],
                 "standardize.floor": [0]},
    }  # fmt: skip
    assert variants(asked) == {
        "base": [],
        "projector.blocks=last": ['projector.blocks="last"'],
        "weighting=uniform": ['weighting={"type": "uniform"}'],
        "train.lr=0.1": ["train.lr=0.1"],
    }


def test_a_name_alone_is_a_component_without_options(measured: dict[str, Any]) -> None:
    asked = {
        "recipe": measured,
        "vary": {
            "weighting": ["teacher_dropping", "uniform", {"type": "gradnorm", "rate": 0.02}],
            "projector": ["mlp"],
        },
    }
    assert list(variants(asked)) == ["base", "weighting=uniform", "weighting=gradnorm,rate:0.02", "projector=mlp"]
    with pytest.raises(InputError, match="weighting 'unifrm'; did you mean 'uniform'"):
        variants(asked | {"vary": {"weighting": ["unifrm"]}})


def test_one_loss_of_the_default_varies(measured: dict[str, Any]) -> None:
    plan = make_plan(read_asked({"recipe": measured, "vary": {"loss.cosine": [0.5, 1]}}))
    assert [variant.name for variant in plan.variants] == ["base", "loss.cosine=1"]
    assert plan.recipes["loss.cosine=1"].loss == {"cosine": 1, "smooth_l1": 0.5}


def test_the_same_losses_in_other_words_make_no_variant(measured: dict[str, Any]) -> None:
    measured["loss"] = {"queue_kl": 1, "cosine": 1}
    written = {"queue_kl": {"length": 4096}, "cosine": {"weight": 1.0}}
    assert list(variants({"recipe": measured, "vary": {"loss": [written]}})) == ["base"]
    twins = {"a": ["teachers.models.vit.loss={queue_kl: 2}"], "b": ["teachers.models.vit.loss={queue_kl: {weight: 2}}"]}
    with pytest.raises(InputError, match="'a' and 'b' are the same recipe"):
        variants({"recipe": measured, "variants": twins})
    twins["b"] = ["teachers.models.vit.loss={queue_kl: {weight: 2, length: 8}}"]
    assert list(variants({"recipe": measured, "variants": twins})) == ["base", "a", "b"]


def test_a_key_that_every_stage_sets_makes_no_variant(measured: dict[str, Any]) -> None:
    measured["stages"] = [{"train.steps": 2}, {"train": {"steps": 3}}]
    line = "'base' and 'train.steps=9' are the same recipe in every stage; leave one of them out"
    for design in ("one_at_a_time", "factorial"):
        with pytest.raises(InputError, match=line):
            variants({"recipe": measured, "vary": {"train.steps": [8, 9]}, "design": design})
    measured["stages"] = [{"train.steps": 2}, {}]
    assert list(variants({"recipe": measured, "vary": {"train.steps": [8, 9]}})) == ["base", "train.steps=9"]


def test_all_combinations(measured: dict[str, Any]) -> None:
    asked = {
        "recipe": measured,
        "vary": {"projector.blocks": ["all", "last"], "train.lr": [0.01, 0.1]},
        "design": "factorial",
    }
    names = ["base", "train.lr=0.1", "projector.blocks=last", "projector.blocks=last train.lr=0.1"]
    assert list(variants(asked)) == names
    assert folder_name(names[-1]) == "projector.blocks=last-train.lr=0.1"


def test_teachers_keep_their_options_where_another_is_dropped(measured: dict[str, Any]) -> None:
    measured["teachers"]["models"]["vit"] = {"uri": measured["teachers"]["models"]["vit"], "tokens": "cls"}
    plan = make_plan(read_asked({"recipe": measured, "drop_teachers": "each"}))
    left = [plan.recipes[f"without {name}"].teachers.models for name in ("vit", "cnn")]
    assert left == [
        {"cnn": plan.recipes["base"].teachers.models["cnn"]},
        {"vit": plan.recipes["base"].teachers.models["vit"]},
    ]


def test_one_without_each_teacher(measured: dict[str, Any]) -> None:
    found = variants({"recipe": measured, "drop_teachers": "each"})
    assert list(found) == ["base", "without vit", "without cnn"]
    plan = make_plan(read_asked({"recipe": measured, "drop_teachers": "each"}))
    assert list(plan.recipes["without vit"].teachers.models) == ["cnn"]


def test_a_dropped_teacher_is_in_no_stage(measured: dict[str, Any]) -> None:
    vit = "timm:test_vit?pretrained=false&img_size=64"
    measured["stages"] = [
        {"train.steps": 1, "teachers": {"models": {"vit": vit}}},
        {"teachers.models": {"vit": {"weight": 2}, "cnn": {"weight": 3}}, "data": {"size": 64}},
        {"teachers.models.vit.tokens": "cls", "teachers": {"shard": False, "models.vit": vit}},
    ]
    plan = make_plan(read_asked({"recipe": measured, "drop_teachers": "each"}))
    assert plan.recipes["without vit"].stages == [
        {"train.steps": 1},
        {"teachers.models": {"cnn": {"weight": 3}}, "data": {"size": 64}},
        {"teachers": {"shard": False}},
    ]
    for variant, left in zip(plan.variants[1:], ("cnn", "vit"), strict=True):
        recipe = plan.recipes[variant.name]
        assert [list(stage.teachers.models) for stage in recipe.plans()] == [[left]] * 3
        try_out(variant, recipe)
    # Where no stage names it, the variant is written as by earlier versions.
    measured["stages"] = [{"train.steps": 1}]
    assert [len(lines) for lines in variants({"recipe": measured, "drop_teachers": "each"}).values()] == [0, 1, 1]


def test_a_dropped_teacher_is_of_no_source(measured: dict[str, Any]) -> None:
    path = measured["data"]["train"]
    measured["data"]["train"] = [path, {"path": path, "teachers": ["vit", "cnn"]}]
    measured["stages"] = [
        {"data": {"train[1]": {"teachers": ["cnn", "vit"]}}, "train.steps": 1},
        {"data": {"train": [path], "size": 64}},
        {"data": {"train": [{"path": path, "teachers": ["vit", "cnn"], "limit": 2}]}},
    ]
    plan = make_plan(read_asked({"recipe": measured, "drop_teachers": "each"}))
    left = plan.recipes["without vit"]
    assert [source.teachers for source in left.data.train] == [None, ["cnn"]]
    assert left.stages == [
        {"data": {"train[1]": {"teachers": ["cnn"]}}, "train.steps": 1},
        {"data": {"train": [path], "size": 64}},
        {"data": {"train": [{"path": path, "teachers": ["cnn"], "limit": 2}]}},
    ]
    measured["stages"] = [{"data.train.1.teachers": ["vit", "cnn"]}]
    left = make_plan(read_asked({"recipe": measured, "drop_teachers": "each"})).recipes["without vit"]
    assert left.stages == [{"data.train.1.teachers": ["cnn"]}]
    measured["stages"] = [{"data.train": [path]}, {"data": {"train": [{"path": path, "teachers": ["vit"]}]}}]
    line = r"variant 'without vit': 'stages\[1\].data.train\[0\].teachers' names 'vit' alone"
    with pytest.raises(InputError, match=line):
        variants({"recipe": measured, "drop_teachers": "each"})


def test_combinations_with_dropped_teachers(measured: dict[str, Any]) -> None:
    models = measured["teachers"]["models"]
    vit = {"uri": models["vit"], "weight": 2}
    asked = {"recipe": measured, "drop_teachers": "each", "design": "factorial"}
    plan = make_plan(read_asked(asked | {"vary": {"teachers.models.vit.weight": [1, 2]}}))
    found = {name: recipe.teachers.model_dump(exclude_defaults=True)["models"] for name, recipe in plan.recipes.items()}
    assert found == {
        "base": models,
        "without vit": {"cnn": models["cnn"]},
        "without cnn": {"vit": models["vit"]},
        "teachers.models.vit.weight=2": models | {"vit": vit},
        "teachers.models.vit.weight=2 without cnn": {"vit": vit},
    }
    # Another map of teachers need not have the one that is dropped.
    others = {"cnn": models["cnn"], "other": models["vit"]}
    plan = make_plan(read_asked(asked | {"vary": {"teachers.models": [others, {"cnn": models["cnn"]}]}}))
    left = [list(recipe.teachers.models) for recipe in plan.recipes.values()]
    assert left == [["vit", "cnn"], ["cnn", "other"], ["other"], ["cnn"]]


@pytest.mark.parametrize("name", ["unic-vitl14", "dune-vitb14"])
def test_teachers_of_shipped_recipes_can_be_dropped(name: str) -> None:
    plan = make_plan(read_asked({"recipe": name, "suites": ["quick"], "drop_teachers": "each"}))
    for dropped in plan.recipes["base"].teachers.models:
        for stage in plan.recipes[f"without {dropped}"].plans():
            assert list(stage.teachers.models) == [
                other for other in plan.recipes["base"].teachers.models if other != dropped
            ]


def test_named_variants_and_those_that_resume_others(measured: dict[str, Any]) -> None:
    asked = {
        "recipe": measured,
        "overrides": ["train.steps=4", "train.interpolate=1"],
        "variants": {
            "whole": [],
            "slow": ["train.lr=0.001"],
            "half of slow": {"of": "slow", "change": ["train.interpolate=0.5"]},
        },
    }
    plan = make_plan(read_asked(asked))
    assert plan.base.name == "whole"
    half = plan.variants[-1]
    assert (half.of, half.folder) == ("slow", "half-of-slow")
    assert list(half.overrides) == ["train.lr=0.001", "train.interpolate=0.5"]
    assert plan.recipes["half of slow"].train.steps == 4
    chosen = only(plan, ["slow"])
    assert [training.name for training in chosen.trainings(SweepFolder(Path("x")))] == ["slow, seed 0"]
    assert chosen.base.name == "whole"
    with pytest.raises(InputError, match="unknown variant 'slwo'; did you mean 'slow'"):
        only(plan, ["slwo"])


def test_a_file_is_a_sweep_or_a_recipe(measured: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "toy.yaml").write_text(yaml.safe_dump(measured))
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"data": ["clipart"], "tasks": {"knn": {}}}))
    sweep = {"recipe": "toy.yaml", "suite": "mine.yaml", "seeds": [0, 1], "vary": {"train.lr": [0.1]}}
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(sweep))
    asked = read_asked(tmp_path / "sweep.yaml")
    assert asked.recipe == str(tmp_path / "toy.yaml")  # beside the sweep, wherever the command is typed
    assert asked.suites == [str(tmp_path / "mine.yaml")]
    assert read_asked(tmp_path) == asked  # as the folder of a sweep
    assert read_asked(str(tmp_path / "toy.yaml")).recipe == str(tmp_path / "toy.yaml")
    more = with_changes(asked, overrides=["train.steps=2"], vary={"seed": [1]}, seeds=[4], design=None, suites=[])
    assert (more.overrides, more.seeds, more.suites) == (["train.steps=2"], [4], asked.suites)
    assert list(more.vary) == ["train.lr", "seed"]


def test_the_sweep_of_the_documentation(monkeypatch: pytest.MonkeyPatch) -> None:
    root = Path(__file__).parents[2]
    monkeypatch.chdir(root)
    (block,) = re.findall(r"^```yaml\n(.*?)^```", (root / "docs/sweep.md").read_text(), re.M | re.S)
    plan = make_plan(read_asked(yaml.safe_load(block)))
    assert (plan.base.name, len(plan.variants), list(plan.suites)) == ("whole", 8, ["quick"])


def test_suites_are_called_by_their_files(measured: dict[str, Any], tmp_path: Path) -> None:
    for name in ("one/mine.yaml", "two/mine.yaml"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("data: [clipart]\n")
    suites = [str(tmp_path / "one/mine.yaml"), "quick"]
    assert make_plan(read_asked({"recipe": measured, "suites": suites})).suites == {"mine": suites[0], "quick": "quick"}
    with pytest.raises(InputError, match="two suites are called 'mine'"):
        make_plan(read_asked({"recipe": measured, "suites": [suites[0], str(tmp_path / "two/mine.yaml")]}))


def test_an_axis_as_typed() -> None:
    assert axis_in("projector.blocks=[all, last]") == ("projector.blocks", ["all", "last"])
    assert axis_in("weighting=[{type: uniform}, null]") == ("weighting", [{"type": "uniform"}, None])
    assert axis_in("train.lr=[1e-4]") == ("train.lr", [1e-4])
    for text in ("train.lr=1e-4", "train.lr", "=[1]", "train.lr=[]", "train.lr=[1"):
        with pytest.raises(InputError, match=re.escape(f"--vary '{text}': ")):
            axis_in(text)


@pytest.mark.parametrize(
    ("more", "line"),
    [
        ({"sede": [1]}, "unknown key 'sede'; did you mean 'seeds'"),
        ({"design": "all"}, "'design': .*'factorial'"),
        ({"vary": {"train.lr": []}}, "'train.lr' has no values"),
        ({"vary": {"train.lrr": [1]}}, "unknown key 'train.lrr'.*'lr'"),
        ({"variants": {"a": {"of": "b"}}}, "'a': expected both of: of, change"),
        ({"variants": {"a": {"of": "b", "chnge": ["x=1"]}}}, "'a' has an unknown key 'chnge'; did you mean 'change'"),
        ({"variants": {"a": "train.lr=1"}}, "'a': expected a list of KEY=VALUE"),
        ({"variants": {"a": {"of": "b", "change": ["x=1"]}}}, "'a' is of 'b', which is no variant"),
        ({"variants": {"a": {"of": "a", "change": ["x=1"]}}}, "'a' is of itself"),
        ({"variants": {"a": [], "b": []}}, "'a' and 'b' are the same recipe"),
        ({"variants": {"a b": ["train.lr=1"], "a-b": ["train.lr=2"]}}, "'a b' and 'a-b' would have one folder"),
        ({"variants": {"results": ["train.lr=1"]}}, "'results' cannot be the name of a folder"),
        ({"variants": {"seed-0": ["train.lr=1"]}}, "'seed-0' cannot be the name of a folder"),
        ({"variants": {"base": ["train.lr=1"]}}, "'base' is the recipe itself"),
        ({"variants": {"a": ["train.lrr=1"]}}, "variant 'a': .*'train.lrr'"),
        ({"variants": {"a": ["seed=1"]}}, "variant 'a': .*leave out seed="),
        ({"variants": {"a": ["eval.suite=samples"]}}, "variant 'a': .*leave out eval.suite"),
        (
            {"variants": {"a": ["train.lr=1"], "b": {"of": "a", "change": ["train.steps=9"]}}},
            "variant 'b', which resumes 'a': 'train.steps' was 8",
        ),
        ({"overrides": ["eval.suite=null"]}, "nothing to measure by; name a suite"),
        ({"seeds": [0, 0]}, "0 is named twice"),
        ({"suite": "quick", "suites": ["quick"]}, "either 'suite' or 'suites'"),
    ],
)
def test_what_is_refused_in_one_line(measured: dict[str, Any], more: dict[str, Any], line: str) -> None:
    with pytest.raises(InputError, match=line):
        make_plan(read_asked({"recipe": measured, **more}))


def test_a_single_teacher_cannot_be_dropped(measured: dict[str, Any]) -> None:
    del measured["teachers"]["models"]["cnn"]
    with pytest.raises(InputError, match="one teacher, 'vit'"):
        variants({"recipe": measured, "drop_teachers": "each"})


def test_no_name_is_too_long_for_a_folder(measured: dict[str, Any], tmp_path: Path) -> None:
    letters = "ä" * 130
    with pytest.raises(
        InputError, match=r"variant 'ä{60}…' has 260 bytes; a folder's name may have 239, so shorten it"
    ):
        variants({"recipe": measured, "variants": {letters: ["train.lr=1"]}})
    vary = {
        section: [{"type": "uniform", "a": value, "b": letters} for value in (1, 2)]
        for section in ("trackers.ä", "trackers.b", "trackers.c", "trackers.d", "trackers.e", "trackers.f")
    }
    names = list(variants({"recipe": measured, "vary": vary, "design": "factorial"}))
    assert len(names) == 1 + 2**6
    folder = SweepFolder(tmp_path)
    folder.results.mkdir()
    for name in names:
        folder.result(folder_name(name), 4294967295).touch()


def test_values_have_folders_of_their_own(measured: dict[str, Any]) -> None:
    plan = make_plan(read_asked({"recipe": measured, "vary": {"train.lr": [1e30, 1e-30]}}))
    assert [variant.folder for variant in plan.variants] == ["base", "train.lr=1e30", "train.lr=1e-30"]
    sources = ["generated:strokes?a/b", "generated:strokes?a-b", "generated:strokes?a+b"]
    plan = make_plan(read_asked({"recipe": measured, "vary": {"data.train": sources}}))
    first, *others = [variant.folder for variant in plan.variants[1:]]
    assert first == "data.train=generated-strokes-a-b"
    assert all(re.fullmatch(rf"{first}-[0-9a-f]{{6}}", other) for other in others)
    assert len(set(others)) == 2


def test_long_values_have_short_names(measured: dict[str, Any]) -> None:
    sources = [{"path": f"folder-{number}"} for number in range(20)]
    name = list(variants({"recipe": measured, "vary": {"data.train": [sources]}}))[-1]
    assert len(folder_name(name)) < 80
    assert re.fullmatch(r"[\w.=-]+", folder_name(name))
