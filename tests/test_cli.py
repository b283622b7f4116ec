"""The command line: quick help, one line and exit code 2 for wrong input, and the whole path at toy size."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file

from unic import __version__, cli
from unic.cli.words import uris_in
from unic.data.sources import open_source


def unic(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    """Exit code, stdout, stderr of a command, in this process."""
    code = 0
    sys.argv = ["unic", *map(str, arguments)]
    try:
        cli.main()
    except SystemExit as stop:
        code = int(stop.code or 0)
    output = capsys.readouterr()
    return code, output.out, output.err


@pytest.fixture
def written(recipe: dict[str, Any], tmp_path: Path) -> Path:
    path = tmp_path / "toy.yaml"
    path.write_text(yaml.safe_dump(recipe))
    return path


def test_help_imports_nothing_heavy() -> None:
    code = "import sys; from unic import cli; sys.argv = ['unic', '--help']\ntry: cli.main()\nexcept SystemExit: pass\n"
    code += "assert not {'torch', 'timm', 'numpy', 'datasets', 'pydantic'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "distill" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["distil"], "No such command 'distil'"),
        (["distill"], "recipe.*--teachers, --student and --data"),
        (["distill", "quickstrat"], "'quickstrat'.*'quickstart'"),
        (["distill", "quickstart", "train.epoch=3"], "'train.epoch'.*'epochs'"),
        (["distill", "quickstart", "eval.suite=quik"], "suite.*'quik'.*'quick'"),
        (["distill", "quickstart", "--resume"], "--resume.*--out"),
        (["distill", "quickstart", "--random-weights"], "--random-weights.*--dry-run"),
        (["eval", "tim:resnet18"], "scheme.*'tim'.*'timm'"),
        (["eval", "timm:resnet19?pretrained=false"], "timm.*'resnet19'"),
        (["eval", "pixels:8", "--tasks", "knm"], "task.*'knm'.*'knn'"),
        (["eval", "pixels:8", "--tasks", "knn(kk=5)"], "'kk'.*'k'"),
        (["eval", "pixels:8", "--tasks", "knn(k=five)"], "'k'.*integer"),
        (["eval", "pixels:8", "--data", "birds"], "--data 'birds'.*NAME=PATH"),
        (["eval", "pixels:8", "--data", "birds=/nowhere"], "/nowhere"),
        (["eval", "pixels:8", "--data", "x=/a", "--data", "x=/b"], "--data.*'x'.*twice"),
        (["eval", "pixels:8", "--student", "x"], "model.*'x'"),
        (["eval", "pixels:8", "--seeds", "1;2"], "--seeds '1;2'.*whole numbers"),
        (["eval", "pixels:8", "--out", "x.txt"], "format.*'.txt'"),
        (["eval", "pixels:8", "--suite", "finegrained"], "--skip-missing"),
        (["eval", "pixels:8", "--jobs", "0"], "'--jobs'"),
        (["export", "runs/nosuch"], "run runs/nosuch: no such folder"),
        (["report", "runs/nosuch"], "report runs/nosuch: no such folder"),
        (["report", "runs/nosuch", "runs/none"], "report runs/nosuch: no such folder"),
        (["eval", "runs/nosuch"], "encoder 'runs/nosuch': no such folder"),
        (["eval", "run:runs/nosuch"], "encoder 'run:runs/nosuch': no such folder"),
        (["encode", "runs/nosuch", "--data", "x", "--out", "x.safetensors"], "'runs/nosuch': no such folder"),
        (["distill", "runs/nosuch/recipe.yaml"], "no such file.*folder runs/nosuch"),
        (["check", "runs/nosuch"], "recipe 'runs/nosuch'.*folder runs"),
        (["eval", "pixels:8", "--suite", "nosuch.yaml"], "suite 'nosuch.yaml': no such file"),
        (["distill", "quickstart", "--student", "timm:a", "--student", "timm:b"], "--student.*2 times"),
        (["export", "x", "--to", "a", "--to", "b"], "--to.*2 times"),
        (["export", "x", "--format", "timm", "--format", "onx"], "--format.*'onx'.*'onnx'"),
        (["eval", "pixels:8", "--tasks", "knn", "--tasks", "knm,logistic"], "task.*'knm'"),
        (["eval", "pixels:8", "--seeds", "0", "--seeds", "one"], "--seeds '0,one'.*whole numbers"),
        (["distill", "quickstart", "lr=1e-4"], "'lr'.*'train.lr'"),
        (["list", "teachers"], "kind.*'teachers'"),
        (["encode", "pixels:8", "--data", "/nowhere", "--out", "x.safetensors"], "/nowhere"),
        (["encode", "pixels:8", "--data", "/nowhere", "--out", "x.npz"], "x.npz.*.safetensors"),
        (["encode", "pixels:x", "--data", "/nowhere", "--out", "x.safetensors"], "pixels"),
    ],
)
def test_wrong_input_is_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], line: str
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = unic(capsys, *arguments)
    assert (code, out) == (2, "")
    assert re.search(line, err), err
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_alone_it_prints_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = unic(capsys)
    assert (code, err) == (0, "")
    assert out.startswith("Usage:")
    assert "distill" in out


def test_version_needs_no_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert unic(capsys, "--version") == (0, f"{__version__}\n", "")


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("encoders", "packaged:ppocr_v4_rec"),
        ("losses", "smooth_l1"),
        ("projectors", "ladder"),
        ("tasks", "logistic"),
        ("data", "clipart"),
        ("suites", "samples"),
        ("suites", "unic-l"),
        ("recipes", "unic-vitl14"),
    ],
)
def test_lists(capsys: pytest.CaptureFixture[str], what: str, expected: str) -> None:
    code, out, _ = unic(capsys, "list", what)
    assert code == 0
    assert expected in out
    assert unic(capsys, "list", what, expected)[1].count(expected) >= 1
    assert unic(capsys, "list", what, "no such thing")[1] == ""


def test_the_whole_path(
    capsys: pytest.CaptureFixture[str],
    written: Path,
    image_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """distill (train, export, evaluate, report) → eval → export → encode, as a user types it."""
    monkeypatch.chdir(tmp_path)
    pair = f"{image_folder}?test=0.25&seed=0"
    suite = tmp_path / "suite.yaml"
    suite.write_text(yaml.safe_dump({"data": [f"blobs={pair}"], "tasks": {"knn": {"k": 3}}, "seeds": [0], "size": 32}))

    code, out, err = unic(capsys, "distill", written, f"eval.suite={suite}", "--out", "run")
    assert code == 0, err
    results = json.loads(Path("run/results.json").read_text())
    assert {name: model["role"] for name, model in results["models"].items()} == {
        "student": "student", "vit": "teacher", "cnn": "teacher", "pixels": "pixels", "concat": "concat",
    }  # fmt: skip
    assert set(results["gain_over_best_teacher"]) == {"blobs/knn"}
    assert "blobs" in out
    assert 'timm.create_model("local-dir:run/export", pretrained=True)' in out
    page = Path("run/report.html").read_text()
    assert "blobs" in page

    code, out, err = unic(capsys, "eval", "run", "raw=pixels:4", "--data", f"blobs={pair}", "--tasks", "knn")
    assert code == 0, err
    assert "raw" in out
    tasks = "knn(k=3),knn(k=1)"
    outs = ["--out", "two.json", "--out", "two.md"]
    code, out, err = unic(
        capsys, "eval", "pixels:6", "raw=pixels:4", "--data", f"blobs={pair}", "--tasks", tasks, *outs
    )
    assert code == 0, err
    measured = json.loads(Path("two.json").read_text())
    assert list(measured["models"]) == ["6", "raw"]
    assert list(measured["tasks"]) == ["blobs/knn(k=3)", "blobs/knn(k=1)"]
    assert measured["protocol"]["tasks"]["knn(k=1)"] == {"task": "knn", "k": 1}
    assert measured["differences"]["to"] == "6"
    assert "difference: to 6" in out
    assert Path("two.md").read_text().count("| difference to 6 |") == 2
    code, out, err = unic(capsys, "eval", "run=pixels:2", "run", "--data", f"blobs={pair}")
    assert (code, "'run'" in err) == (2, True)

    code, out, err = unic(capsys, "export", "run", "--to", "shipped")
    assert code == 0, err
    assert unic(capsys, "export", "run", "--to", "shipped")[0] == 0  # the same model: nothing to add
    Path("mine").mkdir()
    Path("mine/notes.txt").touch()
    assert unic(capsys, "export", "run", "--to", "mine")[0] == 2
    model = timm.create_model("local-dir:shipped", pretrained=True).eval()

    options = ["--data", image_folder, "--out", "features.safetensors", "--patches", "--precision", "fp32"]
    code, out, err = unic(capsys, "encode", "run", *options)
    assert code == 0, err
    features = load_file("features.safetensors")
    assert set(features) == {"cls", "patch_mean", "patches", "index", "labels"}
    assert features["cls"].shape == (40, model.num_features)
    image = torch.from_numpy(
        np.array(open_source(str(image_folder)).read(0).resize((32, 32), Image.Resampling.BICUBIC))
    )
    config = timm.data.resolve_model_data_config(model)
    mean, std = (torch.tensor(config[key]).view(3, 1, 1) for key in ("mean", "std"))
    with torch.no_grad():
        plain = model(((image.permute(2, 0, 1) / 255 - mean) / std)[None])
    torch.testing.assert_close(plain[0], features["cls"][0], atol=1e-5, rtol=1e-4)


def test_dry_run_writes_nothing(
    capsys: pytest.CaptureFixture[str], written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, _ = unic(capsys, "distill", written, "--dry-run")
    assert code == 0
    assert "teacher cnn" in out
    assert "nothing was written" in out
    assert [path.name for path in tmp_path.iterdir()] == ["toy.yaml"]


def test_a_failure_after_training_does_not_look_like_one_of_the_training(
    capsys: pytest.CaptureFixture[str], written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: object, **options: object) -> None:
        raise OSError("disk [/] full")

    monkeypatch.setattr("unic.api.exporting.export_timm", broken)
    code, _, err = unic(capsys, "distill", written, "--out", tmp_path / "run")
    assert code == 1
    last = err.splitlines()[-1]
    assert last.startswith(f"unic: {tmp_path / 'run'}")
    assert [part in last for part in ("saved", "export", "OSError: disk [/] full", "model card")] == [True] * 4
    assert "Traceback" not in err
    log = (tmp_path / "run/train.log").read_text().splitlines()
    assert any("ERROR export" in line and line.endswith("OSError: disk [/] full") for line in log)
    assert (tmp_path / "run/report.html").is_file()
    assert (tmp_path / "run/checkpoints/last").exists()


def test_folders_with_a_colon_or_an_equals_sign_are_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from unic.eval.named import by_name

    monkeypatch.chdir(tmp_path)
    for name in ("2024-05-01T12:30:00", "lr=1e-4,bs=64"):
        (tmp_path / name).mkdir()
        assert by_name([name]) == {name: name}
    assert by_name(["a=pixels:8", "timm:x?a=b"]) == {"a": "pixels:8", "x": "timm:x?a=b"}


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (["timm:a,mine=onnx:m.onnx?mean=0.485,0.456,0.406&std=1,1,1, hf:org/b"],
         ["timm:a", "mine=onnx:m.onnx?mean=0.485,0.456,0.406&std=1,1,1", "hf:org/b"]),
        (["timm:a", "b=open_clip:ViT-B-32/x"], ["timm:a", "b=open_clip:ViT-B-32/x"]),
        (["timm:a,"], ["timm:a"]),
        (None, []),
    ],
)  # fmt: skip
def test_teachers_are_separated_by_commas_that_are_in_no_uri(given: list[str] | None, found: list[str]) -> None:
    assert uris_in(given) == found


def test_repeated_teachers_are_all_kept(image_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    monkeypatch.setattr(
        "unic.suited.suited", lambda tree, *_: (found.append(tree["teachers"]["models"]), (tree, []))[1]
    )
    monkeypatch.setattr("unic.compose.write_recipe", lambda *_: None)
    monkeypatch.setattr("unic.api.dry_run", lambda *_, **__: [])
    flags = ["--teachers", "timm:test_vit,b=pixels:8", "--teachers", "c=onnx:m.onnx?mean=0.5,0.5,0.5&std=1,1,1"]
    flags += ["--student", "timm:test_vit", "--data", str(image_folder), "--data", "more,of,it"]
    for command in (["init", "--out", "new.yaml"], ["distill", "--dry-run"]):
        sys.argv = ["unic", *command, *flags]
        cli.main()
    expected = {"test_vit": "timm:test_vit", "b": "pixels:8", "c": "onnx:m.onnx?mean=0.5,0.5,0.5&std=1,1,1"}
    assert found == [expected, expected]


@pytest.mark.parametrize(
    "arguments",
    [
        ["eval", f"timm:{'zq' * 40_000}"],
        ["eval", "zq" * 40_000],
        ["distill", "quickstart", f"{'zq' * 40_000}=1"],
        ["distill", "quickstart", f"train.lr={'zq' * 40_000}"],
        ["distill", "quickstart", f"seed: {'[' * 40_000}"],
        ["distill", "zq" * 2_000],
        ["report", "zq" * 2_000],
        [f"--{'zq' * 40_000}"],
        ["zq" * 40_000],
    ],
)
def test_no_error_fills_the_screen(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    """Without a limit the line would have 66,339 characters: all names of timm."""
    code, out, err = unic(capsys, *arguments)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert len(err) <= len("unic: \n") + 600


def test_a_run_that_is_stopped_says_how_to_go_on(
    capsys: pytest.CaptureFixture[str], written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from unic import api
    from unic.errors import InputError, PreemptedError, Remedy, StoppedError, UnfinishedError

    def ends(error: Exception) -> str:
        def end(*_: object, **__: object) -> None:
            raise error

        monkeypatch.setattr(api, "distill", end)
        return unic(capsys, "distill", "toy.yaml", "train.lr=1", "--out", "my run")[2].strip()

    monkeypatch.chdir(written.parent)
    command = "unic distill toy.yaml train.lr=1 --out 'my run' --resume"
    stopped, go_on = "stopped by a signal; checkpoint saved at step 3", Remedy("continue", "--resume")
    line = f"unic: {stopped}; continue with --resume: {command}"
    assert ends(PreemptedError(stopped, remedy=go_on)) == line
    full = StoppedError("the disk is full", remedy=Remedy("free some space and continue", "--resume"))
    assert ends(full) == f"unic: the disk is full; free some space and continue with --resume: {command}"
    gone = InputError("the network is gone; checkpoint saved at step 4", remedy=go_on)
    assert ends(gone) == f"unic: the network is gone; checkpoint saved at step 4; continue with --resume: {command}"
    assert ends(StoppedError("out of memory")) == "unic: out of memory"
    assert ends(UnfinishedError("its export failed")).splitlines()[-1].endswith(f": {command}")


def test_the_numbers_of_a_run_go_into_its_folder(
    capsys: pytest.CaptureFixture[str],
    written: Path,
    image_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = unic(capsys, "distill", written, "train.steps=2", "--out", "run")
    assert code == 0, err
    assert "next: unic eval run --data NAME=PATH" in out
    assert "unic eval run" in Path("run/report.html").read_text()
    data = ["--data", f"blobs={image_folder}?test=0.25", "--tasks", "knn", "--seeds", "0"]
    assert unic(capsys, "eval", "run", "raw=pixels:4", *data)[0] == 0  # a table of several models is none of a run
    assert not Path("run/results.json").exists()
    code, out, err = unic(capsys, "eval", "run", *data)
    assert (code, "next: unic report run" in err) == (0, True)
    assert set(json.loads(Path("run/results.json").read_text())["tasks"]) == {"blobs/knn"}
    assert unic(capsys, "report", "run")[0] == 0
    page = Path("run/report.html").read_text()
    assert "blobs" in page
    assert "no predictions.safetensors" not in page

    before = Path("run/results.json").read_bytes()
    code, out, err = unic(capsys, "eval", "run", *data[:2], "--tasks", "retrieval")
    assert "--out run/results.json" in err
    assert Path("run/results.json").read_bytes() == before

    recipe = yaml.safe_load(Path("run/recipe.yaml").read_text())
    recipe["eval"]["suite"] = {"data": [data[1]], "tasks": {"knn": {"k": 3}}, "seeds": [0]}
    Path("run/recipe.yaml").write_text(yaml.safe_dump(recipe))
    assert unic(capsys, "eval", "run")[0] == 0  # its own suite, and it replaces what was there
    assert json.loads(Path("run/results.json").read_text())["protocol"]["tasks"]["knn"]["k"] == 3
