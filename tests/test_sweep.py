"""`unic sweep`: from the command to the table, what is repeated, what goes on, and what is refused."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import pytest
import yaml
from launcher import Launcher
from patient import to_its_end
from rich.console import Console

import unic
from unic import api, cli
from unic.api import sweep_training, sweeping
from unic.errors import InputError, NotFiniteError, PreemptedError, UnfinishedError
from unic.recipe.schema import load_recipe
from unic.runs import checkpoint
from unic.runs.metrics import read_metrics
from unic.signals import stop_signals
from unic.sweeps import jobs as sweep_jobs
from unic.sweeps import sameness
from unic.sweeps.asked import read_asked
from unic.sweeps.folder import SweepFolder
from unic.sweeps.kept import check_kept
from unic.sweeps.measured import Measured, Scored, write_measured
from unic.sweeps.plan import Training, make_plan
from unic.sweeps.sameness import images_digest, recipe_digest

QUIET = Console(quiet=True)


@pytest.fixture
def measured(recipe: dict[str, Any], image_folder: Path) -> dict[str, Any]:
    """The tiny recipe, shorter, with an evaluation and a teacher cache that all seeds share."""
    recipe["train"] |= {"steps": 2}
    recipe["data"] |= {"augment": "none"}
    recipe["teachers"] |= {"cache": {"views": 1}}
    suite = {"data": [f"blobs={image_folder}?test=0.5&seed=0"], "tasks": {"knn": {"k": 3}}, "size": 32}
    return recipe | {"trackers": {}, "eval": {"suite": suite}}


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Trainings that do nothing but to write scores, by folder; those of `worse` are 10 points below."""
    done: list[str] = []

    def pretend(self: Any, training: Training) -> None:
        score = 60 + training.seed / 10 - 10 * (training.variant.name == "worse")
        training.run.mkdir(parents=True)
        done.append(f"{training.variant.folder}/{training.run.name}")
        write_measured(
            training.result,
            Measured(
                variant=training.variant.name, overrides=list(training.variant.overrides), seed=training.seed,
                is_base=training.variant.name == self._base, suites={"suite": {"blobs/knn": Scored(score=score)}},
                suite_digests=self._digests, set_digests=self._sets, images_digest=images_digest(training.recipe),
                recipe_digest=recipe_digest(training.recipe),
            ),
        )  # fmt: skip

    monkeypatch.setattr(sweep_training.Work, "__call__", pretend)
    monkeypatch.setattr(sweeping, "try_out", lambda *_: None)
    return done


