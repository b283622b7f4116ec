"""Small real files for the tests: a folder of images, and recipes with timm's test models at random weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import jaxtyping
import numpy as np
import pytest
import shapes
import torch
from launcher import Launcher
from PIL import Image

shapes.check()

from unic import _scratch  # noqa: E402
from unic.trust import trusting  # noqa: E402

LONGEST = (
    "training/test_ranks.py",
    "training/test_processes.py",
    "faults/test_peers.py",
    "test_cli.py",
)  # half a minute and more


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files come first, so that no process of xdist is left with one of them at the end."""
    items.sort(key=lambda item: not item.path.as_posix().endswith(LONGEST))


@pytest.fixture(autouse=True)
def _one_thread(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small tensors are faster on one thread, and a test must not read or fill the user's cache."""
    torch.set_num_threads(1)
    monkeypatch.setenv("UNIC_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(autouse=True)
def _own_scratch() -> None:
    """A test finds nothing that another one could not keep, and is told again what another one was told."""
    for function in (_scratch.scratch, _scratch.say_read_only, _scratch.say_not_kept):
        function.cache_clear()


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A value of a wrong type reaches the code that refuses it, as a user's does."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@pytest.fixture(scope="session")
def launch() -> Iterator[Launcher]:
    """Starts `python …` in a process of its own that has imported torch and unic already."""
    launcher = Launcher()
    yield launcher
    launcher.close()


@pytest.fixture
def trust() -> Iterator[Callable[[str], None]]:
    """Trusts code until the test ends, as `--trust-code NAME` does."""
    with ExitStack() as stack:
        yield lambda name: stack.enter_context(trusting(name))


@pytest.fixture(scope="session")
def image_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty images in two classes: smooth coloured blobs of different sizes."""
    folder = tmp_path_factory.mktemp("images")
    draw = np.random.default_rng(0)
    for number in range(40):
        kind = "warm" if number % 2 else "cold"
        (folder / kind).mkdir(exist_ok=True)
        small = draw.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        small[..., 0 if kind == "warm" else 2] //= 4
        side = int(draw.integers(30, 60))
        Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC).save(folder / kind / f"{number}.png")
    return folder


@pytest.fixture
def recipe(image_folder: Path) -> dict[str, Any]:
    """A recipe that trains in a second: two tiny teachers of different kinds, a tiny ViT as student."""
    return {
        "seed": 3,
        "teachers": {
            "models": {
                "vit": "timm:test_vit?pretrained=false&img_size=32",
                "cnn": "timm:test_efficientnet?pretrained=false&img_size=64",
            }
        },
        "student": {"model": "timm:test_vit?pretrained=false&img_size=32", "drop_path": 0.2},
        "projector": {"type": "ladder", "hidden_dim": 8, "last_hidden_dim": 16},
        "data": {"train": str(image_folder), "size": 32, "augment": "unic", "workers": 0},
        "train": {"steps": 8, "batch_size": 8, "lr": 0.01, "precision": "fp32", "log_every": 1, "warmup_epochs": 0},
        "checkpoint": {"every": 3, "keep": 2},
    }
