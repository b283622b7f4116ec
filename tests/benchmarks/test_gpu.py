"""`make gpu` as far as a CPU can show it: its counter, its parts at toy size, and what it carries to the GPU."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
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


@pytest.mark.parametrize("name", ["paper", "every option", "parts with a state"])
def test_a_step_waits_for_nothing_and_a_log_line_for_its_numbers(name: str, tmp_path: Path) -> None:
    syncs = module("syncs")
    syncs.make_images(tmp_path / "images", 16)
    found = syncs.pretended(syncs.recipes(tmp_path / "images")[name], tmp_path / "run")
    assert found["step"] == found["mixed"] == {}
    assert 1 <= sum(found["log"].values()) <= 8


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
    for name, code in {"good": answer, "bad": "raise SystemExit('it broke')", "slow": hang}.items():
        (tmp_path / f"{name}.py").write_text(code)
    found = {
        name: runner.run(runner.Part(name, 9, name), "cpu", limit, dict(os.environ))
        for name, limit in {"good": 60, "bad": 60, "slow": 6, "good ": 1}.items()
    }
    assert [each["state"] for each in found.values()] == ["ok", "failed", "hung", "left out"]
    assert (found["good"]["line"], found["good"]["values"]) == ("fine", {"rate": 3})
    assert found["bad"]["line"] == "exit code 1: it broke"
    assert "last line: waits" in found["slow"]["line"]


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
    assert not [name for name in files if name.startswith(("docs/", "benchmarks/results/", "tests/reporting"))]
    assert collect.size(collect.checkout()) < collect.LIMIT


@pytest.mark.long
@pytest.mark.parametrize(("name", "gflop", "gb"), [("UNIC ViT-B", [329.5], 22), ("UNIC-L", [1636, 3346], 64)])
def test_formulas_count_what_torch_counts(name: str, gflop: list[float], gb: float) -> None:
    """The stages of a recipe, and the memory of a GPU that is one of eight or, for ViT-B, of four."""
    roofline = module("roofline")
    stages = roofline.stages_of(roofline.SETTINGS[name])
    for stage in stages:
        for part, counted in stage.costs["flop counted"].items():
            assert stage.costs["flop by formula"][part] == pytest.approx(counted, rel=0.01)
    assert [stage.costs["flop"] / 1e9 for stage in stages] == pytest.approx(gflop, rel=0.001)
    gpus = stages[-1].batch // roofline.BATCH
    memory = roofline.memory_of(stages[-1].costs, gpus, stages[-1].at_a_time(gpus))
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
    assert eight["memory"] == one["memory"] + 4e9  # the buckets of DDP


def test_make_gpu_calls_this() -> None:
    asked = subprocess.run(
        ["make", "--no-print-directory", "--dry-run", "gpu", "DEVICE=cpu"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert asked.stdout.splitlines()[-1].endswith("python benchmarks/gpu --device cpu")


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
