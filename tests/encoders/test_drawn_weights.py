"""Weights that are drawn and not read: a frozen encoder's by its URI, a student's by the generator as it stands."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from unic.encoders import build_encoder, load_encoder
from unic.recipe.schema import load_recipe
from unic.training.build import build

VIT = "timm:test_vit?pretrained=false&img_size=32"
DRAWN = """
from torch import nn

def tower():
    net = nn.Conv2d(3, 4, 8, 8)
    net.patch_size = 8
    return net
"""


@pytest.fixture
def drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "drawn_tower.py").write_text(DRAWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("uri", [VIT, "py:drawn_tower:tower?size=32"])
def test_every_process_draws_the_same(uri: str, drawn: Path) -> None:
    script = f"from unic import load_encoder; print(load_encoder({uri!r}, precision='fp32').fingerprint())"
    paths = os.pathsep.join([str(drawn), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=True,
    )
    torch.manual_seed(5)
    before = torch.get_rng_state()
    assert load_encoder(uri, precision="fp32").fingerprint() == done.stdout.strip()
    assert torch.equal(torch.get_rng_state(), before)


def test_another_uri_draws_others() -> None:
    first, second = (load_encoder(f"timm:test_vit?pretrained=false&img_size={size}") for size in (32, 48))
    assert not torch.equal(first.state_dict()["model.cls_token"], second.state_dict()["model.cls_token"])


def test_a_student_is_of_the_run_s_seed_and_its_teachers_are_those_that_are_measured(recipe: dict[str, Any]) -> None:
    jobs = [build(load_recipe(recipe | {"seed": seed}), torch.device("cpu")) for seed in (3, 4)]
    for name, uri in recipe["teachers"]["models"].items():
        measured = load_encoder(uri, precision="fp32").fingerprint()
        assert [job.encoders[name].fingerprint() for job in jobs] == [measured, measured]
    torch.manual_seed(3)
    expected = build_encoder(recipe["student"]["model"], drop_path=recipe["student"]["drop_path"])
    assert jobs[0].student.fingerprint() == expected.fingerprint() != jobs[1].student.fingerprint()
