import json
import os
import subprocess
import sys

import pytest

from unic.errors import InputError
from unic.recipe.schema import load_recipe
from unic.training.trackers import check_trackers, flat, open_trackers

TREE = {"seed": 1, "train": {"lr": 0.1, "betas": [0.9, 0.99], "clip_grad": None}}


def test_the_recipe_is_told_flat():
    assert flat(TREE) == {"seed": 1, "train.lr": 0.1, "train.betas": "[0.9, 0.99]", "train.clip_grad": "null"}


def test_names_are_checked_before_anything_starts(monkeypatch):
    with pytest.raises(InputError, match="tracker.*'wanb'.*'wandb'"):
        check_trackers({"wanb": {}})
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match="tracker 'aim'.*pip install aim"):
        check_trackers({"aim": {}})


@pytest.mark.parametrize("given", ["wandb", ["wandb"], {"wandb": {}}])
def test_a_recipe_names_them_in_three_ways(recipe, given):
    assert load_recipe(recipe | {"trackers": given}).trackers == {"wandb": {}}


def test_none_is_allowed_and_tensorboard_the_default(recipe):
    assert load_recipe(recipe | {"trackers": []}).trackers == {}
    assert load_recipe(recipe).trackers == {"tensorboard": {}}


def test_tensorboard_events_are_written(tmp_path):
    (tracker,) = open_trackers({"tensorboard": {}}, tmp_path, TREE, 0)
    tracker.log({"loss": 1.0}, step=1)
    tracker.finish()
    assert list((tmp_path / "tensorboard").glob("events.out.tfevents.*"))


SCRIPT = """
import json, sys
from pathlib import Path
from unic.training.trackers import open_trackers
(tracker,) = open_trackers(json.loads(sys.argv[1]), Path("run"), {"train": {"lr": 0.1}}, 0)
tracker.log({"loss": 1.0}, step=1)
tracker.finish()
"""


@pytest.mark.parametrize(
    ("name", "options", "left"),
    [
        ("wandb", {"mode": "offline"}, "run/wandb/offline-run-*/run-*.wandb"),
        ("mlflow", {}, "mlruns/*/*/params/train.lr"),
        ("trackio", {}, "trackio/unic.db"),
    ],
)
def test_offline_modes_leave_their_files(name, options, left, tmp_path):
    """In a process of its own: these packages keep threads and global state."""
    pytest.importorskip(name)
    (tmp_path / "run").mkdir()
    environment = os.environ | {
        "WANDB_SILENT": "true", "MLFLOW_TRACKING_URI": (tmp_path / "mlruns").as_uri(),
        "MLFLOW_ALLOW_FILE_STORE": "true", "TRACKIO_DIR": str(tmp_path / "trackio"),
    }  # fmt: skip
    command = [sys.executable, "-c", SCRIPT, json.dumps({name: options})]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.glob(left)), sorted(map(str, tmp_path.rglob("*")))
