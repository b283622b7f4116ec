"""A stranger's recipe, base, stage, suite or run runs no code: one line, exit code 2. What is typed or trusted does."""

from __future__ import annotations

import ast
import hashlib
import json
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import save_file

import unic
from unic import cli
from unic.errors import InputError, UntrustedError
from unic.heads import kept_head
from unic.recipe.schema import load_recipe
from unic.training import diagnosis
from unic.training.cache_build import ShardWork, build_shards
from unic.trust import trusted, trusting
from unic.trust import typed as typed_code
from unic.typed import code_in_overrides

VIT = "timm:test_vit?pretrained=false&img_size=32"
TEACHER = "py:stranger.part:teacher"
PART = """
from pathlib import Path
Path(__file__).with_name("executed").touch()

import torch
from unic.encoders import build_encoder
from unic.encoders.schemes.pixels import Pixels
from unic.losses.mse import loss
from unic.projectors.ladder import Projector
from unic.data.sources import open_source
from unic.eval.datasets.base import DataPair
from unic.eval.tasks.knn import run

def teacher(): return Pixels(8)
def student(drop_path=0.0): return build_encoder("timm:test_vit?pretrained=false&img_size=32", drop_path=drop_path)
def net(): return torch.nn.Conv2d(3, 4, 8, 8)
def load(root, *, download=False, images, level):
    return DataPair("made", *(open_source(f"{images}?test=0.5", split=split) for split in ("train", "test")))
"""
Unic = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a stranger's package lies, `stranger.part`, and a repository of torch.hub, `hub/`."""
    root = tmp_path_factory.mktemp("lab")
    for name in ("stranger/part.py", "hub/hubconf.py"):
        (root / name).parent.mkdir()
        (root / name).write_text(PART)
    (root / "model.pt").write_bytes(b"")
    return root


