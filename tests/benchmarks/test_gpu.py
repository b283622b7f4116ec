"""`make gpu` as far as a CPU can show it: its counter, its parts at toy size, and what it carries to the GPU."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import textwrap
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from accelerate.state import PartialState
from torch import Tensor

from unic.data.sources import open_source
from unic.encoders import load_encoder
from unic.features import Extraction
from unic.recipe.schema import load_recipe
from unic.training.optimizer import build_optimizer, optimizer_step

ROOT = Path(__file__).parents[2]
GPU = ROOT / "benchmarks/gpu"


@pytest.fixture(autouse=True)
def _beside_the_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    monkeypatch.syspath_prepend(str(GPU))


def module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"gpu_{name.strip('_')}", GPU / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = found  # dataclasses look there
    spec.loader.exec_module(found)
    return found


@pytest.mark.parametrize(
    ("run", "waits"),
    [
        (lambda x: x.sum().item(), "item"),
        (lambda x: bool((x > 0).any()), "__bool__"),
        (lambda x: float(x[0, 0]), "__float__"),
        (lambda x: x.tolist(), "tolist"),
        (lambda x: x.cpu(), "cpu"),
        (lambda x: x.to("cpu"), "to(cpu)"),
        (lambda x: x.nonzero(), "nonzero"),
        (lambda x: x[x > 0], "__getitem__"),
        (lambda x: x[torch.arange(2)], "__getitem__"),
        (lambda x: torch.ones(2).to("cuda"), "to(cuda)"),
        (lambda x: torch.tensor([1.0, 2.0], device=x.device), "tensor"),
        (lambda x: x.copy_(torch.ones(3, 3)), "copy_"),
        (lambda x: torch.where(x > 0), "where"),
        (lambda x: x[x.argmax() // 3], "__getitem__"),
        (lambda x: x[: x.argmax()], "__getitem__"),
        (lambda x: torch.full((2,), x.sum()), "full"),
        (lambda x: x.new_full((2,), x.sum()), "new_full"),
        (lambda x: x.add(x, alpha=x.sum()), "add"),
        (lambda x: torch.linalg.eigh(x), "linalg_eigh"),
        (lambda x: torch.linalg.inv(x + torch.eye(3, device="cuda")), "linalg_inv"),
        (lambda x: torch.nn.functional.one_hot(x.long()), "one_hot"),
        (lambda x: x.histc(4), "histc"),
        (lambda x: torch.combinations(x[0]), "combinations"),
        (lambda x: repr(x), "__repr__"),
        (lambda x: torch.ones(1 << 15).to("cuda", non_blocking=True), "to(cuda)"),
        (lambda x: x.repeat(200, 50).copy_(torch.ones(600, 150), non_blocking=True), "copy_"),
        (lambda x: torch.ones(1 << 15).pin_memory().to("cuda", non_blocking=True), ""),
        (lambda x: x[torch.tensor(1)] + x[-1, 0], ""),
        (lambda x: torch.nn.functional.one_hot(x.long(), 2), ""),
        (lambda x: x.histc(4, 0, 1), ""),
        (lambda x: x.masked_scatter(x > 0, x), ""),  # its check runs on the device
        (lambda x: torch.linalg.vector_norm(x) + torch.linalg.qr(x).R.sum(), ""),
        (lambda x: torch.ones(2).to("cuda", non_blocking=True), ""),
        (lambda x: x[torch.arange(2, device=x.device)], ""),
        (lambda x: torch.where(x > 0, x, 0.0).sum(1) + torch.zeros((), device="cuda"), ""),
        (lambda x: x.new_zeros(3).add_(1).shape[0] + len(x), ""),
        (lambda x: (torch.ones(3, 3) > 0).nonzero(), ""),
    ],
)
def test_the_pretended_gpu_sees_what_waits(run: Callable[[Tensor], object], waits: str) -> None:
    gpu = module("_pretended_gpu").PretendedGpu()
    x = gpu.mark(torch.ones(3, 3))
    with gpu:
        assert x.is_cuda
        run(x)
    assert [line.partition(" ")[0] for line in gpu.waits] == ([waits] if waits else [])
    assert not gpu.mixed


def test_the_pretended_gpu_follows_gradients_and_refuses_both_sides() -> None:
    gpu = module("_pretended_gpu").PretendedGpu()
    layer = torch.nn.Linear(2, 2)
    gpu.move(layer)
    with gpu:
        layer(torch.ones(1, 2).to("cuda", non_blocking=True)).sum().backward()
        assert layer.weight.grad is not None
        assert layer.weight.grad.norm().is_cuda
        assert not gpu.mixed
        layer.weight + torch.ones(2, 2)
    assert sum(gpu.mixed.values()) == 1


@pytest.mark.parametrize("name", ["paper", "every option", "parts with a state", "first steps", "every loss"])
def test_a_step_waits_for_nothing_and_a_log_line_for_its_numbers(name: str, tmp_path: Path) -> None:
    syncs = module("syncs")
    syncs.make_images(tmp_path / "images", 16)
    found = syncs.pretended(syncs.recipes(tmp_path / "images")[name], tmp_path / "run")
    assert found["step"] == found["mixed"] == {}
    assert 1 <= sum(found["log"].values()) <= 8


def test_torch_s_remark_on_its_own_mode_is_no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    syncs = module("syncs")

    def say(mode: str) -> None:
        if mode == "warn":
            warnings.warn("Synchronization debug mode is a prototype feature and does not yet detect all", stacklevel=1)

    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", say)
    assert syncs.warned(lambda: None) == {}
    assert list(syncs.warned(lambda: warnings.warn(syncs._WAIT, stacklevel=1)).values()) == [1]


def test_counting_on_a_cpu_does_not_keep_the_next_stage_there() -> None:
    syncs = module("syncs")
    for kind in ("cpu", "cuda"):
        syncs.accelerator_on(torch.device(kind))
        assert PartialState()._cpu == (kind == "cpu")


def test_images_for_a_gpu_are_pinned_and_copied_without_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    syncs, pretended = module("syncs"), module("_pretended_gpu")
    pinned: list[torch.Size] = []
    monkeypatch.setattr(Tensor, "pin_memory", lambda x: pinned.append(x.shape) or x)
    syncs.make_images(tmp_path / "images", 16)
    stage, _ = syncs.prepared(syncs.recipes(tmp_path / "images")["paper"], tmp_path / "run", torch.device("cpu"))
    stage.job.device = pretended.DEVICE
    next(stage.batches())
    assert pinned == [(8, 3, 32, 32)]
    encoder, gpu = load_encoder(syncs.VIT, precision="fp32"), pretended.PretendedGpu()
    gpu.move(encoder)
    extraction = Extraction(encoder, open_source(str(tmp_path / "images")), batch_size=8, patch_grid="own")
    with gpu, torch.no_grad():
        first, second = extraction.batches(0)
        assert pinned[1:] == [(8, 3, 32, 32)] * 2
        extraction.features_of(first)  # the range of the images is looked at once
        gpu.waits.clear()
        extraction.features_of(second)
    assert not gpu.mixed
    # Whether CLS, mean and patches are finite, and they themselves; then how many values fp16 clips.
    found = Counter(line.partition(" ")[0] for line in gpu.waits.elements())
    assert found.pop("numpy") == 3  # what `cpu` returns is the pretended tensor again
    assert found == {"tolist": 3, "cpu": 3, "__int__": 1}


def test_a_part_that_fails_or_hangs_costs_its_own_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runner = module("__main__")
    monkeypatch.setattr(runner, "HERE", tmp_path)
    answer = "import json, sys; open(sys.argv[-1], 'w').write(json.dumps({'line': 'fine', 'rate': 3}))"
    hang = "import subprocess, time; print('waits', flush=True); subprocess.Popen(['sleep', '60']); time.sleep(60)"
    cut = "import sys; open(sys.argv[-1], 'w').write('{\"line')"
    parts = {
        "good": answer,
        "bad": "raise SystemExit('it broke')",
        "slow": hang,
        "half": f"{answer}; {hang}",
        "cut": cut,
    }
    for name, code in parts.items():
        (tmp_path / f"{name}.py").write_text(code)
    found = {
        name: runner.run(runner.Part(name, 9, name), "cpu", limit, dict(os.environ))
        for name, limit in {"good": 60, "bad": 60, "slow": 6, "half": 6, "cut": 60, "good ": 1}.items()
    }
    assert [each["state"] for each in found.values()] == ["ok", "failed", "hung", "hung", "failed", "left out"]
    assert found["half"]["values"] == {"line": "fine", "rate": 3}
    assert found["cut"]["line"] == "it ended without an answer: "
    assert (found["good"]["line"], found["good"]["values"]) == ("fine", {"rate": 3})
    assert found["bad"]["line"] == "exit code 1: it broke"
    assert "last line: waits" in found["slow"]["line"]


def test_limits_leave_time_for_every_part() -> None:
    runner = module("__main__")
    limits = [part.limit for part in runner.PARTS]
    assert sum(limits) + runner._LEAST * 4 <= 8 * 60
    assert [part.name for part in runner.PARTS][:4] == ["tests", "syncs", "unic-b", "unic-l"]
    assert runner.limit_of(runner.PARTS, sum(limits) + 7, 1) == limits[0] + 7
    assert runner.limit_of(runner.PARTS, sum(limits) - 7, 1) == limits[0]
    assert runner.limit_of(runner.PARTS[-1:], 500, 1) == 500
    assert runner.limit_of(runner.PARTS, 12, 1) == 12


def test_wheels_that_do_not_install_cost_no_more_than_their_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runner, out = module("__main__"), tmp_path / "gpu.json"
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels/absent-1.0-py3-none-any.whl").write_text("no wheel")
    (tmp_path / "one.py").write_text("import json, sys; open(sys.argv[-1], 'w').write(json.dumps({'line': 'it ran'}))")
    seen = []
    monkeypatch.setattr(runner, "CARRIED", tmp_path)
    monkeypatch.setattr(runner, "HERE", tmp_path)  # no `_machine.py` is beside it
    monkeypatch.setattr(runner, "PARTS", [runner.Part("one", 60, "one")])
    monkeypatch.setattr(sys, "argv", ["gpu", "--device", "cpu", "--out", str(out)])
    monkeypatch.setattr(runner, "about", lambda environment: seen.append(json.loads(out.read_text())) or {})
    assert runner.main() == 1
    assert "the wheels were not installed: exit code 1" in capsys.readouterr().out
    assert seen[0]["errors"] == json.loads(out.read_text())["errors"]
    assert json.loads(out.read_text())["parts"]["one"]["line"] == "it ran"
    assert not (tmp_path / "site").exists()


def test_a_folder_with_a_part_of_the_wheels_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runner = module("__main__")
    for name in ("unic_absent_a", "unic_absent_b"):
        write_wheel(tmp_path / "wheels", name)
    (tmp_path / "site/unic_absent_a-1.0.dist-info").mkdir(parents=True)
    (tmp_path / "site/unic_absent_a-1.0.dist-info/METADATA").write_text("Name: unic_absent_a")
    monkeypatch.setattr(runner, "CARRIED", tmp_path)
    for _ in range(2):
        assert runner.prepared()[1] == ""
        assert (tmp_path / "site/unic_absent_b.py").exists()
        monkeypatch.setattr(runner, "unpack", lambda wheels, site: "once is enough")


def write_wheel(folder: Path, name: str) -> None:
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}.py", "")
        about = f"{name}-1.0.dist-info"
        wheel.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{about}/RECORD", "")


def test_a_look_at_the_machine_may_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runner = module("__main__")
    environment = dict(os.environ) | {"PYTHONPATH": str(tmp_path)}
    monkeypatch.setattr(runner, "HERE", tmp_path / "gpu")
    (tmp_path / "_machine.py").write_text("machine = lambda *names: print('said')")
    assert runner.about(environment) == {"error": "no JSON: said\nnull\n"}
    monkeypatch.setattr(runner, "_PATIENCE", 0.01)
    assert "timed out" in runner.about(environment)["error"]


def test_models_on_a_gpu_have_the_weights_of_their_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: list[int] = []
    monkeypatch.setattr(torch.cuda, "manual_seed", seeds.append)
    make = module("step_rates").made_on(torch.device("cuda"), lambda: torch.rand((), device="cpu"))
    for seed in (7, 8, 7):
        torch.default_generator.manual_seed(seed)
        make()
    assert seeds == [7, 8, 7]


def test_both_halves_of_a_configuration_share_a_baseline(monkeypatch: pytest.MonkeyPatch) -> None:
    step, device, built = importlib.import_module("step"), torch.device("cpu"), []
    asked = step.command_line().parse_args(["tiny", "--device", "cpu", "--rounds", "1"])
    baseline = step.Baseline
    monkeypatch.setattr(step, "Baseline", lambda *models, **options: built.append(1) or baseline(*models, **options))
    monkeypatch.setattr(step, "measure_product", lambda device: 1e12)
    monkeypatch.setattr(step, "measure_copy", lambda device: 1e9)
    monkeypatch.setattr(step.Ours, "compile", lambda ours: built.append("compiled"))
    halves = list(step.comparisons(step.CONFIGURATIONS["tiny"], 4, device, asked, [False, True]))
    assert built == [1, "compiled"]
    for half in halves:
        assert {"images_per_s", "ratio", "share_of_product", "peak_gb", "seconds", "rounds"} <= half.keys()
    assert "student" in halves[0]["seconds"]
    assert "student" not in halves[1]["seconds"]


def test_the_timed_batch_is_pinned_for_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step, pinned = importlib.import_module("step"), []
    build, options = step.build, step.command_line().parse_args(["tiny"])
    monkeypatch.setattr(step, "build", lambda recipe, device: build(recipe, torch.device("cpu")))
    monkeypatch.setattr(Tensor, "pin_memory", lambda x: pinned.append(x.shape) or x)
    step.Ours(step.recipe_of(step.CONFIGURATIONS["tiny"], 4, options), torch.device("cuda"), tmp_path)
    assert pinned == [(4, 3, 32, 32)]


@pytest.mark.teachers
@pytest.mark.parametrize("name", ["efficientnet_lite0", "mobilenet_v2", "ppocr_v4_rec"])
def test_carried_weights_are_the_teachers_own(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module("collect").store(name, tmp_path / f"{name}.safetensors")
    own = load_encoder(f"packaged:{name}")
    monkeypatch.setenv("UNIC_TEACHERS", str(tmp_path))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)  # no package is there
    carried = load_encoder(f"packaged:{name}")
    images = torch.rand(4, 3, 64, 64)
    with torch.no_grad():
        one, other = own(images), carried(images)
    assert torch.cosine_similarity(one.patches, other.patches, dim=-1).min() > 0.999
    assert carried.num_parameters() == own.num_parameters()


def test_what_is_left_behind(tmp_path: Path) -> None:
    collect = module("collect")
    files = {path.relative_to(ROOT).as_posix() for path in collect.checkout() if collect.is_needed(path)}
    assert {"src/unic/__init__.py", "tests/conftest.py", "tests/training/test_no_sync.py", "Makefile"} <= files
    assert not [name for name in files if name.startswith(("docs/", "tests/reporting"))]
    assert [name for name in files if name.startswith("benchmarks/results/")] == ["benchmarks/results/quickstart.json"]
    assert '"benchmarks/results/quickstart.json"' in (GPU / "probes.py").read_text()
    assert collect.size(collect.checkout()) < collect.LIMIT


@pytest.mark.long
@pytest.mark.parametrize(("name", "gflop", "gb"), [("UNIC ViT-B", [329.5], 21), ("UNIC-L", [1636, 3346], 61)])
def test_formulas_count_what_torch_counts(name: str, gflop: list[float], gb: float) -> None:
    """The stages of a recipe, and the memory of a GPU that is one of eight or, for ViT-B, of four."""
    roofline = module("roofline")
    stages = roofline.stages_of(roofline.SETTINGS[name])
    for stage in stages:
        for part, counted in stage.costs["flop counted"].items():
            assert stage.costs["flop by formula"][part] == pytest.approx(counted, rel=0.01)
    assert [stage.costs["flop"] / 1e9 for stage in stages] == pytest.approx(gflop, rel=0.001)
    gpus = stages[-1].batch // roofline.BATCH
    memory = roofline.memory_of(stages[-1].costs, stages[-1].at_a_time(gpus))
    assert memory / 1e9 == pytest.approx(gb, abs=0.5)


def test_an_update_moves_as_many_bytes_as_the_roofline_says() -> None:
    roofline = module("roofline")
    model = torch.nn.Linear(256, 256)
    optimizer = build_optimizer(model, load_recipe(ROOT / "recipes/unic-vitb16.yaml").train)
    for _ in range(2):  # the first makes the moments
        model(torch.ones(1, 256)).sum().backward()
        with roofline.ByteCounter() as counter:
            optimizer_step(optimizer, 1e-3, torch.ones(()), None)
    assert counter.total / roofline.parameters(model) == pytest.approx(roofline.UPDATE, rel=0.01)


def test_hours_are_those_of_all_stages() -> None:
    roofline = module("roofline")
    flop = {"teachers": 1e12, "student": 2e12, "ladders": 1e12}
    costs = {"flop": 4e12, "flop counted": flop, "trained": 1e9, "frozen": 1e9, "kept": 1e9, "moments": 0}
    larger = costs | {"flop": 8e12, "kept": 3e9}
    stages = [roofline.Stage(224, 90, 1024, 1, costs), roofline.Stage(336, 10, 1024, 2, larger)]
    one, four, eight = roofline.hours(stages, 100e12)
    images = 1_281_167 * (90 * 4e12 + 10 * 8e12)
    expected = [images / (share * 100e12) / 3600 for share in (0.4, 0.65)]
    assert one["hours"] == pytest.approx(expected)
    assert [4 * each for each in four["hours"]] == pytest.approx(expected)  # the exchange is hidden
    assert [row["images"] for row in (one, eight)] == [[(8, 128), (16, 64)], [(1, 128), (2, 64)]]
    assert one["memory"] == 18e9 + 64 * 3e9
    assert eight["memory"] == one["memory"]  # gradients lie in the buckets of DDP


@pytest.mark.parametrize(("out", "ending"), [("", ""), ("some where", ' --out "some where/gpu.json"')])
def test_make_gpu_calls_this(out: str, ending: str) -> None:
    command = ["make", "--no-print-directory", "--dry-run", "gpu", "DEVICE=cpu", f"OUT={out}"]
    asked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert asked.stdout.splitlines()[-1].endswith(f"python benchmarks/gpu --device cpu{ending}")


def test_every_wheel_has_a_version() -> None:
    asked = [line.split("==") for line in (GPU / "wheels.txt").read_text().splitlines() if not line.startswith("#")]
    pinned = {line.partition("==")[0].lower() for line in (ROOT / "constraints.txt").read_text().splitlines()}
    assert [each for each in asked if len(each) == 1 and each[0] not in pinned] == []


@pytest.mark.long
@pytest.mark.teachers
def test_every_part_runs_at_toy_size(tmp_path: Path) -> None:
    out = tmp_path / "gpu.json"
    command = [sys.executable, str(GPU), "--device", "cpu", "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=5000, check=False)
    found: dict[str, Any] = json.loads(out.read_text())
    states = {name: part["state"] for name, part in found["parts"].items()}
    assert set(states.values()) == {"ok"}, textwrap.shorten(done.stdout + done.stderr, 4000)
    assert done.returncode == 0
    assert {"date", "cpu", "versions"} <= found["machine"].keys()
