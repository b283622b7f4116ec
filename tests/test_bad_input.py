"""Eighty ways to be wrong: each gets one line that names the thing and the expectation; exit 2, no file."""

from __future__ import annotations

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

# What is changed in a good recipe, as an override, and what the line must hold.
OVERRIDES = [
    ("train.learning_rate=1", "unknown key 'train.learning_rate'"),
    ("trian.lr=1", "unknown key 'trian'; did you mean 'train'?"),
    ("train.lr=fast", "'train.lr': Input should be a valid number, unable to parse string as a number (got 'fast')"),
    ("train.lr=-1", "'train.lr': Input should be greater than 0 (got -1)"),
    ("train.batch_size=0", "'train.batch_size': Input should be greater than 0"),
    ("train.batch_size=2.5", "'train.batch_size': Input should be a valid integer"),
    ("train.precision=fp8", "'train.precision': Input should be 'auto', 'bf16' or 'fp32' (got 'fp8')"),
    ("train.betas=[0.9]", "train.betas"),
    ("train.epochs=null", "'train.epochs': Input should be a valid number"),
    ("train.micro_batches=3", "train.batch_size=2 is fewer images than 1 processes × 3 micro-batches"),
    ("student.drop_path=1", "'student.drop_path': Input should be less than 1 (got 1)"),
    ("student.modle=x", "unknown key 'student.modle'; did you mean 'model'?"),
    ("teachers.models={}", "'teachers.models': Dictionary should have at least 1 item"),
    ("teachers.models={a b: 'timm:x'}", "teacher name 'a b' must be letters, digits, '_' or '-'"),
    ("teachers.cache.tokens=some", "teachers.cache.tokens"),
    ("teachers.cache.budget=lots", "teachers.cache.budget"),
    ("data.train=[]", "'data.train': List should have at least 1 item"),
    ("data.train=/nowhere/at/all", "data '/nowhere/at/all': no such file or folder"),
    ("data.train=empty", "data 'empty': no images in this folder"),
    ("data.train=notes.txt", "data 'notes.txt'"),
    ("data.train=images/*.parquet", "no file matches images/*.parquet"),
    ("data.train=[{path: images, weight: 0}]", "'data.train.0.weight': Input should be greater than 0"),
    ("data.train=[{path: images, wieght: 1}]", "unknown key 'data.train.0.wieght'; did you mean 'weight'?"),
    ("data.augment=unix", "unknown augmentation 'unix'; did you mean 'unic'?"),
    ("data.size=big", "'data.size': Input should be a valid integer"),
    ("data.max_damaged=2", "'data.max_damaged': Input should be less than or equal to 1"),
    ("loss={cosin: 1}", "unknown loss 'cosin'; did you mean 'cosine'?"),
    ("loss={my_lab.huber: 1}", "loss 'my_lab.huber': cannot import it"),
    ("projector={type: lader}", "unknown projector 'lader'; did you mean 'ladder'?"),
    ("projector={type: ladder, hiden_dim: 3}", "unknown option 'hiden_dim'; did you mean 'hidden_dim'?"),
    ("projector.blocks=[99]", "99"),
    ("standardize={type: emma}", "emma"),
    ("weighting={type: dropping}", "dropping"),
    ("eval.suite=quik", "unknown suite 'quik'; did you mean 'quick'?"),
    ("trackers=[[]]", "'trackers': Input should be a valid dictionary"),
    ("trackers=wanb", "unknown tracker 'wanb'; did you mean 'wandb'?"),
    ("seed=-1", "'seed': Input should be greater than or equal to 0"),
    ("checkpoint.keep=0", "'checkpoint.keep': Input should be greater than 0"),
    ("checkpoint.best=knn_unseen/mean", "'checkpoint.best': a set that chooses a checkpoint is not unseen any more"),
    ("lr", "override 'lr': expected key=value, for example train.lr=1e-4"),
    ("teachers.models.b=tim:vit", "unknown scheme 'tim'; did you mean 'timm'?"),
    ("teachers.models.b=vit_base", "encoder 'vit_base': expected SCHEME:NAME"),
    ("teachers.models.b=timm:vit_bse_patch16_224", "timm has no model 'vit_bse_patch16_224'; did you mean"),
    ("teachers.models.b=timm:test_vit?pretraned=false", "unknown option 'pretraned'; did you mean 'pretrained'?"),
    ("teachers.models.b=timm:test_vit?pretrained=no", "option 'pretrained' must be true or false, not 'no'"),
    ("teachers.models.b=timm:test_vit?pretrained=false&img_size=33", "size 33 is not a multiple of the patch size 16"),
    ("teachers.models.b=timm:test_vit?img_size=axb", "option 'img_size' must be SIZE or HEIGHTxWIDTH, not 'axb'"),
    ("teachers.models.b=timm:test_vit?checkpoint=none.pth", "no such file: none.pth"),
    ("teachers.models.b=timm:test_vit?checkpoint=notes.txt", "cannot read notes.txt safely as weights"),
    ("teachers.models.b=onnx:none.onnx", "none.onnx"),
    ("teachers.models.b=run:images", "neither a run nor an export: images has no config.json"),
    ("teachers.models.b=packaged:lite0", "unknown packaged model 'lite0'"),
    ("student.model=packaged:ppocr_v4_rec", "ppocr_v4_rec"),
    ("student.model=pixels:8", "so they cannot be a student"),
]  # fmt: skip

