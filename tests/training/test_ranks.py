"""Several processes are one run: the same losses by DDP and FSDP2, one list of damaged images, resume on any number."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from launcher import Launcher
from safetensors.torch import load_file

from unic.errors import InputError
from unic.recipe.schema import load_recipe
from unic.runs.metrics import read_metrics
from unic.training.build import build

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "UNIC_DEBUG": "1"}
FOUR = pytest.param(4, marks=pytest.mark.long)
LOSSES = "{cosine: 0.5, queue_kl: {length: 16}, balanced_summary: 0.5, shift_equivariant: 0.1}"


@pytest.fixture
def ranked(recipe: dict[str, Any]) -> dict[str, Any]:
    """A LayerNorm student without drop path (CONTRACT, Invariants); ten batches of 12, of which an epoch has three
    and four images over."""
    recipe["student"]["drop_path"] = 0.0
    recipe["train"] |= {"steps": 10, "batch_size": 12}
    recipe["trackers"] = {}
    return recipe


@pytest.fixture
def distil(launch: Launcher) -> Callable[..., str]:
    """Runs a recipe in some processes, with what torchrun would set; gives what all of them say."""

    def run_it(
        recipe: dict[str, Any],
        run: Path,
        ranks: int,
        *overrides: str,
        code: int = 0,
        program: tuple[str, ...] = ("-m", "unic"),
        **environment: str,
    ) -> str:
        if ranks > 1 and "train.engine=fsdp" in overrides and not hasattr(torch.cpu.Stream, "record_event"):
            pytest.skip("this torch has no FSDP2 on CPUs")
        path = run.with_suffix(".yaml")
        path.write_text(yaml.safe_dump(recipe))
        command = [*program, "distill", str(path), "--out", str(run), "--resume", *overrides]
        env = ENVIRONMENT | environment
        processes = [launch(*command, env=env | variables) for variables in (of_ranks(ranks) if ranks > 1 else [{}])]
        said = [process.communicate(timeout=90)[0] for process in processes]
        assert [process.returncode for process in processes] == [code] * len(processes), said
        return "".join(said)

    return run_it


def of_ranks(count: int) -> list[dict[str, str]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    common = {"WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return [{**common, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(count)]


def losses(run: Path) -> dict[int, float]:
    return {row["step"]: row["loss"] for row in read_metrics(run)}


def tensors(run: Path) -> dict[str, Any]:
    return load_file(run / "checkpoints" / (run / "checkpoints/last").read_text() / "tensors.safetensors")


def assert_same(one: Path, other: Path) -> None:
    a, b = losses(one), losses(other)
    assert a.keys() == b.keys()
    for step, loss in a.items():
        assert b[step] == pytest.approx(loss, abs=1e-5), step
    first, second = tensors(one), tensors(other)
    assert {name: t.shape for name, t in first.items()} == {name: t.shape for name, t in second.items()}
    for name in first:
        if name.startswith(("standardizer.", "weighting.", "losses.")):
            # Sums over tokens are large, and a rotation to principal components magnifies the rounding of tokens.
            size = first[name].abs().max().clamp(min=1) if name.endswith((".scatter", ".matrix")) else 1
            share = 1e-3 if name.endswith(".matrix") else 1e-4
            assert (first[name] - second[name]).abs().max() < share * size, name


@pytest.mark.parametrize("ranks", [2, FOUR])
@pytest.mark.parametrize("engine", ["ddp", "fsdp"])
def test_ranks_equal_one(
    distil: Callable[..., str], ranked: dict[str, Any], tmp_path: Path, engine: str, ranks: int
) -> None:
    ranked["train"] |= {"micro_batches": 3, "ema": 0.9, "clip_grad": 1.0}
    distil(ranked, tmp_path / "one", 1)
    settings = (f"train.engine={engine}", f"teachers.shard={str(engine == 'fsdp').lower()}")
    said = distil(ranked, tmp_path / "many", ranks, *settings)
    assert said.count("report: ") == 1
    assert_same(tmp_path / "one", tmp_path / "many")


@pytest.mark.long
@pytest.mark.parametrize("engine", ["ddp", "fsdp"])
@pytest.mark.parametrize("projector", ["{type: ladder, hidden_dim: 8}", "{type: transformer}", "{type: identity}"])
def test_ranks_equal_one_with_nested_widths(
    distil: Callable[..., str], ranked: dict[str, Any], tmp_path: Path, engine: str, projector: str
) -> None:
    """The projectors run several times before one backward pass."""
    ranked["student"]["widths"] = [8, 16]
    if "identity" in projector:
        del ranked["teachers"]["models"]["cnn"]
    distil(ranked, tmp_path / "one", 1, f"projector={projector}")
    distil(ranked, tmp_path / "many", 2, f"projector={projector}", f"train.engine={engine}")
    assert_same(tmp_path / "one", tmp_path / "many")


@pytest.mark.parametrize(
    ("kinds", "engine"),
    [
        (["weighting={type: gradnorm}", "standardize={type: phi_s, steps: 8}"], "ddp"),
        pytest.param(["weighting={type: gradnorm}"], "fsdp", marks=pytest.mark.long),
        pytest.param(["weighting={type: adaptive}", "standardize={type: layer_norm}"], "ddp", marks=pytest.mark.long),
        ([f"loss={LOSSES}"], "ddp"),
        pytest.param([f"loss={LOSSES}"], "fsdp", marks=pytest.mark.long),
    ],
)
def test_ranks_have_the_same_states(
    distil: Callable[..., str], ranked: dict[str, Any], tmp_path: Path, kinds: list[str], engine: str
) -> None:
    """In shares that differ, each of two micro-batches."""
    ranked["train"] |= {"batch_size": 10, "micro_batches": 2}
    distil(ranked, tmp_path / "one", 1, *kinds)
    distil(ranked, tmp_path / "many", 2, *kinds, f"train.engine={engine}")
    assert_same(tmp_path / "one", tmp_path / "many")


@pytest.mark.parametrize("engine", ["ddp", pytest.param("fsdp", marks=pytest.mark.long)])
def test_a_loss_compares_the_images_of_all_ranks(
    distil: Callable[..., str], ranked: dict[str, Any], tmp_path: Path, engine: str
) -> None:
    distil(ranked, tmp_path / "one", 1, "loss={relational: 1.0}")
    distil(ranked, tmp_path / "many", 2, "loss={relational: 1.0}", f"train.engine={engine}")
    assert_same(tmp_path / "one", tmp_path / "many")


@pytest.mark.parametrize("engine", ["ddp", pytest.param("fsdp", marks=pytest.mark.long)])
def test_gradients_exchanged_in_bf16(
    distil: Callable[..., str], ranked: dict[str, Any], tmp_path: Path, engine: str
) -> None:
    """Rounding shows after the first update, and stays small."""
    distil(ranked, tmp_path / "whole", 2, f"train.engine={engine}")
    distil(ranked, tmp_path / "rounded", 2, f"train.engine={engine}", "train.gradients=bf16")
    whole, rounded = losses(tmp_path / "whole"), losses(tmp_path / "rounded")
    assert rounded[1] == whole[1]
    assert rounded[10] != whole[10]
    assert rounded[10] == pytest.approx(whole[10], rel=1e-2)


def test_fsdp_would_add_micro_batches_up_in_bf16(ranked: dict[str, Any]) -> None:
    changes = ["train.engine=fsdp", "train.gradients=bf16", "train.micro_batches=2"]
    with pytest.raises(InputError, match="fsdp.*train.micro_batches=1"):
        build(load_recipe(ranked, changes), torch.device("cpu"))


def test_fsdp_on_cpus_needs_a_torch_that_has_it(ranked: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu.Stream, "record_event", raising=False)
    with pytest.raises(InputError, match=r"fsdp' on CPUs does not work with torch .*train.engine=ddp"):
        build(load_recipe(ranked, ["train.engine=fsdp"]), torch.device("cpu"), world_size=2)


def test_ranks_draw_the_same_sizes(distil: Callable[..., str], ranked: dict[str, Any], tmp_path: Path) -> None:
    """The CNN sees views of 32 and 48 px as they are, so does the student; the ViT is at 32 px."""
    ranked["teachers"]["models"]["cnn"] = "timm:test_efficientnet?pretrained=false"
    ranked["data"] |= {"size": 48, "sizes": [32, 48]}
    ranked["train"] |= {"micro_batches": 3}
    distil(ranked, tmp_path / "one", 1)
    distil(ranked, tmp_path / "many", 2)
    assert_same(tmp_path / "one", tmp_path / "many")


@pytest.mark.parametrize("engine", ["ddp", pytest.param("fsdp", marks=pytest.mark.long)])
def test_shares_that_differ_equal_one_process_and_every_rank_has_the_same_statistics(
    distil: Callable[..., str], ranked: dict[str, Any], tmp_path: Path, engine: str
) -> None:
    """Batches of 8 over 3 processes, 3 + 3 + 2 images, in two micro-batches each. Every rank tells its own."""
    ranked["train"] |= {"batch_size": 8, "micro_batches": 2}
    program = (str(Path(__file__).parent / "tells_statistics.py"),)
    told = {}
    for run, ranks in (("one", 1), ("many", 3)):
        (tmp_path / f"{run}-told").mkdir()
        settings = (f"train.engine={engine}", f"teachers.shard={str(engine == 'fsdp').lower()}")
        distil(ranked, tmp_path / run, ranks, *settings, program=program, STATISTICS=str(tmp_path / f"{run}-told"))
        told[run] = {path.stem: load_file(path) for path in (tmp_path / f"{run}-told").iterdir()}
    assert_same(tmp_path / "one", tmp_path / "many")
    assert len(told["many"]) == 3 * 10
    for step in range(1, 11):
        for name, one in told["one"][f"0-{step}"].items():
            first, *others = (told["many"][f"{rank}-{step}"][name] for rank in range(3))
            assert all(torch.equal(first, other) for other in others), (step, name)
            assert (first - one).abs().max() < 1e-4, (step, name)


def test_resume_on_other_numbers_of_ranks_and_engines(
    distil: Callable[..., str], ranked: dict[str, Any], tmp_path: Path
) -> None:
    """FSDP2 on two, then one process, then DDP on two: the losses of a run that was never stopped."""
    distil(ranked, tmp_path / "whole", 1)
    run = tmp_path / "run"
    for ranks, engine, start in ((2, "fsdp", 0), (1, "ddp", 3), (2, "ddp", 6)):
        for folder in (run / "checkpoints").glob("step-*"):
            if int(folder.name.removeprefix("step-")) > start:
                shutil.rmtree(folder)
        distil(ranked, run, ranks, f"train.engine={engine}", "checkpoint={every: 3, keep: 9}")
    assert_same(tmp_path / "whole", run)


def test_damaged_images_of_all_ranks_count(
    distil: Callable[..., str], ranked: dict[str, Any], image_folder: Path, tmp_path: Path
) -> None:
    """More than a half of the limit on each process is too many on both, and one list names them all."""
    images = tmp_path / "images"
    shutil.copytree(image_folder, images)
    for number in range(4):
        (images / f"warm/broken{number}.png").write_bytes(b"no image")
    ranked["data"] |= {"train": str(images), "max_damaged": 3 / 44}
    run = tmp_path / "run"
    said = distil(ranked, run, 2, code=1)
    assert "4 of 44 images are damaged" in said
    saved = (run / "checkpoints/last").read_text().removeprefix("step-")
    assert said.count(f"saved at step {saved}") >= 2
    assert len(json.loads((run / "damaged.json").read_text())) == 4


@pytest.mark.long
def test_relaunched_by_torchrun_it_resumes_by_itself(
    distil: Callable[..., str], ranked: dict[str, Any], tmp_path: Path
) -> None:
    """One of two processes is killed in step 5 of the first attempt; torchrun starts both again."""
    distil(ranked, tmp_path / "whole", 1)
    ranked["checkpoint"] = {"every": 2, "keep": 2}
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(ranked))
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    program = str(Path(__file__).parent / "dies_once.py")
    command = [*launch, "--max-restarts", "1", program, "distill", str(recipe), "--out", str(tmp_path / "run")]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "died on purpose" in done.stderr
    one, two = losses(tmp_path / "whole"), losses(tmp_path / "run")
    assert two == pytest.approx(one, abs=1e-5)
