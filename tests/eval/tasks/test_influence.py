"""What CKA is blind to, and influence of teachers that are known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from unic.errors import NotApplicableError
from unic.eval.datasets import open_pair
from unic.eval.probes.cka import cka
from unic.eval.subject import Subject
from unic.eval.tasks.influence import run
from unic.tokens import Tokens


def test_cka_knows_no_rotation_scale_or_shift_and_nothing_from_noise() -> None:
    draw = np.random.default_rng(0)
    x = draw.normal(size=(60, 20)).astype(np.float32)
    rotation = np.linalg.qr(draw.normal(size=(20, 20)))[0]
    assert cka(x, 5 * x @ rotation + 100) == pytest.approx(1, abs=1e-6)
    unrelated = [cka(draw.normal(size=(60, 200)), draw.normal(size=(60, 300))) for _ in range(10)]
    assert abs(np.mean(unrelated)) < 0.03  # the plain estimate gives 0.8 here
    assert cka(x, np.ones((60, 4))) == 0


@pytest.fixture
def subjects(colours: Any, coloured: Path) -> dict[str, Subject]:
    """A student that sees what teacher `same` sees, beside a teacher whose channels are noise."""

    class Noise(colours):
        def encode(self, x: torch.Tensor) -> Tokens:
            tokens = super().encode(x)
            generator = torch.Generator().manual_seed(1)
            return Tokens(torch.randn(len(x), 50, generator=generator), tokens.patches, tokens.grid)

    pair = open_pair("coloured", str(coloured))
    encoders = {"same": colours(), "noise": Noise(uri="py:noise"), "student": colours()}
    teachers = {name: Subject(name, "teacher", pair, lambda n=name: encoders[n]) for name in ("same", "noise")}

    class Turned(colours):
        """The head for `same`: right in its standardised space but for a sign of one channel of three."""

        def encode(self, x: torch.Tensor) -> Tokens:
            tokens = super().encode(x)
            sign = torch.tensor([1.0, 1.0, -1.0])
            return Tokens(tokens.cls * sign, tokens.patches, tokens.grid)

    student = Subject(
        "student", "student", pair, lambda: encoders["student"], teachers=teachers, heads={"same": Turned}
    )
    return {**teachers, "student": student, "both": Subject("both", "concat", pair, members=list(teachers.values()))}


def test_influence_of_known_teachers(subjects: dict[str, Subject]) -> None:
    outcome = run(subjects["student"])
    teachers = outcome.details["teachers"]
    assert teachers["same"]["cka_cls"] == teachers["same"]["cka_patch"] == 1
    assert abs(teachers["noise"]["cka_cls"]) < 0.15
    assert outcome.marks.shape == (30, 1)
    assert outcome.score == pytest.approx(teachers["noise"]["cka_cls"])
    assert not outcome.measure.is_score
    assert json.loads(json.dumps(outcome.details)) == outcome.details


def test_cosines_of_a_head(subjects: dict[str, Subject]) -> None:
    found = run(subjects["student"]).details["teachers"]
    assert found["same"]["cosine_patch"] == found["same"]["cosine_patch_raw"] == 1
    x = subjects["same"].features("test").cls.astype(np.float64)
    turned = x * [1, 1, -1]
    pairs = {"cosine_cls_raw": (x, turned)}
    pairs["cosine_cls"] = tuple((value - x.mean(0)) / x.std(0) for value in (x, turned))  # type: ignore[assignment]
    for key, (a, b) in pairs.items():
        cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
        assert found["same"][key] == pytest.approx(cosine.mean(), abs=1e-4)
    assert found["noise"]["cosine_cls"] is None
    assert run(subjects["student"], heads=False).details["teachers"]["same"]["cosine_cls"] is None


def test_who_has_no_teachers_is_skipped(subjects: dict[str, Subject]) -> None:
    with pytest.raises(NotApplicableError, match="teacher.*'same'"):
        run(subjects["same"])
    with pytest.raises(NotApplicableError):
        run(subjects["both"])