def command(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    code = 0
    sys.argv = ["unic", *map(str, arguments)]
    try:
        cli.main()
    except SystemExit as stop:
        code = int(stop.code or 0)
    output = capsys.readouterr()
    return code, output.out, output.err


def test_from_the_command_to_the_table(
    measured: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("toy.yaml").write_text(yaml.safe_dump(measured))
    fitted: list[str] = []
    fit = sweep_training.fit
    monkeypatch.setattr(
        sweep_training, "fit", lambda recipe, run, **more: fitted.append(str(run)) or fit(recipe, run, **more)
    )
    words = ["sweep", "toy.yaml", "--vary", "projector.blocks=[all,last]", "--seeds", "0,1", "--out", "all"]
    code, out, err = command(capsys, *words)
    assert code == 0, err
    assert fitted == [f"all/{name}/seed-{seed}" for seed in (0, 1) for name in ("base", "projector.blocks=last")]
    assert max(map(len, out.splitlines())) <= 80
    assert "projector.blocks=last" in out
    assert "report: all/report.html" in out

    run = Path("all/projector.blocks=last/seed-1")
    own = json.loads((run / "results.json").read_text())["tasks"]["blobs/knn"]["student"]["score"]
    small = json.loads(Path("all/results/projector.blocks=last-1.json").read_text())
    assert list(small["set_digests"]["suite"]) == ["blobs"]
    assert small["suites"]["suite"]["blobs/knn"]["score"] == own
    assert small["overrides"] == ['projector.blocks="last"']
    assert yaml.safe_load((run / "recipe.yaml").read_text())["seed"] == 1
    code, _, err = command(capsys, "eval", "all/projector.blocks=last", "--out", "joint.json")
    assert code == 0, err
    assert json.loads(Path("joint.json").read_text())["models"]["student"]["trainings"] == ["seed-0", "seed-1"]

    fitted.clear()
    table = Path("all/table.md").read_text()
    assert command(capsys, *words)[0] == 0
    assert command(capsys, "sweep", "all", "--table")[1] == out
    assert command(capsys, "report", "all", "--out", "page.html")[:2] == (0, "page.html\n")
    assert fitted == []  # all of it was there
    for name in ("base", "projector.blocks=last"):
        shutil.rmtree(Path("all") / name)
    code, again, err = command(capsys, "sweep", "all")  # elsewhere, with the small files alone
    assert (code, again) == (0, out), err
    assert fitted == []
    assert Path("all/table.md").read_text() == table


def test_a_variant_that_resumes_another_one(
    measured: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: dict[str, int] = {}
    step = sys.modules["unic.training.train"].training_step
    monkeypatch.setattr(
        "unic.training.train.training_step",
        lambda stage, *rest: steps.update({str(stage.run.folder): rest[-1]}) or step(stage, *rest),
    )
    half = {"half": {"of": "base", "change": ["train.interpolate=0.5"]}}
    with pytest.raises(InputError, match="'half', which resumes 'base': .*train.interpolate=1 among the overrides"):
        unic.sweep(measured, variants=half, out=tmp_path, console=QUIET)
    unic.sweep(measured, variants=half, out=tmp_path, console=QUIET, train__interpolate=1)
    assert steps == {str(tmp_path / "base/seed-0"): 2}
    assert (tmp_path / "half/seed-0/interpolated").is_dir()
    scores = {path.stem: json.loads(path.read_text())["of"] for path in (tmp_path / "results").glob("h*")}
    assert scores == {"half-0": "base"}
    # Where that run is gone, the variant is trained from the start.
    shutil.rmtree(tmp_path / "base")
    unic.sweep(tmp_path, seeds=[0, 1], only_variants=["half"], out=tmp_path, console=QUIET)
    assert steps[str(tmp_path / "half/seed-1")] == 2


def test_what_is_hopeless_gets_no_further_seed(measured: dict[str, Any], tmp_path: Path, pretended: list[str]) -> None:
    variants = {"worse": ["train.lr=1"], "alike": ["train.lr=2"]}
    asked = {"recipe": measured, "variants": variants, "seeds": [0, 1, 2]}
    unic.sweep(asked, out=tmp_path / "all", stop_hopeless=True, console=QUIET)
    assert pretended == [
        *(f"{name}/seed-{seed}" for seed in (0, 1) for name in ("base", "worse", "alike")),
        *(f"{name}/seed-2" for name in ("base", "alike")),
    ]
    pretended.clear()
    unic.sweep(asked, out=tmp_path / "all", console=QUIET)
    assert pretended == ["worse/seed-2"]  # not asked to stop


def test_the_same_sweep_goes_on_and_another_one_is_refused(
    measured: dict[str, Any], tmp_path: Path, pretended: list[str]
) -> None:
    asked = {"recipe": measured, "variants": {"worse": ["train.lr=1"], "more": ["train.lr=2"]}}
    folder = unic.sweep(asked, out=tmp_path / "all", only_variants=["base", "worse"], console=QUIET)
    kept = yaml.safe_load((folder / "sweep.yaml").read_text())
    assert (list(kept["variants"]), kept["seeds"]) == (["base", "worse", "more"], [0])

    for other, line in (
        ({"variants": {"worse": ["train.lr=3"]}}, r"variant 'worse' was \['train.lr=1'\] there"),
        ({"overrides": ["train.steps=3"]}, "'train.steps' is 2, now it is 3"),
        ({"overrides": ["train.interpolate=0.5"]}, "'train.interpolate' is None, now it is 0.5"),
        ({"suites": ["quick"]}, "measured by the suite of its recipe, this one by quick"),
        ({"variants": {"whole": []}}, "the base of the sweep there is called 'base'"),
    ):
        with pytest.raises(InputError, match=line):
            unic.sweep({**asked, **other}, out=folder, console=QUIET)
    assert yaml.safe_load((folder / "sweep.yaml").read_text()) == kept

    pretended.clear()
    asked["variants"]["more"] = ["train.lr=4"]  # never begun, so it may change
    unic.sweep(asked, out=folder, seeds=[1], console=QUIET)
    assert pretended == ["base/seed-1", "worse/seed-1", "more/seed-1"]
    kept = yaml.safe_load((folder / "sweep.yaml").read_text())
    assert kept["seeds"] == [0, 1]
    assert kept["variants"] == {"base": [], "worse": ["train.lr=1"], "more": ["train.lr=4"]}


def test_of_two_sweeps_that_begin_one_folder_at_once_the_second_is_refused(
    measured: dict[str, Any], tmp_path: Path, pretended: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second one starts while the first one tries its variants."""
    waits, refused = threading.Event(), list[InputError]()

    def second() -> None:
        try:
            unic.sweep(measured, out=tmp_path / "all", console=QUIET, train__lr=0.5)
        except InputError as error:
            refused.append(error)
        waits.set()

    other = threading.Thread(target=second)

    def meanwhile(*_: object) -> None:
        if other.ident is None:
            other.start()
            assert waits.wait(60)

    monkeypatch.setattr(sweeping, "try_out", meanwhile)
    monkeypatch.setattr("unic.sweeps.claim.time.sleep", lambda _: waits.set())
    unic.sweep(measured, out=tmp_path / "all", console=QUIET)
    other.join()
    assert "'train.lr' is 0.01, now it is 0.5; name another folder" in str(refused[0])
    assert pretended == ["base/seed-0"]
    assert not (tmp_path / "all/.lock").exists()


def test_a_training_with_another_recipe_is_refused(
    measured: dict[str, Any], tmp_path: Path, pretended: list[str]
) -> None:
    folder = unic.sweep(measured, out=tmp_path / "all", console=QUIET)
    other = unic.sweep(measured, out=tmp_path / "other", console=QUIET, train__lr=0.5)
    for name in ("sweep.yaml", "base.yaml"):
        shutil.copy(other / name, folder)
    with pytest.raises(InputError, match="'base', seed 0, was trained with another recipe than it has now; restore"):
        unic.sweep(folder, out=folder, seeds=[0, 1], console=QUIET)
    small = folder / "results/base-0.json"
    small.write_text(json.dumps({**json.loads(small.read_text()), "recipe_digest": ""}))  # of an earlier version
    unic.sweep(folder, out=folder, seeds=[0, 1], console=QUIET)
    assert pretended[2:] == ["base/seed-1"]


def test_a_digest_of_a_recipe_has_what_decides_a_training(measured: dict[str, Any], tmp_path: Path) -> None:
    recipe = load_recipe(measured)
    (tmp_path / "whole.yaml").write_text(recipe.to_yaml())  # with every default
    same = [
        [],
        ["seed=3", "train.log_every=7", "data.workers=1", "eval.suite=quick"],
        ["weighting.level=image", "loss.cosine={weight: 0.5}"],
    ]
    for source in (measured, tmp_path / "whole.yaml"):
        assert {recipe_digest(load_recipe(source, lines)) for lines in same} == {recipe_digest(recipe)}
    changed = [
        "train.lr=0.5",
        "weighting.level=batch",
        "loss.cosine=2",
        "train.interpolate=0.5",
        "eval={every: 1, patience: 2}",
        "teachers.models.vit.weight=2",
    ]
    assert len({recipe_digest(load_recipe(measured, [line])) for line in [*changed, "seed=3"]}) == 1 + len(changed)
    staged = [
        measured | {"stages": [{"train.lr": 0.5}, stage]} for stage in ({}, {"train": {"lr": 0.01}}, {"train.lr": 3})
    ]
    digests = [recipe_digest(load_recipe(tree)) for tree in staged]
    assert digests[0] == digests[1] != digests[2]


def test_a_variant_has_not_begun_because_another_one_has_a_name_like_it(
    measured: dict[str, Any], tmp_path: Path, pretended: list[str]
) -> None:
    asked: dict[str, Any] = {"recipe": measured, "variants": {"a": ["train.lr=1"], "a-1": ["train.lr=2"]}}
    folder = unic.sweep(asked, out=tmp_path / "all", only_variants=["a-1"], console=QUIET)
    asked["variants"]["a"] = ["train.lr=3"]
    unic.sweep(asked, out=folder, console=QUIET)
    assert pretended == ["a-1/seed-0", "base/seed-0", "a/seed-0"]
    shutil.rmtree(folder / "a")
    assert [SweepFolder(folder).has_begun(name) for name in ("a", "a-1", "a-1-0")] == [True, True, False]


def test_a_variant_in_the_folder_of_another_one_is_refused(
    measured: dict[str, Any], tmp_path: Path, pretended: list[str]
) -> None:
    asked: dict[str, Any] = {"recipe": measured, "variants": {"a b": ["train.lr=1"]}}
    folder = unic.sweep(asked, out=tmp_path / "all", console=QUIET)
    with pytest.raises(InputError, match="the variant 'A-b' would have the folder of 'a b'; give it another name"):
        unic.sweep(asked | {"variants": {"A-b": ["train.lr=2"]}}, out=folder, console=QUIET)
    unic.sweep(asked | {"variants": {"a-c": ["train.lr=2"]}}, out=folder, console=QUIET)
    assert pretended == ["base/seed-0", "a-b/seed-0", "a-c/seed-0"]


def test_a_sweep_goes_on_from_another_folder(
    measured: dict[str, Any], tmp_path: Path, pretended: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, other = tmp_path / "first", tmp_path / "other"
    first.mkdir()
    other.mkdir()
    monkeypatch.chdir(first)
    Path("toy.yaml").write_text(yaml.safe_dump(measured))
    Path("own.yaml").write_text(yaml.safe_dump(measured["eval"]["suite"]))
    asked = {"recipe": "toy.yaml", "suites": ["own.yaml"], "variants": {"mixed": ["train.interpolate=auto"]}}
    unic.sweep(asked, out="sw/a", console=QUIET)
    kept = Path("sw/a/sweep.yaml").read_text()
    monkeypatch.chdir(other)
    unic.sweep("../first/sw/a", out="../first/sw/a", console=QUIET)
    assert (first / "sw/a/sweep.yaml").read_text() == kept
    # Where the recipe is gone, base.yaml has it.
    shutil.copy(first / "own.yaml", first / "sw/a")
    (first / "toy.yaml").unlink()
    unic.sweep("../first/sw/a", out="../first/sw/a", seeds=[0, 1], console=QUIET)
    assert pretended == [f"{name}/seed-{seed}" for seed in (0, 1) for name in ("base", "mixed")]
    plan = make_plan(read_asked("../first/sw/a"))
    assert [plan.recipes[name].data.holdout for name in ("base", "mixed")] == [0, 0.05]
    now = yaml.safe_load((first / "sw/a/sweep.yaml").read_text())
    assert now == {**yaml.safe_load(kept), "seeds": [0, 1]}


def test_the_same_recipe_in_other_words_goes_on(measured: dict[str, Any], tmp_path: Path, pretended: list[str]) -> None:
    unic.sweep(measured, out=tmp_path / "all", console=QUIET)
    measured |= {"loss": {"cosine": {"weight": 0.5}, "smooth_l1": 0.5}, "standardize": {"type": "ema", "floor": 0}}
    unic.sweep(measured, out=tmp_path / "all", seeds=[0, 1], console=QUIET)
    assert pretended == ["base/seed-0", "base/seed-1"]


def test_a_teacher_that_gets_an_option_is_named_by_the_option(
    measured: dict[str, Any], tmp_path: Path, pretended: list[str]
) -> None:
    name = next(iter(measured["teachers"]["models"]))
    unic.sweep(measured, out=tmp_path / "all", console=QUIET)
    with pytest.raises(InputError, match=rf"'teachers.models.{name}.weight' is 1.0, now it is 2.0"):
        unic.sweep(measured, out=tmp_path / "all", console=QUIET, overrides={f"teachers.models.{name}.weight": 2})


def test_a_suite_that_has_changed_is_refused(
    measured: dict[str, Any], image_folder: Path, tmp_path: Path, pretended: list[str]
) -> None:
    file, folder = tmp_path / "suite.yaml", tmp_path / "all"
    (tmp_path / "moved").symlink_to(image_folder)
    blobs = f"blobs={image_folder}?test=0.5"
    suite = {"data": [blobs, f"more={image_folder}?test=0.5&seed=1"], "tasks": {"knn": {"k": 3}}, "seeds": [0]}
    file.write_text(yaml.safe_dump(suite))
    asked = {"recipe": measured, "suites": [str(file)], "variants": {"worse": ["train.lr=1"]}}
    unic.sweep(asked, out=folder, console=QUIET)
    for changed in (
        {"data": [f"{blobs}&seed=1", suite["data"][1]]}, {"data": [blobs]}, {"tasks": {"knn": {"k": 1}}},
        {"seeds": [0, 1]}, {"size": 32},
    ):  # fmt: skip
        file.write_text(yaml.safe_dump(suite | changed))
        with pytest.raises(InputError, match=r"the suite 'suite' has other .* than when 'base', seed 0, was measured"):
            unic.sweep(asked, out=folder, seeds=[0, 1], console=QUIET)
    # Files that have moved, a default that is written out, and groups of rows change no score.
    moved = [spec.replace(str(image_folder), str(tmp_path / "moved")) for spec in suite["data"]]
    file.write_text(yaml.safe_dump(suite | {"data": moved, "view": "square", "axes": {"near": ["*/knn"]}}))
    unic.sweep(asked, out=folder, seeds=[0, 1], console=QUIET)
    # The small files of earlier versions do not tell.
    for small in (folder / "results").glob("*.json"):
        small.write_text(json.dumps({**json.loads(small.read_text()), "suite_digests": {}}))
    file.write_text(yaml.safe_dump(suite | {"seeds": [0, 1]}))
    unic.sweep(asked, out=folder, seeds=[0, 2], console=QUIET)
    assert pretended[-2:] == ["base/seed-2", "worse/seed-2"]


def test_other_training_images_are_refused(
    measured: dict[str, Any], image_folder: Path, tmp_path: Path, pretended: list[str]
) -> None:
    folder, images = tmp_path / "all", tmp_path / "images"
    shutil.copytree(image_folder, images)
    measured["data"]["train"] = str(images)
    asked = {"recipe": measured, "variants": {"drawn": ["data.train=generated:strokes"]}}
    unic.sweep(asked, out=folder, console=QUIET)
    added = images / "added.png"
    shutil.copy(next(images.rglob("*.png")), added)
    with pytest.raises(InputError, match=r"training images differ .* 'base', seed 0, was trained on; restore them"):
        unic.sweep(asked, out=folder, seeds=[0, 1], console=QUIET)
    added.unlink()
    with pytest.raises(InputError, match="the training images differ from those that 'base'"):
        unic.sweep(asked, out=folder, seeds=[0, 1], console=QUIET, overrides={"data.train": "generated:spectral"})
    assert pretended == ["base/seed-0", "drawn/seed-0"]
    # Images that have moved are the same, and those that are gone cannot be compared.
    moved = json.loads(json.dumps(asked).replace(str(images), str(tmp_path / "moved")))
    images.rename(tmp_path / "moved")
    unic.sweep(moved, out=folder, only_variants=["base"], seeds=[0, 1], console=QUIET)
    shutil.rmtree(tmp_path / "moved")
    unic.sweep(moved, out=folder, only_variants=["base"], seeds=[0], console=QUIET)
    assert pretended[2:] == ["base/seed-1"]


def test_other_test_images_are_refused(
    measured: dict[str, Any], image_folder: Path, tmp_path: Path, pretended: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, images = tmp_path / "all", tmp_path / "images"
    shutil.copytree(image_folder, images)
    suite = measured["eval"]["suite"]
    suite["data"] = [f"blobs={images}?test=0.5&seed=0"]
    unic.sweep(measured, out=folder, console=QUIET)
    one, other = sorted(images.rglob("*.png"))[:2]
    kept = one.read_bytes()
    shutil.copy(other, one)
    line = (
        r"the images or labels of the set 'blobs' differ from those that 'base', seed 0, was measured on; restore them"
    )
    with pytest.raises(InputError, match=line):
        unic.sweep(measured, out=folder, seeds=[0, 1], console=QUIET)
    one.write_bytes(kept)
    one.rename(images / "warm" / one.name)
    with pytest.raises(InputError, match=line):
        unic.sweep(measured, out=folder, seeds=[0, 1], console=QUIET)
    (images / "warm" / one.name).rename(one)
    assert pretended == ["base/seed-0"]
    # Images that have moved are the same; they are hashed once for all trainings.
    hashed: list[str] = []
    digest = sameness._set_digest
    monkeypatch.setattr(sameness, "_set_digest", lambda pair: hashed.append(pair.name) or digest(pair))
    images.rename(tmp_path / "moved")
    suite["data"] = [suite["data"][0].replace(str(images), str(tmp_path / "moved"))]
    unic.sweep(measured, out=folder, seeds=[0, 1, 2], console=QUIET)
    assert pretended[1:] == ["base/seed-1", "base/seed-2"]
    assert hashed == ["blobs"]
    # Those that are gone cannot be compared, and small files of earlier versions do not tell theirs.
    shutil.rmtree(tmp_path / "moved")
    unic.sweep(measured, out=folder, seeds=[0, 1, 2], console=QUIET)
    for small in (folder / "results").glob("*.json"):
        small.write_text(json.dumps({**json.loads(small.read_text()), "set_digests": {}}))
    shutil.copytree(image_folder / "warm", tmp_path / "moved/warm")
    shutil.copytree(image_folder / "warm", tmp_path / "moved/cold")
    unic.sweep(measured, out=folder, seeds=[0, 1, 2], console=QUIET)
    assert len(pretended) == 3


def test_a_suite_that_changes_while_others_train_measures_nothing(measured: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "suite.yaml"
    file.write_text(yaml.safe_dump(measured["eval"]["suite"]))
    work = sweep_training.Work(make_plan(read_asked({"recipe": measured, "suites": [str(file)]})), QUIET)
    file.write_text(yaml.safe_dump(measured["eval"]["suite"] | {"seeds": [1]}))
    with pytest.raises(InputError, match="the suite 'suite' has changed since the command began"):
        work._evaluated(tmp_path, "suite", load_recipe(measured), QUIET)


@pytest.mark.parametrize("name", ["alternatives", "general/sweep"])
def test_sweeps_of_earlier_versions_can_be_read(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = Path(__file__).parents[1]
    monkeypatch.chdir(root)
    folder = SweepFolder(tmp_path / "all")
    shutil.copytree(root / "benchmarks/results" / name, folder.path)
    check_kept(folder, make_plan(read_asked(folder.path)))


def test_folders_of_something_else_are_refused(measured: dict[str, Any], tmp_path: Path, pretended: list[str]) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(InputError, match="not empty and holds no sweep"):
        unic.sweep(measured, out=tmp_path, console=QUIET)
    (tmp_path / "recipe.yaml").touch()
    with pytest.raises(InputError, match="single training"):
        unic.sweep(measured, out=tmp_path, console=QUIET)
    with pytest.raises(InputError, match="no finished training"):
        api.sweep_table(tmp_path)
    (tmp_path / "results").mkdir()
    (tmp_path / "results/full-0.json").write_text('{"variant": "full", "seed": 0}')
    with pytest.raises(InputError, match=r"full-0\.json is not as unic sweep writes it"):
        api.sweep_table(tmp_path)
    assert pretended == []


def test_a_table_is_printed_where_no_page_can_be_written(
    measured: dict[str, Any], tmp_path: Path, pretended: list[str], capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    folder = unic.sweep(measured, out=tmp_path / "all", variants={"worse": ["train.lr=1"]}, console=QUIET)
    printed = command(capsys, "sweep", folder, "--table")[1]
    for name in ("table.md", "report.html"):
        (folder / name).unlink()

    def read_only(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr("unic.outputs.tempfile.TemporaryFile", read_only)
    code, out, err = command(capsys, "sweep", folder, "--table")
    assert (code, err.count("\n")) == (2, 1)
    assert f"sweep {folder}: cannot write in {folder} (Read-only file system); unic report {folder} --out FILE" in err
    assert out == printed.replace(f"report: {folder}/report.html\n", "")
    assert "worse" in out
    assert not (folder / "report.html").exists()


def test_a_mistake_in_the_last_variant_is_found_before_the_first_trains(
    measured: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep_training, "fit", lambda *_, **__: pytest.fail("nothing may be trained"))
    variants = {"wider": ["projector.hidden_dim=16"], "typo": ["projector.hiden_dim=16"]}
    with pytest.raises(InputError, match=r"variant 'typo': .*'hiden_dim'; did you mean 'hidden_dim'"):
        unic.sweep(measured, variants=variants, out=tmp_path / "all", console=QUIET)
    with pytest.raises(InputError, match=r"variant 'typo': .*the student has blocks"):
        unic.sweep(measured, variants={"typo": ["projector.blocks=[99]"]}, out=tmp_path / "all", console=QUIET)
    assert not (tmp_path / "all").exists()


def test_what_fails_does_not_stop_the_others(
    measured: dict[str, Any], tmp_path: Path, pretended: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend = sweep_training.Work.__call__

    def failing(self: Any, training: Training) -> None:
        if training.variant.name == "wild":
            raise NotFiniteError("losses are not finite")
        pretend(self, training)

    monkeypatch.setattr(sweep_training.Work, "__call__", failing)
    variants = {"wild": ["train.lr=9"], "worse": ["train.lr=1"]}
    with pytest.raises(UnfinishedError, match=r"wild, seed 0: losses are not finite$"):
        unic.sweep(measured, variants=variants, out=tmp_path / "all", console=QUIET)
    assert pretended == ["base/seed-0", "worse/seed-0"]
    assert (tmp_path / "all/report.html").is_file()


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_full_disk_is_no_reason_to_resume_a_single_run(
    measured: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jobs: int
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def beside(trainings: list[Training], jobs: int, work: Any) -> Iterator[tuple[Training, Exception | None]]:
        """What a process for each training answers, without the process, in which nothing can be patched."""
        theirs, ours = Pipe()
        for training in trainings:
            sweep_jobs._child(work, training, 0, [], theirs)
            yield training, ours.recv()

    monkeypatch.setattr(checkpoint, "save", full)
    monkeypatch.setattr(sweeping, "run_each", beside)
    with pytest.raises(UnfinishedError) as error:
        unic.sweep(measured, out=tmp_path / "all", jobs=jobs, console=QUIET)
    assert str(error.value) == (
        f"sweep {tmp_path / 'all'}: base, seed 0: checkpoint at step 2 not saved: No space left on device; there is no "
        "earlier one; free some space and continue with the same command"
    )


def test_a_signal_ends_it_and_the_same_call_goes_on(
    measured: dict[str, Any], tmp_path: Path, pretended: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend = sweep_training.Work.__call__

    def stopped(self: Any, training: Training) -> None:
        if training.seed == 1:
            raise PreemptedError("stopped by a signal")
        pretend(self, training)

    with monkeypatch.context() as patched:
        patched.setattr(sweep_training.Work, "__call__", stopped)
        with pytest.raises(PreemptedError, match="1 trainings are finished; the same command goes on"):
            unic.sweep(measured, seeds=[0, 1], out=tmp_path / "all", console=QUIET)
    unic.sweep(measured, seeds=[0, 1], out=tmp_path / "all", console=QUIET)
    assert pretended == ["base/seed-0", "base/seed-1"]


def test_a_dry_run_tells_the_variants(
    measured: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("toy.yaml").write_text(yaml.safe_dump(measured))
    code, out, err = command(capsys, "sweep", "toy.yaml", "--drop-teachers", "each", "--seeds", "5,6", "--dry-run")
    assert code == 0, err
    assert "without vit: teachers.models=" in out
    assert "trainings: 6, of 3 variants with seeds 5, 6" in out
    assert [path.name for path in tmp_path.iterdir()] == ["toy.yaml"]
    for words, line in (
        (["--vary", "train.lr=1"], "--vary 'train.lr=1': expected KEY="),
        (["--vary", "train.lr=[1]", "--vary", "train.lr=[2]"], "'train.lr' is varied twice"),
        (["--drop-teachers", "all"], "'drop_teachers'"),
        (["--variant", "bse"], "unknown variant 'bse'; did you mean 'base'"),
        (["--variant", "base, twice"], "unknown variant 'base, twice'"),
    ):
        code, out, err = command(capsys, "sweep", "toy.yaml", *words)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert line in err


def test_two_suites_are_two_tables(
    measured: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("toy.yaml").write_text(yaml.safe_dump(measured))
    suite = measured["eval"]["suite"]
    Path("near.yaml").write_text(yaml.safe_dump(suite))
    Path("other.yaml").write_text(yaml.safe_dump(suite | {"tasks": {"knn": {"k": 1}, "retrieval": {}}}))
    code, out, err = command(
        capsys, "sweep", "toy.yaml", "--suite", "near.yaml", "--suite", "other.yaml", "--vary", "train.lr=[0.1]",
        "--out", "all",
    )  # fmt: skip
    assert code == 0, err
    assert [line.strip() for line in out.splitlines() if line.strip() in ("near", "other")] == ["near", "other"]
    assert "not in the means, as measured otherwise: blobs/retrieval" in " ".join(out.split())
    small = json.loads(Path("all/results/train.lr=0.1-0.json").read_text())["suites"]
    assert len(set(json.loads(Path("all/results/base-0.json").read_text())["suite_digests"].values())) == 2
    assert list(small) == ["near", "other"]
    assert "right" in small["other"]["blobs/knn"]
    assert "right" not in small["other"]["blobs/retrieval"]
    own = json.loads(Path("all/base/seed-0/results.json").read_text())
    assert list(own["tasks"]) == ["blobs/knn"]


def test_several_at_a_time(measured: dict[str, Any], tmp_path: Path) -> None:
    unic.sweep(measured, seeds=[0, 1], out=tmp_path / "two", jobs=2, console=QUIET)
    unic.sweep(measured, seeds=[0, 1], out=tmp_path / "one", console=QUIET)
    for seed in (0, 1):
        own, other = (
            json.loads((tmp_path / name / f"results/base-{seed}.json").read_text()) for name in ("two", "one")
        )
        assert own["suites"] == other["suites"]


@pytest.mark.parametrize("where", ["wait", "_Running"], ids=["both have started", "the first one has started"])
def test_a_signal_while_the_processes_import_is_not_lost(
    measured: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """It arrives seconds before their training could hear it."""
    original = getattr(sweep_jobs, where)
    monkeypatch.setattr(sweep_jobs, where, lambda *given: os.kill(os.getpid(), signal.SIGINT) or original(*given))
    trainings = make_plan(read_asked({"recipe": measured, "seeds": [0, 1]})).trainings(SweepFolder(tmp_path))
    with pytest.raises(PreemptedError), stop_signals() as stops, stops.at_once():
        list(sweep_jobs.run_each(trainings, 2, to_its_end))
    assert not (tmp_path / "results").exists()
    assert not multiprocessing.active_children()


@pytest.mark.long
@pytest.mark.parametrize("delay", [0, 0.3, 1, 2, 4, 8])
def test_a_signal_at_any_time_ends_all_of_them(
    measured: dict[str, Any], tmp_path: Path, launch: Launcher, delay: float
) -> None:
    """Seconds after the trainings have begun."""
    measured["train"] |= {"steps": 1_000_000}
    (tmp_path / "toy.yaml").write_text(yaml.safe_dump(measured))
    words = ["-m", "unic", "sweep", "toy.yaml", "--seeds", "0,1", "--jobs", "2", "--out", "all"]
    process = launch(*words, env=dict(os.environ), cwd=tmp_path)
    while not (tmp_path / "all/base").is_dir():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    time.sleep(delay)
    process.send_signal(signal.SIGINT)
    assert process.wait(120) == 75
    assert "the same command goes on" in process.communicate()[0]


@pytest.mark.long
def test_a_signal_ends_all_of_them_and_each_saves(measured: dict[str, Any], tmp_path: Path, launch: Launcher) -> None:
    measured["train"] |= {"steps": 100_000}
    measured["checkpoint"] = {"every": 100_000}
    (tmp_path / "toy.yaml").write_text(yaml.safe_dump(measured))
    words = ["-m", "unic", "sweep", "toy.yaml", "--seeds", "0,1", "--jobs", "2", "--out", "all"]
    process = launch(*words, env=dict(os.environ), cwd=tmp_path)
    runs = [tmp_path / f"all/base/seed-{seed}" for seed in (0, 1)]
    while not all((run / "metrics.jsonl").is_file() and read_metrics(run) for run in runs):
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    assert process.wait(120) == 75
    assert "the same command goes on" in process.communicate()[0]
    assert all(int((run / "checkpoints/last").read_text().removeprefix("step-")) > 0 for run in runs)


@pytest.mark.parametrize(("name", "seeds"), [("general", [0, 1, 2]), ("findings", [0]), ("alternatives", [0])])
def test_the_sweeps_of_the_benchmarks_can_be_read(name: str, seeds: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parents[1])
    plan = make_plan(read_asked(f"benchmarks/variants/{name}.yaml"))
    assert plan.asked.seeds == seeds
    assert not plan.base.overrides