RECIPES = [
    ("teachers: [", "not valid YAML"),
    ("", "expected a mapping with at least teachers, student and data"),
    ("- a\n- b\n", "expected a mapping"),
    ("base: gone\nseed: 1\n", "recipe 'gone': no such file, and no shipped recipe has this name"),
    ("base: bad.yaml\n", "it inherits from itself"),
    ("student: {model: x}\ndata: {train: y}\n", "'teachers' is missing"),
    (GOOD.replace("drop_path: 0.0", "drop_path: '${nothing}'"), "nothing"),
    ("teachers: !!python/object/apply:os.system ['touch hacked']\n", "not valid YAML"),
]

COMMANDS = [
    (["distil"], "No such command 'distil'"),
    (["distill"], "expected a recipe, or --teachers, --student and --data"),
    (["distill", "--teachers", "timm:test_vit"], "--student: expected at least one"),
    (["distill", "good.yaml", "--teachers", "timm:test_vit"], "either the recipe 'good.yaml' or --teachers"),
    (["distill", "good.yaml", "--out", "notes.txt"], "--out notes.txt: it is a file; expected a folder"),
    (["distill", "good.yaml", "--out", "images"], "--out images: the folder is not empty"),
    (["distill", "good.yaml", "--resume"], "--resume: name the run folder to continue with --out"),
    (["distill", "good.yaml", "--steps", "3"], "No such option"),
    (["check", "god.yaml"], "recipe 'god.yaml': no such file"),
    (["init", "--teachers", "timm:a", "--student", "timm:b"], "--data: expected at least one"),
    (["eval"], "Missing argument"),
    (["eval", "nothing"], "encoder 'nothing': expected SCHEME:NAME"),
    (["eval", "pixels:8", "--tasks", "knm"], "unknown task 'knm'; did you mean 'knn'?"),
    (["eval", "pixels:8", "--suite", "notes.txt"], "suite notes.txt"),
    (["eval", "pixels:8", "--data", "birds"], "--data 'birds': expected NAME=PATH"),
    (["eval", "pixels:8", "--data", "a=images", "--data", "a=b"], "--data 'a=b': the name 'a' is given twice"),
    (["eval", "pixels:8", "--data", "a=images"], "'images?test=0.2&seed=0' draws a test part at random"),
    (["eval", "pixels:8", "--teacher", "b"], "model 'b' is not among those given"),
    (["eval", "pixels:8", "--out", "table.xls"], "unknown format '.xls'"),
    (["eval", "pixels:8", "--seeds", "one"], "--seeds 'one': expected whole numbers"),
    (["export", "images"], "run images: not a run folder"),
    (["export", "images", "--format", "onx"], "--format 'onx'; did you mean 'onnx'?"),
    (["report", "images"], "report images: not a run folder"),
    (["encode", "pixels:8", "--data", "images", "--out", "x.npz"], "expected a file that ends in .safetensors"),
    (["list", "teachers"], "unknown kind 'teachers'"),
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
    assert line in output.err
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
