"""Ninety wrong inputs: each gets one line that names the thing and what was expected, exit code 2, and no file."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from unic import cli

GOOD = """\
teachers: {models: {a: "timm:test_vit?pretrained=false&img_size=32"}}
student: {model: "timm:test_vit?pretrained=false&img_size=32", drop_path: 0.0}
data: {train: images, size: 32, workers: 0}
train: {steps: 1, batch_size: 2}
"""

# What is changed in a good recipe, as an override, and a pattern of the line: the thing and what decides.
OVERRIDES = [
    ("train.learning_rate=1", "'train.learning_rate'"),
    ("trian.lr=1", "'trian'.*'train'"),
    ("train.lr=fast", "'train.lr'.*number.*'fast'"),
    ("train.lr=-1", "'train.lr'.*greater than 0.*-1"),
    ("train.batch_size=0", "'train.batch_size'.*greater than 0"),
    ("train.batch_size=2.5", "'train.batch_size'.*integer"),
    ("train.precision=fp8", "'train.precision'.*'auto', 'bf16' or 'fp32'.*'fp8'"),
    ("train.betas=[0.9]", "train.betas"),
    ("train.epochs=null", "'train.epochs'.*number"),
    ("train.micro_batches=3", r"train\.batch_size=2\b.* 1 .* 3 "),
    ("student.drop_path=1", "'student.drop_path'.*less than 1"),
    ("student.modle=x", "'student.modle'.*'model'"),
    ("teachers.models={}", "'teachers.models'.*at least 1"),
    ("teachers.models={a b: 'timm:x'}", "teacher.*'a b'"),
    ("teachers.cache.tokens=some", "teachers.cache.tokens"),
    ("teachers.cache.budget=lots", "teachers.cache.budget"),
    ("data.train=[]", "'data.train'.*at least 1"),
    ("data.train=/nowhere/at/all", "data '/nowhere/at/all'"),
    ("data.train=empty", "data 'empty'.*no images"),
    ("data.train=notes.txt", "data 'notes.txt'"),
    ("data.train=images/*.parquet", r"images/\*\.parquet"),
    ("data.train=[{path: images, weight: 0}]", "'data.train.0.weight'.*greater than 0"),
    ("data.train=[{path: images, wieght: 1}]", "'data.train.0.wieght'.*'weight'"),
    ("data.augment=unix", "augment.*'unix'.*'unic'"),
    ("data.size=big", "'data.size'.*integer"),
    ("data.max_damaged=2", "'data.max_damaged'.*equal to 1"),
    ("loss={cosin: 1}", "loss.*'cosin'.*'cosine'"),
    ("loss={my_lab.huber: 1}", "loss.*'my_lab.huber'.*import"),
    ("projector={type: lader}", "projector.*'lader'.*'ladder'"),
    ("projector={type: ladder, hiden_dim: 3}", "'hiden_dim'.*'hidden_dim'"),
    ("projector.blocks=[99]", "99"),
    ("standardize={type: emma}", "emma"),
    ("weighting={type: dropping}", "dropping"),
    ("weighting=unifrm", "weighting 'unifrm'.*'uniform'"),
    ("standardize=phi", "standardizer 'phi'.*'phi_s'"),
    ("projector=lader", "projector 'lader'.*'ladder'"),
    ("weighting=3", "'weighting': expected a name, or a mapping with 'type' and options .*3"),
    ("weighting.p=null", "weighting 'teacher_dropping': option 'p': .*number or 'auto'.*None"),
    ("weighting.p=true", "weighting 'teacher_dropping': option 'p': .*number or 'auto'.*True"),
    ("standardize.momentum=0.5", "standardizer 'ema': option 'momentum': .*0.5"),
    ("projector.hidden_dim=-5", "'projector.hidden_dim'.*at least 1.*-5"),
    ("loss={cosine: -1}", "'loss.cosine'.*greater than or equal to 0.*-1"),
    ("loss={mse: {weight: -1}}", "'loss.mse.weight'.*greater than or equal to 0.*-1"),
    ("eval.suite=quik", "suite.*'quik'.*'quick'"),
    ("trackers=[[]]", "'trackers'.*dictionary"),
    ("trackers=wanb", "tracker.*'wanb'.*'wandb'"),
    ("seed=-1", "'seed'.*equal to 0"),
    ("checkpoint.keep=0", "'checkpoint.keep'.*greater than 0"),
    ("checkpoint.best=knn_unseen/mean", "'checkpoint.best'.*unseen"),
    ("lr", "'lr'.*key=value"),
    ("teachers.models.b=tim:vit", "scheme.*'tim'.*'timm'"),
    ("teachers.models.b=vit_base", "'vit_base'.*SCHEME:NAME"),
    ("teachers.models.b=timm:vit_bse_patch16_224", "timm.*'vit_bse_patch16_224'.*'vit_base_patch16_224'"),
    ("teachers.models.b=timm:test_vit?pretraned=false", "'pretraned'.*'pretrained'"),
    ("teachers.models.b=timm:test_vit?pretrained=no", "'pretrained'.*true or false.*'no'"),
    ("teachers.models.b=timm:test_vit?pretrained=false&img_size=33", " 33 .*patch.* 16"),
    ("teachers.models.b=timm:test_vit?img_size=axb", "'img_size'.*HEIGHTxWIDTH.*'axb'"),
    ("teachers.models.b=timm:test_vit?checkpoint=none.pth", "no such file.*none.pth"),
    ("teachers.models.b=timm:test_vit?checkpoint=notes.txt", "notes.txt.*weights"),
    ("teachers.models.b=onnx:none.onnx", "none.onnx"),
    ("teachers.models.b=run:images", "images.*config.json"),
    ("teachers.models.b=packaged:lite0", "packaged.*'lite0'"),
    ("student.model=packaged:ppocr_v4_rec", "ppocr_v4_rec"),
    ("student.model=pixels:8", "pixels:8.*student"),
]  # fmt: skip

RECIPES = [
    ("teachers: [", "bad.yaml.*YAML"),
    ("", "teachers, student and data"),
    ("- a\n- b\n", "expected a mapping"),
    ("base: gone\nseed: 1\n", "'gone'.*no such file"),
    ("base: bad.yaml\n", "bad.yaml.*itself"),
    ("student: {model: x}\ndata: {train: y}\n", "'teachers'.*missing"),
    (GOOD.replace("drop_path: 0.0", "drop_path: '${nothing}'"), "nothing"),
    ("teachers: !!python/object/apply:os.system ['touch hacked']\n", "bad.yaml.*YAML"),
]

COMMANDS = [
    (["distil"], "No such command 'distil'"),
    (["distill"], "recipe.*--teachers, --student and --data"),
    (["distill", "--teachers", "timm:test_vit"], "--student"),
    (["distill", "good.yaml", "--teachers", "timm:test_vit"], "'good.yaml'.*--teachers"),
    (["distill", "good.yaml", "--out", "notes.txt"], "--out notes.txt.*folder"),
    (["distill", "good.yaml", "--out", "images"], "--out images.*not empty"),
    (["distill", "good.yaml", "--resume"], "--resume.*--out"),
    (["distill", "good.yaml", "--steps", "3"], "No such option"),
    (["check", "god.yaml"], "'god.yaml'.*no such file"),
    (["init", "--teachers", "timm:a", "--student", "timm:b"], "--data"),
    (["eval"], "Missing argument"),
    (["eval", "nothing"], "'nothing'.*SCHEME:NAME"),
    (["eval", "pixels:8", "--tasks", "knm"], "task.*'knm'.*'knn'"),
    (["eval", "pixels:8", "--suite", "notes.txt"], "suite notes.txt"),
    (["eval", "pixels:8", "--data", "birds"], "--data 'birds'.*NAME=PATH"),
    (["eval", "pixels:8", "--data", "a=images", "--data", "a=b"], "--data 'a=b'.*'a'.*twice"),
    (["eval", "pixels:8", "--data", "a=images"], r"'images\?test=0\.2&seed=0'"),
    (["eval", "pixels:8", "--teacher", "b"], "model.*'b'"),
    (["eval", "pixels:8", "--out", "table.xls"], "format.*'.xls'"),
    (["eval", "pixels:8", "--seeds", "one"], "--seeds 'one'.*whole numbers"),
    (["export", "images"], "run images.*run folder"),
    (["export", "images", "--format", "onx"], "--format.*'onx'.*'onnx'"),
    (["report", "images"], "report images.*run folder"),
    (["encode", "pixels:8", "--data", "images", "--out", "x.npz"], "x.npz.*.safetensors"),
    (["list", "teachers"], "kind.*'teachers'"),
]


@pytest.fixture
def place(tmp_path: Path, image_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "images").symlink_to(image_folder)
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("hello\n")
    (tmp_path / "good.yaml").write_text(GOOD)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def check(place: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], line: str) -> None:
    before = sorted(place.iterdir())
    sys.argv = ["unic", *arguments]
    with pytest.raises(SystemExit) as stop:
        cli.main()
    output = capsys.readouterr()
    assert (stop.value.code, output.out) == (2, "")
    assert re.search(line, output.err), output.err
    assert output.err.count("\n") == 1, output.err
    assert sorted(place.iterdir()) == before


@pytest.mark.parametrize(("override", "line"), OVERRIDES)
def test_a_wrong_value(place: Path, capsys: pytest.CaptureFixture[str], override: str, line: str) -> None:
    check(place, capsys, ["distill", "good.yaml", override, "--out", "run"], line)


@pytest.mark.parametrize(("text", "line"), RECIPES)
def test_a_wrong_recipe(place: Path, capsys: pytest.CaptureFixture[str], text: str, line: str) -> None:
    (place / "bad.yaml").write_text(text)
    check(place, capsys, ["distill", "bad.yaml", "--out", "run"], line)


@pytest.mark.parametrize(("arguments", "line"), COMMANDS)
def test_a_wrong_command(place: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], line: str) -> None:
    check(place, capsys, arguments, line)
