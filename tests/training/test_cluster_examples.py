"""The examples for clusters: the pair of nodes runs (as two launchers on this machine), the others are well formed."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from unic.runs.metrics import read_metrics

FOLDER = Path(__file__).parents[2] / "examples/cluster"


@pytest.mark.parametrize("name", ["slurm.sh", "torchrun_pair.sh"])
def test_scripts_parse(name: str) -> None:
    subprocess.run(["bash", "-n", FOLDER / name], check=True)


def test_manifest_starts_the_command_line() -> None:
    job = yaml.safe_load((FOLDER / "pytorchjob.yaml").read_text())
    assert job["kind"] == "PyTorchJob"
    container = job["spec"]["pytorchReplicaSpecs"]["Worker"]["template"]["spec"]["containers"][0]
    assert container["name"] == "pytorch"  # the operator looks for this name
    assert container["command"][:4] == ["torchrun", "-m", "unic", "distill"]
    assert "--resume" in container["command"]


@pytest.mark.long
def test_a_pair_of_nodes(recipe: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        endpoint = f"127.0.0.1:{free.getsockname()[1]}"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHON": sys.executable}
    commands = [[FOLDER / "torchrun_pair.sh", str(node), endpoint, path, tmp_path / "run"] for node in range(2)]
    nodes = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for command in commands
    ]
    said = [node.communicate(timeout=200)[0] for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], said
    assert [row["step"] for row in read_metrics(tmp_path / "run")] == list(range(1, 9))


@pytest.mark.long
def test_accelerate_launch(recipe: dict[str, Any], tmp_path: Path) -> None:
    """`--multi_gpu` is its name for several processes on one machine; with `--cpu` it starts one."""
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe))
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    launch += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [*launch, "-m", "unic", "distill", path, "--out", tmp_path / "run", "--resume"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((tmp_path / "run/environment.json").read_text())["processes"] == 2
    assert [row["step"] for row in read_metrics(tmp_path / "run")] == list(range(1, 9))
