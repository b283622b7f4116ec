"""Teachers with options: what each is matched by, how much it counts and what it sees, live and cached alike."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from unic.data.augment import preset
from unic.data.loader import training_batches
from unic.encoders.base import resize
from unic.errors import InputError
from unic.recipe.schema import load_recipe
from unic.recipe.teachers import TeacherSection, TeachersSection
from unic.runs import checkpoint
from unic.runs.metrics import read_metrics
from unic.tokens import Tokens, resize_patches
from unic.training.build import build
from unic.training.job import Job
from unic.training.step import batch_loss
from unic.training.teacher_cache import open_cache
from unic.training.train import fit
from unic.typed import code_in_overrides
from unic.weightings import Pairs, build_weighting

CPU = torch.device("cpu")
VIT, CNN = "timm:test_vit?pretrained=false&img_size=32", "timm:test_efficientnet?pretrained=false&img_size=64"
MIXED = {
    "both": VIT,
    "captions": {"uri": CNN, "tokens": "cls"},
    "depth": {"uri": CNN, "tokens": "patches", "views": "plain", "weight": 3},
}


def job_of(recipe: dict[str, Any], models: dict[str, Any], *overrides: str) -> Job:
    recipe["teachers"] = {"models": models}
    return build(load_recipe(recipe, overrides), CPU)


def same(first: Tokens, second: Tokens) -> None:
    torch.testing.assert_close((first.cls, first.patches), (second.cls, second.patches), atol=1e-5, rtol=1e-4)
    assert first.grid == second.grid


def test_a_uri_is_a_teacher_without_options_and_stays_a_uri(recipe: dict[str, Any]) -> None:
    models = recipe["teachers"]["models"]
    short = load_recipe(recipe)
    recipe["teachers"]["models"] = {name: {"uri": uri, "weight": 1, "tokens": "both"} for name, uri in models.items()}
    whole = load_recipe(recipe)
    assert whole == short
    assert whole.model_dump(mode="json")["teachers"]["models"] == models
    assert f"vit: {VIT}" in short.to_yaml()


def test_options_are_written_out_and_read_again(recipe: dict[str, Any]) -> None:
    found = load_recipe(recipe, ["teachers.models.vit.tokens=cls", "teachers.models.cnn.weight=2"])
    expected = {"vit": TeacherSection(uri=VIT, tokens="cls"), "cnn": TeacherSection(uri=CNN, weight=2)}
    assert found.teachers.models == expected
    tree = found.model_dump(mode="json")
    assert tree["teachers"]["models"]["vit"] == {
        "uri": VIT, "weight": 1.0, "tokens": "cls", "views": "augmented", "loss": None,
    }  # fmt: skip
    assert load_recipe(tree) == load_recipe(found) == found


def test_a_stage_changes_an_option(recipe: dict[str, Any]) -> None:
    recipe["stages"] = [{"teachers.models.vit.weight": 2}, {"teachers": {"models": {"cnn": {"views": "plain"}}}}]
    first, last = load_recipe(recipe).plans()
    assert [first.teachers.models[name].weight for name in ("vit", "cnn")] == [2, 1]
    assert [last.teachers.models[name].views for name in ("vit", "cnn")] == ["augmented", "plain"]
    assert first.teachers.uris == last.teachers.uris


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("teachers.models.vit.token=cls", r"unknown key 'teachers.models.vit.token'; did you mean 'tokens'"),
        ("teachers.models.vti.tokens=cls", r"'teachers.models': teacher 'vti' has no 'uri'; did you mean 'vit'\?"),
        ("teachers.models.vit.tokens=patch", r"'teachers.models.vit.tokens': .*'patches' \(got 'patch'\)"),
        ("teachers.models.vit.weight=0", r"'teachers.models.vit.weight': .*greater than 0"),
        ("teachers.models.vit.views=2", r"'teachers.models.vit.views': .*'augmented' or 'plain'"),
        ("teachers.models.start={uri: 'timm:test_vit'}", r"'teachers.models.start': every table has a column 'start'"),
    ],
)
def test_a_wrong_option_is_one_line(recipe: dict[str, Any], override: str, line: str) -> None:
    with pytest.raises(InputError, match=f"^recipe: {line}"):
        load_recipe(recipe, [override])


@pytest.mark.parametrize("name", ["keys", "of", "update", "float", "type", "train", "training", "forward"])
def test_a_name_of_pytorch_is_refused(recipe: dict[str, Any], name: str) -> None:
    line = f"recipe: 'teachers.models.{name}': PyTorch uses the name '{name}' itself; .* example '{name}_teacher'$"
    with pytest.raises(InputError, match=line):
        build(load_recipe(recipe, [f"teachers.models.{name}={VIT}"]), CPU)
    with pytest.raises(InputError, match=line):
        fit(
            load_recipe(recipe, ["trackers={}", f"stages=[{{}}, {{teachers.models.{name}: '{VIT}'}}]"]), Path("none"),
            console=Console(quiet=True),
        )  # fmt: skip


def test_a_cache_of_cls_leaves_nothing_of_patches(recipe: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"'teachers.cache': tokens=cls leaves nothing of teacher 'vit'"):
        load_recipe(recipe, ["teachers.models.vit.tokens=patches", "teachers.cache={tokens: cls}"])


def test_only_what_a_teacher_is_matched_by_is_projected_and_standardised(recipe: dict[str, Any]) -> None:
    job = job_of(recipe, MIXED)
    parts = {name.rsplit(".rungs")[0] for name, _ in job.distiller.projectors.named_parameters()}
    assert parts == {"both.cls", "both.patch", "captions.cls", "depth.patch"}
    loss = batch_loss(job, job.live_teachers(), job.first_batch(8), 1)
    widths = {name: (tokens.cls.shape[1], tokens.patches.shape[2]) for name, tokens in loss.targets.items()}
    assert widths == {"both": (64, 64), "captions": (256, 0), "depth": (0, 256)}
    assert torch.isnan(loss.terms.cosines).tolist() == [[False, False], [False, True], [True, False]]


def test_the_half_that_is_left_counts_whole(recipe: dict[str, Any]) -> None:
    """ℓ of a teacher that is matched by one half is that half of the same teacher, and not halved."""
    uris = dict.fromkeys(("both", "cls", "patches"), VIT)
    models = {name: {"uri": uri, "tokens": name} for name, uri in uris.items()}
    job = job_of(recipe, models, "standardize={type: none}", "projector={type: identity}")
    job.distiller.eval()
    both, cls, patches = batch_loss(job, job.live_teachers(), job.first_batch(8), 1).terms.losses
    torch.testing.assert_close(both, (cls + patches) / 2)


def test_a_share_of_the_patches_is_no_matter_to_cls(recipe: dict[str, Any]) -> None:
    job = job_of(recipe, MIXED, "train.patch_share=0.5")
    job.distiller.train()
    assert batch_loss(job, job.live_teachers(), job.first_batch(8), 1).terms.losses.isfinite().all()


def test_plain_views_have_the_crop_and_flip_of_the_student_and_its_colours_not(recipe: dict[str, Any]) -> None:
    job = job_of(recipe, MIXED)
    batch = job.first_batch(8)
    found = job.live_teachers()(job.views(batch), batch.index, batch.view, batch.images)
    plain = preset("unic").plain()(batch.images, job.recipe.seed, batch.view, batch.index)
    flipped = torch.stack([torch.minimum((p - c).abs().amax(), (p - c.flip(-1)).abs().amax())
                           for p, c in zip(plain, batch.images / 255, strict=True)])  # fmt: skip
    assert flipped.max() == 0
    assert not torch.equal(plain, job.views(batch))
    encoder = job.encoders["depth"]
    tokens = encoder(resize(plain, encoder.input_size), encoder.input_size)
    torch.testing.assert_close(found["depth"].patches, resize_patches(tokens.patches, tokens.grid, job.grid))


def test_cached_equal_live(recipe: dict[str, Any], tmp_path: Path) -> None:
    cache = f"teachers.cache={{views: 2, dtype: fp32, dir: '{tmp_path}'}}"
    job = job_of(recipe, MIXED, cache)
    live, cached = job.live_teachers(), open_cache(job, 0, 1, [].append, lambda line: None)
    batches = training_batches(
        job.images, size=32, augment="unic", seed=3, batch_size=20, first_step=2, num_steps=3, num_views=2
    )
    for batch in batches:  # the last of the first epoch, and the first of the second, which sees the second views
        views = job.views(batch)
        found, expected = (each(views, batch.index, batch.view, batch.images) for each in (cached, live))
        for name in MIXED:
            same(found[name], expected[name])
    layouts = sorted(entry.name.partition("-")[2] for entry in tmp_path.iterdir() if "-" in entry.name)
    assert layouts == ["2x2-fp32"] * 4 + ["pooled"] * 2
    stored = sum(file.stat().st_size for file in tmp_path.rglob("*.npy"))
    assert job.cache_bytes() == pytest.approx(stored, rel=0.05)


def test_options_do_not_change_what_is_cached(recipe: dict[str, Any], tmp_path: Path) -> None:
    """A teacher that is matched by patches alone, or counts twice, finds the entries of one without options."""
    cache = f"teachers.cache={{views: 1, dir: '{tmp_path}'}}"
    open_cache(job_of(recipe, {"t": VIT}, cache), 0, 1, [].append, lambda line: None)
    before = sorted(tmp_path.iterdir())
    lines: list[str] = []
    again = job_of(recipe, {"t": {"uri": VIT, "tokens": "patches", "weight": 2}}, cache)
    open_cache(again, 0, 1, lines.append, lambda line: None)
    assert "1 shards, 1 of them built" in lines[0]
    assert sorted(tmp_path.iterdir()) == before


def test_a_teacher_has_losses_of_its_own(recipe: dict[str, Any]) -> None:
    """The others keep those of the recipe, and the own ones take their place whole."""
    models = {"usual": VIT, "own": {"uri": VIT, "loss": {"mse": 2, "smooth_l1": {"weight": 0.25}}}}
    job = job_of(recipe, models, "loss={cosine: 1}", "standardize={type: none}", "projector={type: identity}")
    found = {name: {loss: weight for loss, (weight, _) in own.items()} for name, own in job.distiller.losses.items()}
    assert found == {"usual": {"cosine": 1}, "own": {"mse": 2, "smooth_l1": 0.25}}
    job.distiller.eval()
    batch = job.first_batch(4)
    losses = batch_loss(job, job.live_teachers(), batch, 1)
    with torch.no_grad():
        tokens = job.student.intermediates(job.views(batch), [job.distiller.blocks[-1]])[0]
    target = losses.targets["own"]
    for image in range(4):
        total = 0.0
        for z, y in ((tokens.cls[image], target.cls[image]), (tokens.patches[image], target.patches[image])):
            d = (z - y).double().flatten()
            smooth = torch.where(d.abs() < 1, d * d / 2, d.abs() - 0.5)
            total += 0.5 * float(2 * d.square().mean() + 0.25 * smooth.mean())
        assert float(losses.terms.losses[1, image].detach()) == pytest.approx(total, rel=1e-4)


@pytest.mark.parametrize(
    ("setting", "line"),
    [
        ("{cosin: 1}", "unknown loss 'cosin'; did you mean 'cosine'"),
        ("{mse: 0}", "recipe: 'teachers.models.vit.loss' needs at least one entry with a weight"),
        ("{}", "recipe: 'teachers.models.vit.loss': .*at least 1 item"),
        ("{mse: {slope: 1}}", r"recipe: teachers.models.vit.loss 'mse': unknown option 'slope'"),
    ],
)
def test_a_wrong_loss_of_a_teacher_is_one_line(recipe: dict[str, Any], setting: str, line: str) -> None:
    with pytest.raises(InputError, match=f"^{line}"):
        build(load_recipe(recipe, [f"teachers.models.vit.loss={setting}"]), CPU)


@pytest.mark.parametrize(
    "typed", ["loss={lab.huber: 1}", "loss={lab.huber: {weight: 2, delta: 3}}", "loss.lab.huber=1", "loss=lab.huber"]
)
def test_code_of_a_loss_is_typed(typed: str) -> None:
    for override in (typed, f"teachers.models.vit.{typed}", f"stages=[{{{typed.replace('=', ': ')}}}]"):
        assert "lab.huber" in code_in_overrides([override])


def test_code_of_a_teacher_is_typed() -> None:
    assert code_in_overrides(["teachers.models.vit.uri=py:lab:net"]) == ["py:lab:net"]
    assert code_in_overrides(["teachers.models.vit.tokens=cls"]) == []


WEIGHTS = [1.0, 0.5, 3.0]


def pairs() -> Pairs:
    generator = torch.Generator().manual_seed(0)
    return Pairs(
        torch.rand(3, 16, generator=generator) + 0.1, 5, torch.arange(16),
        cls=torch.randn(16, 4, generator=generator), gradients=torch.rand(3, generator=generator) + 0.5,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("teacher_dropping", {}), ("teacher_dropping", {"normalise": "image"}), ("uniform", {}), ("random_teacher", {}),
        ("gradnorm", {}), ("adaloss", {}), ("adaptive", {}), ("uncertainty", {}),
    ],
)  # fmt: skip
def test_a_weight_against_a_float64_loop(name: str, options: dict[str, Any]) -> None:
    """The loss is Σ w·c·ℓ / Σ w·c, with c as it would be without weights, also after an update."""
    plain, weighted = (build_weighting(name, 3, 0, options) for _ in range(2))
    weighted.weigh(WEIGHTS)
    given = pairs()
    squares = torch.tensor(WEIGHTS).square()
    measured = Pairs(given.losses, given.step, given.index, cls=given.cls, gradients=given.gradients * squares)
    for weighting in (plain, weighted):
        weighting.prepare(4)
    for _ in range(3):
        c, same_c = plain.coefficients(given), weighted.coefficients(measured)
        torch.testing.assert_close(same_c, c)
        numerator, denominator = weighted.weighted_sums(given.losses, same_c)
        total = count = 0.0
        rows = [[WEIGHTS[t] * float(c[t, i]) for t in range(3)] for i in range(16)]
        for i, row in enumerate(rows):
            scale = sum(row) if options else 1.0
            total += sum(row[t] * float(given.losses[t, i]) for t in range(3)) / scale
            kept = [WEIGHTS[t] if name == "uncertainty" else row[t] for t in range(3)]
            count += sum(kept) / scale
        assert float(numerator) / float(denominator) == pytest.approx(total / count, rel=1e-5)
        plain.end_step(plain.observe_unweighted(given, c))
        weighted.end_step(weighted.observe_unweighted(measured, same_c))
    assert plain.state_dict().keys() == weighted.state_dict().keys()


def test_a_weight_of_two_is_the_same_teacher_twice() -> None:
    losses = pairs().losses
    weighted, twice = build_weighting("uniform", 3, 0, {}), build_weighting("uniform", 4, 0, {})
    weighted.weigh([1, 1, 2])
    one = weighted.weighted_sums(losses, torch.ones(3, 16))
    other = twice.weighted_sums(torch.cat([losses, losses[2:]]), torch.ones(4, 16))
    torch.testing.assert_close(one, other)


def test_a_run_with_options_is_logged_and_resumed(recipe: dict[str, Any], tmp_path: Path) -> None:
    recipe |= {"teachers": {"models": MIXED}, "trackers": {}}
    settings = load_recipe(recipe, ["checkpoint.every=2", "checkpoint.keep=2", "train.steps=4"])
    fit(settings, tmp_path / "whole", console=Console(quiet=True))
    shutil.copytree(tmp_path / "whole", tmp_path / "parts")
    shutil.rmtree(tmp_path / "parts" / "checkpoints" / "step-4")
    (tmp_path / "parts" / "checkpoints" / "last").write_text("step-2")
    fit(settings, tmp_path / "parts", console=Console(quiet=True), resume=True)
    states = [checkpoint.load_newest(tmp_path / out) for out in ("whole", "parts")]
    assert states[0] is not None
    assert states[1] is not None
    for name, tensor in states[0].checkpoint.tensors.items():
        assert torch.equal(tensor, states[1].checkpoint.tensors[name]), name
    last = read_metrics(tmp_path / "whole")[-1]
    assert {key for key in last if key.startswith("cos/")} == {
        "cos/both/cls", "cos/both/patch", "cos/captions/cls", "cos/depth/patch",
    }  # fmt: skip
    with pytest.raises(InputError, match=r"'teachers.models.both.weight' was 1.0 at the start of the run and is 2"):
        fit(
            load_recipe(settings, ["teachers.models.both.weight=2"]),
            tmp_path / "whole", console=Console(quiet=True), resume=True,
        )  # fmt: skip


def test_what_trains_neither_cls_nor_patches_is_said(recipe: dict[str, Any]) -> None:
    from unic.training.advice import advice

    job = job_of(recipe, {"t": {"uri": VIT, "tokens": "patches"}})
    (text,) = [text for about, text in advice(job) if about == "loss"]
    assert "the student's CLS is not trained" in text
    with pytest.raises(InputError, match="needs CLS, which no loss compares"):
        job_of(recipe, {"t": {"uri": VIT, "tokens": "patches"}}, "train.interpolate=auto")


@pytest.mark.parametrize(
    ("loss", "untrained", "other"),
    [
        ("{shift_equivariant: 1}", "CLS", "patches"),
        ("{shift_equivariant: 1, cosine: 0}", "CLS", "patches"),
        ("{relational: 1}", "patches", "cls"),
        ("{balanced_summary: 1}", "patches", "cls"),
    ],
)
def test_what_the_losses_leave_out_is_said(recipe: dict[str, Any], loss: str, untrained: str, other: str) -> None:
    from unic.training.advice import advice

    found = dict(advice(build(load_recipe(recipe, [f"loss={loss}"]), CPU)))
    assert f"no loss compares {untrained} with any teacher's, so the student's {untrained} " in found["loss"]
    line = f"no loss compares {untrained} with those of vit, cnn, .* set teachers.models.vit.tokens={other} and so on"
    assert re.fullmatch(line, found["teachers.models"])
    for of_one in ("vit", "cnn"):
        short = [f"teachers.models.{of_one}.loss={loss}"]
        found = dict(advice(build(load_recipe(recipe, short), CPU)))
        assert "loss" not in found
        line = f"no loss compares {untrained} with those of {of_one}, .* set teachers.models.{of_one}.tokens={other}"
        assert re.fullmatch(line, found["teachers.models"])
    assert not {"loss", "teachers.models"}.intersection(dict(advice(build(load_recipe(recipe), CPU))))


def test_interpolate_auto_needs_a_loss_that_compares_cls(recipe: dict[str, Any]) -> None:
    settings = load_recipe(recipe, ["train.interpolate=auto", "loss={shift_equivariant: 1}"])
    with pytest.raises(InputError, match="needs CLS, which no loss compares"):
        build(settings, CPU)


def test_processes_do_not_wait_for_gradients_of_an_untrained_cls(recipe: dict[str, Any]) -> None:
    models = {"t": {"uri": VIT, "tokens": "patches"}}
    recipe |= {"teachers": {"models": models}, "student": {"model": "timm:mobilenetv3_small_050?pretrained=false"}}
    build(load_recipe(recipe), CPU)
    with pytest.raises(InputError, match=r"nothing trains the student's model.conv_head.weight"):
        build(load_recipe(recipe), CPU, 2)
    recipe["student"] = {"model": VIT}
    build(load_recipe(recipe), CPU, 2)


def test_the_schema_knows_both_forms() -> None:
    from unic.schema import as_json

    sections = json.loads(as_json())["$defs"]
    forms = sections[TeachersSection.__name__]["properties"]["models"]["additionalProperties"]["anyOf"]
    assert forms == [{"type": "string"}, {"$ref": f"#/$defs/{TeacherSection.__name__}"}]
    assert set(sections[TeacherSection.__name__]["properties"]) == set(TeacherSection.model_fields)
    assert TeachersSection.model_validate({"models": {"a": VIT}}).uris == {"a": VIT}