@pytest.fixture
def lab(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working folder of a user who has unpacked it; nothing of it is imported yet."""
    monkeypatch.syspath_prepend(str(folder))
    _forget(folder)
    yield folder
    _forget(folder)


def _forget(folder: Path) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] in ("stranger", "hubconf")]:
        del sys.modules[name]
    for marker in folder.glob("*/executed"):
        marker.unlink()


def executed(folder: Path) -> bool:
    return any(folder.glob("*/executed"))


@pytest.fixture
def run_unic(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Unic:
    """The command line in this process: exit code, and what it wrote to stderr."""

    def run(*arguments: str | Path) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["unic", *map(str, arguments)])
        capsys.readouterr()
        try:
            cli.main()
        except SystemExit as stop:
            return int(stop.code or 0), capsys.readouterr().err
        return 0, capsys.readouterr().err

    return run


def tree(images: Path, **changes: Any) -> dict[str, Any]:
    recipe = {
        "teachers": {"models": {"a": VIT}},
        "student": {"model": VIT, "drop_path": 0.0},
        "projector": {"type": "ladder", "hidden_dim": 8, "last_hidden_dim": 8},
        "data": {"train": str(images), "size": 32, "workers": 0},
        "train": {"steps": 1, "batch_size": 4, "precision": "fp32", "warmup_epochs": 0},
        "trackers": {},
    }
    for key, value in changes.items():
        section, _, entry = key.partition("__")
        recipe[section] = {**recipe.get(section, {}), entry: value} if entry else value  # type: ignore[dict-item]
    return recipe


def write(path: Path, content: dict[str, Any]) -> Path:
    path.write_text(yaml.safe_dump(content))
    return path


def refuses(result: tuple[int, str], name: str, folder: Path) -> None:
    code, error = result
    assert (code, error.count("\n")) == (2, 1), error
    expected = "if you trust it, add --trust-code"
    assert f"{expected} {name}\n" in error
    assert not executed(folder)


PARTS: dict[str, tuple[dict[str, Any], str]] = {
    "teacher": ({"teachers__models": {"a": f"{TEACHER}"}}, TEACHER),
    "teacher with options": ({"teachers__models": {"a": "py:os:system?command=touch {}/hub/executed"}}, "py:os:system"),
    "student": ({"student__model": "py:stranger.part:student"}, "py:stranger.part:student"),
    "torch.hub": ({"teachers__models": {"a": "hub:{}/hub:net?trust_remote_code=true&size=32"}}, "hub:{}/hub:net"),
    "TorchScript": (
        {"teachers__models": {"a": "torchscript:{}/model.pt?trust_remote_code=true"}}, "torchscript:{}/model.pt"
    ),
    "transformers": ({"teachers__models": {"a": "hf:lab/model?trust_remote_code=true"}}, "hf:lab/model"),
    "loss": ({"loss": {"stranger.part": 1.0}}, "stranger.part"),
    "projector": ({"projector": {"type": "stranger.part", "hidden_dim": 8}}, "stranger.part"),
    "stage": ({"stages": [{"teachers.models": {"a": TEACHER}}]}, TEACHER),
}  # fmt: skip
OWN = ["a={images}?test=0.5"]
SUITES: dict[str, tuple[dict[str, Any], str]] = {
    "task": ({"data": OWN, "tasks": {"knn": {"task": "stranger.part"}}}, "stranger.part"),
    "named task": ({"data": OWN, "tasks": {"stranger.part": {}}}, "stranger.part"),
    "set": ({"data": ["stranger.part?level=3&images={images}"], "tasks": {"knn": {}}}, "stranger.part"),
    "text tower": ({"data": OWN, "tasks": {"zero_shot": {"text": "stranger.part"}}}, "stranger.part"),
    "probe": (
        {"data": OWN, "tasks": {"robustness": {"probe": "stranger.part", "corruptions": ["contrast"]}}}, "stranger.part"
    ),
}  # fmt: skip
WORKS = ("teacher", "student", "torch.hub", "loss", "projector", "stage")  # the others are no working models


def located(value: Any, lab: Path) -> Any:
    return json.loads(json.dumps(value).replace("{}", str(lab)))


@pytest.mark.parametrize("part", PARTS)
def test_a_recipe(part: str, lab: Path, image_folder: Path, tmp_path: Path, run_unic: Unic) -> None:
    changes, name = located(PARTS[part], lab)
    recipe = write(tmp_path / "recipe.yaml", tree(image_folder, **changes))
    refuses(run_unic("distill", recipe, "--dry-run"), name, lab)
    refuses(run_unic("distill", recipe, "--dry-run", "--trust-code", f"{name}s"), name, lab)
    if part in WORKS:
        assert run_unic("distill", recipe, "--dry-run", "--trust-code", name) == (0, "")
        assert executed(lab)


@pytest.mark.parametrize("part", SUITES)
def test_a_suite(part: str, lab: Path, image_folder: Path, tmp_path: Path, run_unic: Unic) -> None:
    content, name = SUITES[part]
    suite = write(tmp_path / "suite.yaml", _with_images(content, image_folder))
    recipe = write(tmp_path / "recipe.yaml", tree(image_folder, eval={"suite": str(suite)}))
    refuses(run_unic("distill", recipe, "--dry-run"), name, lab)
    refuses(run_unic("eval", "pixels:2", "--suite", suite), name, lab)
    refuses(run_unic("eval", "pixels:2", "--suite", suite, "--skip-missing"), name, lab)
    assert run_unic("distill", recipe, "--dry-run", "--trust-code", name) == (0, "")


def _with_images(suite: dict[str, Any], images: Path) -> dict[str, Any]:
    changed: dict[str, Any] = json.loads(json.dumps(suite).replace("{images}", str(images)))
    return changed


def test_a_base(lab: Path, image_folder: Path, tmp_path: Path, run_unic: Unic) -> None:
    write(tmp_path / "base.yaml", tree(image_folder, loss={"stranger.part": 1.0}))
    recipe = write(tmp_path / "recipe.yaml", {"base": "base.yaml", "seed": 1})
    refuses(run_unic("distill", recipe, "--out", tmp_path / "run"), "stranger.part", lab)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("part", ["teacher", "loss"])
def test_check_finds_it(
    part: str, lab: Path, image_folder: Path, tmp_path: Path, run_unic: Unic, capsys: pytest.CaptureFixture[str]
) -> None:
    changes, name = PARTS[part]
    recipe = write(tmp_path / "recipe.yaml", tree(image_folder, **changes))
    report = unic.check(recipe)
    assert [finding.text for finding in report.findings if f"add trust_code=[{name!r}]" in finding.text]
    assert not report.is_ready
    assert not executed(lab)
    assert run_unic("check", recipe)[0] == 2
    assert not executed(lab)
    if part == "loss":
        assert run_unic("check", recipe, "--trust-code", name)[0] == 0


def test_check_finds_a_suite(lab: Path, image_folder: Path, tmp_path: Path) -> None:
    suite = write(tmp_path / "suite.yaml", SUITES["task"][0])
    report = unic.check(tree(image_folder, eval={"suite": str(suite)}))
    found = [finding.text for finding in report.findings if finding.about == "eval.suite"]
    assert len(found) == 1
    assert "add trust_code=['stranger.part']" in found[0]
    assert not executed(lab)


TYPED = [
    ["teachers.models={b: 'py:stranger.part:teacher'}"], ["teachers={models: {b: 'py:stranger.part:teacher'}}"],
    ["teachers.models.b=py:stranger.part:teacher"], ["loss={stranger.part: 1}"],
    ["loss={cosine: 1, stranger.part: {weight: 1}}"], ["projector.type=stranger.part"],
    ["projector=stranger.part"], ["loss=stranger.part"], ["teachers.models.a.loss=stranger.part"],
    ["student.model=py:stranger.part:student"], ["stages=[{teachers.models: {b: 'py:stranger.part:teacher'}}]"],
]  # fmt: skip


@pytest.mark.parametrize("overrides", TYPED, ids=lambda overrides: overrides[0])
def test_an_override_is_typed(
    overrides: list[str], lab: Path, image_folder: Path, tmp_path: Path, run_unic: Unic
) -> None:
    recipe = write(tmp_path / "recipe.yaml", tree(image_folder))
    assert run_unic("distill", recipe, *overrides, "--dry-run") == (0, "")
    assert executed(lab)


def test_flags_are_typed_and_the_recipe_written_from_them_is_a_file(
    lab: Path, image_folder: Path, tmp_path: Path, run_unic: Unic
) -> None:
    flags = ["--teachers", f"mine={TEACHER}", "--student", "py:stranger.part:student", "--data", image_folder]
    assert run_unic("distill", *flags, "student.drop_path=0", "train.batch_size=4", "--dry-run") == (0, "")
    assert executed(lab)
    recipe = tmp_path / "recipe.yaml"
    assert run_unic("init", *flags, "--out", recipe)[0] == 0
    _forget(lab)
    refuses(run_unic("distill", recipe, "train.batch_size=4", "--dry-run"), TEACHER, lab)


def test_a_sweep_runs_the_code_that_was_typed_and_not_that_of_its_file(
    lab: Path, image_folder: Path, tmp_path: Path, run_unic: Unic
) -> None:
    suite = {"data": [f"blobs={image_folder}?test=0.5"], "tasks": {"knn": {"k": 3}}}
    recipe = tree(image_folder, eval={"suite": suite})
    change = 'loss={"stranger.part": 1}'
    sweep = write(tmp_path / "sweep.yaml", {"recipe": recipe, "variants": {"theirs": [change]}})
    refuses(run_unic("sweep", sweep, "--dry-run"), "stranger.part", lab)
    assert run_unic("sweep", sweep, "--dry-run", "--trust-code", "stranger.part") == (0, "")
    _forget(lab)
    plain = write(tmp_path / "recipe.yaml", recipe)
    for loss in ('{"stranger.part": 1}', '{"stranger.part": {"weight": 1}}', "stranger.part"):
        assert run_unic("sweep", plain, "--vary", f"loss=[{loss}]", "--dry-run") == (0, "")
        assert executed(lab)
        _forget(lab)


@pytest.mark.parametrize(
    "override",
    ["student.model=${teachers.models.a}", "eval.suite=stranger.part", "data.train=stranger.part", "train.lr=1"],
)
def test_what_an_override_leads_to_is_not_typed(override: str) -> None:
    assert not {"stranger.part", TEACHER} & set(code_in_overrides([override]))


@pytest.mark.parametrize(
    "override",
    [
        "data.train=generated:stranger.part?images=9",
        "data.train=[a/,'generated:stranger.part']",
        "data.train=[{path: 'generated:stranger.part?size=64', weight: 0.5}]",
    ],
)
def test_a_family_of_images_that_an_override_names_is_typed(override: str) -> None:
    assert code_in_overrides([override]) == ["stranger.part"]


def test_python(lab: Path, image_folder: Path, tmp_path: Path) -> None:
    recipe = tree(image_folder, teachers__models={"a": TEACHER})
    for given in (recipe, load_recipe(recipe)):
        with pytest.raises(UntrustedError, match=r"add trust_code=\['py:stranger.part:teacher'\]"):
            unic.distill(given, out=tmp_path / "run")
    assert not executed(lab)
    assert unic.load_encoder(TEACHER).input_size == (8, 8)
    assert trusted() == []
    unic.distill(tree(image_folder), out=tmp_path / "a", teachers__models={"a": TEACHER}, eval__suite=None)
    unic.distill(recipe, out=tmp_path / "b", trust_code=["stranger.part"])  # its module, in place of the URI
    assert "loss" in (tmp_path / "b/metrics.jsonl").read_text()


@pytest.fixture(scope="module")
def finished(folder: Path, tmp_path_factory: pytest.TempPathFactory, image_folder: Path) -> Path:
    """The run of a stranger: teacher, loss and projector of his own, one step."""
    recipe = tree(
        image_folder, teachers__models={"own": TEACHER, "vit": VIT}, loss={"stranger.part": 1.0},
        projector={"type": "stranger.part", "hidden_dim": 8, "last_hidden_dim": 8},
    )  # fmt: skip
    run = tmp_path_factory.mktemp("runs") / "run"
    sys.path.insert(0, str(folder))
    try:
        unic.distill(recipe, out=run, trust_code=["stranger.part"])
    finally:
        sys.path.remove(str(folder))
    return run


@pytest.fixture
def run(finished: Path, tmp_path: Path, lab: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


def test_a_run_is_resumed_only_with_trust(run: Path, lab: Path, run_unic: Unic) -> None:
    before = (run / "metrics.jsonl").read_bytes()
    resume = ["distill", run / "recipe.yaml", "--out", run, "--resume"]
    refuses(run_unic(*resume), "stranger.part", lab)
    refuses(run_unic(*resume, "--trust-code", TEACHER), "stranger.part", lab)
    assert (run / "metrics.jsonl").read_bytes() == before
    assert run_unic(*resume, "--trust-code", "stranger.part")[0] == 0
    assert executed(lab)


def test_report_and_export_of_a_run_load_nothing_of_it(run: Path, lab: Path, run_unic: Unic) -> None:
    assert run_unic("export", run, "--no-check")[0] == 0
    results = {
        "models": {"student": {"role": "student"}},
        "tasks": {"a/knn": {}},
        "protocol": {"data": ["stranger.part"]},
    }
    (run / "results.json").write_text(json.dumps(results))
    assert run_unic("report", run)[0] == 0
    assert not executed(lab)
    page = (run / "report.html").read_text()
    assert re.search("own: .*not trusted", page)
    assert "dataset &#39;stranger.part&#39; needs code that is not trusted, which a report does not run" in page
    refuses(run_unic("export", run, "--no-check", "--format", "torch_export", "--heads", "own"), "stranger.part", lab)
    with trusting("stranger.part"):
        assert kept_head(run, "own").embed_dim == 192


def test_export_of_a_run_of_a_version_without_records(run: Path, lab: Path, run_unic: Unic) -> None:
    def forget(state: dict[str, Any]) -> None:
        del state["models"]

    _rewrite(run, forget)
    assert run_unic("export", run, "--no-check")[0] == 0
    assert not executed(lab)
    assert json.loads((run / "export/config.json").read_text())["unic"]["teachers"]["own"]["licence"] is None


def _rewrite(run: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Changes the plain values of the newest checkpoint, and its checksum."""
    folder = run / "checkpoints" / (run / "checkpoints/last").read_text()
    document = json.loads((folder / "state.json").read_text())
    change(document["state"])
    (folder / "state.json").write_text(json.dumps(document))
    names = ("state.json", "tensors.safetensors")
    sums = [f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in names]
    (folder / "SHA256SUMS").write_text("".join(sums))


@pytest.fixture
def coloured_suite(image_folder: Path, tmp_path: Path) -> Path:
    data = f"own={image_folder}?test=0.5&seed=0"
    tasks = {"knn": {"k": 1}, "influence": {"heads": True}}
    return write(tmp_path / "suite.yaml", {"data": [data], "tasks": tasks, "size": 32, "seeds": [0]})


def test_a_run_brings_its_teachers_and_heads_only_with_trust(
    run: Path, lab: Path, coloured_suite: Path, run_unic: Unic, tmp_path: Path
) -> None:
    measure = ["eval", run, "--suite", coloured_suite]
    refuses(run_unic(*measure), "stranger.part", lab)  # the loss, for the shares of influence
    refuses(run_unic(*measure, "--tasks", "knn"), TEACHER, lab)
    assert run_unic(*measure, "--tasks", "knn", "--no-teachers")[0] == 0
    assert not executed(lab)
    suite = yaml.safe_load(coloured_suite.read_text())
    write(coloured_suite, {**suite, "tasks": {"likeness": {"task": "influence", "heads": True}}})
    code, error = run_unic(*measure, "--trust-code", TEACHER)
    assert (code, error.count("\n")) == (2, 1), error
    assert "projector 'stranger.part' is code" in error  # of the kept heads, before anything is measured
    write(coloured_suite, {**suite, "tasks": {"knn": {"k": 1}}})
    out = tmp_path / "results.json"
    assert run_unic(*measure, "--out", out, "--trust-code", TEACHER)[0] == 0
    assert set(json.loads(out.read_text())["tasks"]["own/knn"]) >= {"student", "own", "vit"}
    assert "trust_code" not in out.read_text() + (run / "recipe.yaml").read_text()


def test_what_eval_is_told_is_typed(lab: Path, coloured_suite: Path, run_unic: Unic) -> None:
    measure = ["eval", TEACHER, "--suite", coloured_suite, "--tasks", "stranger.part"]
    assert run_unic(*measure)[0] == 0
    assert executed(lab)


def test_the_name_of_a_run_folder_is_no_module(
    lab: Path, run: Path, tmp_path: Path, run_unic: Unic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run.rename("stranger.part")
    suite = write(tmp_path / "suite.yaml", SUITES["task"][0])
    refuses(run_unic("eval", "stranger.part", "--no-teachers", "--suite", suite), "stranger.part", lab)


def test_a_process_that_builds_the_cache_trusts_what_its_parent_does(lab: Path, image_folder: Path) -> None:
    recipe = load_recipe(tree(image_folder, teachers={"models": {"a": TEACHER}, "cache": {"tokens": "cls"}}))
    work = ShardWork(recipe.model_dump(mode="json"), {"a": (8, 8)}, {"a": "other"}, "cpu", 0, 1, trusted=[])
    with trusting():  # what `build_shards` inherits ends here, where a process would
        with pytest.raises(UntrustedError):
            build_shards(work)
        assert not executed(lab)
        with pytest.raises(InputError, match="teacher weights.*teachers.cache.processes=1"):
            build_shards(work._replace(trusted=["stranger.part"]))
    assert trusted() == []


def test_a_saved_step_is_a_file_too(
    lab: Path, image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    case = tmp_path / "step-1.json"
    case.write_text(json.dumps({"step": 1, "recipe": tree(image_folder, loss={"stranger.part": 1.0})}))
    save_file({"batch.0.images": torch.zeros(1)}, case.with_suffix(".safetensors"))
    monkeypatch.setattr(sys, "argv", ["diagnosis", str(case)])
    with pytest.raises(SystemExit) as stop:
        diagnosis.main()
    refuses((int(stop.value.code or 0), capsys.readouterr().err), "stranger.part", lab)
    with pytest.raises(RuntimeError, match="state_dict"):  # it was built; this case has no weights
        diagnosis.replay(case, trust_code=["stranger.part"])
    assert executed(lab)


FOREIGN = {
    "checkpoint_path": "evil.pth", "pretrained": True, "pretrained_cfg": {"url": "http://localhost/evil.pth"},
    "pretrained_cfg_overlay": {"file": "evil.pth"}, "cache_dir": "/tmp", "scriptable": True, "features_only": True,
    "drop_path_rate": 0.5, "num_classes": 10, "depth": {"a": 1}, "embed_dim": [[1]],
}  # fmt: skip


@pytest.mark.parametrize("key", FOREIGN)
def test_an_export_gives_timm_no_other_arguments(key: str, run: Path, lab: Path, run_unic: Unic) -> None:
    class Payload:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (lab / "hub/executed",)

    torch.save({"w": Payload()}, run / "evil.pth")
    path = run / "export/config.json"
    config = json.loads(path.read_text())
    value = FOREIGN[key]
    config["model_args"][key] = str(run / "evil.pth") if value == "evil.pth" else value
    path.write_text(json.dumps(config))
    code, error = run_unic("eval", f"run:{run}", "--no-teachers", "--data", f"a={run}", "--tasks", "knn")
    with pytest.raises(InputError, match=f"model_args: '{key}' (is refused|must be a number)") as caught:
        unic.load_encoder(f"run:{run}")
    assert "\n" not in str(caught.value)
    assert (code, error.count("\n")) == (2, 1), error
    assert not executed(lab)


@pytest.mark.parametrize(
    ("key", "value"), [("depth", -1), ("patch_size", 0), ("img_size", [0, 0]), ("embed_dim", "wide"), ("num_heads", 7)]
)
def test_an_export_that_no_network_fits_is_one_line(key: str, value: Any, run: Path) -> None:
    path = run / "export/config.json"
    config = json.loads(path.read_text())
    config["model_args"][key] = value
    path.write_text(json.dumps(config))
    with pytest.raises(InputError) as caught:
        unic.load_encoder(f"run:{run}")
    assert "\n" not in str(caught.value)


SOURCES = sorted((Path(unic.__file__).parent).rglob("*.py"))
DOORS = {
    "api/distilling.py",
    "api/evaluating.py",
    "api/exporting.py",
    "api/images.py",
    "api/sweeping.py",
    "compose.py",
    "encoders/__init__.py",
    "training/diagnosis.py",
    "training/cache_build.py",
    "eval/work.py",
    "suited.py",
    "sweeps/jobs.py",
}


def _calls(path: Path) -> set[str]:
    found = [node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    return {ast.unparse(function) for function in found}


def test_trust_is_given_at_the_doors_alone() -> None:
    root = Path(unic.__file__).parent
    giving = {"trusting", "inherit", "load_encoder", "trust.trusting", "trust.inherit"}
    assert {str(path.relative_to(root)) for path in SOURCES if giving & _calls(path)} == DOORS


def test_what_imports_by_name_or_runs_programs_asks() -> None:
    root = Path(unic.__file__).parent
    runs = {
        "importlib.import_module",
        "import_module",
        "__import__",
        "torch.hub.load",
        "torch.jit.load",
        "exec",
        "eval",
    }
    runs |= {"pickle.load", "pickle.loads", "runpy.run_path", "runpy.run_module"}
    asks = {"trust.require", "require_trust"}
    found = {str(path.relative_to(root)): bool(asks & _calls(path)) for path in SOURCES if runs & _calls(path)}
    assert found.pop("data/workers.py") is False  # it unpacks what this very program has packed
    assert found.pop("data/_plugins.py") is False  # its table names two packages
    assert found == dict.fromkeys(
        [
            "encoders/schemes/hub.py",
            "encoders/schemes/torchscript.py",
            "eval/text.py",
            "lookup.py",
        ],
        True,
    )


def test_a_typed_name_that_needs_no_code_trusts_none() -> None:
    """`hf:org/name` works without code; that it was typed must not let a run's `…?trust_remote_code=true` run some."""
    uris = ["hf:org/name", "hf:org/other?trust_remote_code=true", "py:lab:net", "timm:x"]
    assert typed_code(uris) == uris[1:]
