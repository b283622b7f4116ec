"""Spectra of features and weights whose singular values are known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from unic.eval.datasets import open_pair
from unic.eval.subject import Subject
from unic.eval.tasks.spectrum import run, spectrum, weight_use


def test_equal_axes_all_count() -> None:
    """Seven orthonormal columns of mean 0, the rest of the channels empty."""
    x = np.random.default_rng(0).normal(size=(100, 7))
    axes = np.linalg.qr(x - x.mean(0))[0]
    found = spectrum(np.pad(axes, ((0, 0), (0, 13))))
    assert found["effective_rank"] == pytest.approx(7, abs=1e-3)
    assert found["participation_ratio"] == pytest.approx(7, abs=1e-3)
    assert found["components"] == {"90": 7, "95": 7, "99": 7}
    assert len(spectrum(np.zeros((200, 150)))["curve"]["component"]) <= 64


def test_features_that_do_not_vary_have_rank_0() -> None:
    found = spectrum(np.ones((5, 3), dtype=np.float32))
    assert (found["effective_rank"], found["participation_ratio"]) == (0, 0)
    json.dumps(found, allow_nan=False)


def test_weights_by_block_and_layer() -> None:
    class Block(nn.Module):
        def __init__(self, weight: torch.Tensor) -> None:
            super().__init__()
            self.attn = nn.ModuleDict({"qkv": nn.Linear(4, 8)})
            self.conv = nn.Conv2d(8, 8, 3, groups=8)  # depthwise: left out
            self.attn["qkv"].weight = nn.Parameter(weight)

    full = torch.linalg.qr(torch.randn(8, 4, generator=torch.Generator().manual_seed(0)))[0]
    rank_one = torch.ones(8, 4)
    model = nn.Sequential()
    model.stem = nn.Conv2d(1, 2, 1)
    model.blocks = nn.ModuleList([Block(full), Block(rank_one)])
    found = weight_use(model)
    assert found is not None
    assert found["num_matrices"] == 3
    assert found["by_block"]["blocks.0"] == {"effective_rank": 1.0, "stable_rank": 1.0}
    assert found["by_block"]["blocks.1"]["stable_rank"] == pytest.approx(0.25, abs=1e-4)
    assert found["by_block"]["blocks.1"]["effective_rank"] == pytest.approx(0.25, abs=1e-3)
    assert found["by_block"]["stem"] == {"effective_rank": 1.0, "stable_rank": 1.0}
    assert list(found["by_layer"]) == ["stem", "attn.qkv"]
    assert found["by_layer"]["attn.qkv"]["stable_rank"] == pytest.approx(0.625, abs=1e-4)
    assert weight_use(nn.BatchNorm2d(3)) is None


def test_task_on_an_encoder_and_on_a_concatenation(colours: Any, coloured: Path) -> None:
    pair = open_pair("coloured", str(coloured))
    members = [Subject(name, "teacher", pair, colours) for name in ("a", "b")]
    outcome = run(members[0])
    assert outcome.marks.shape == (30, 1)
    assert outcome.score == pytest.approx(outcome.details["cls"]["effective_rank"])
    assert 1 < outcome.score <= 3
    assert outcome.details["weights"] is None
    joined = run(Subject("both", "concat", pair, members=members)).details
    assert joined["cls"]["dim"] == 6
    # Twice the same: no axis more than one of them has, standardised.
    x = members[0].features("test").cls
    assert joined["cls"]["effective_rank"] == pytest.approx(
        spectrum((x - x.mean(0)) / x.std(0))["effective_rank"], 1e-3
    )
    json.dumps(joined, allow_nan=False)
