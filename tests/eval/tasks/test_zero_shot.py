"""Zero-shot on images that are colours, with a text tower that knows what the words mean."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from unic.errors import InputError, NotApplicableError
from unic.eval.datasets import DataPair, open_pair
from unic.eval.subject import Subject
from unic.eval.tasks import zero_shot
from unic.eval.tasks.zero_shot import run
from unic.eval.text import TextTower
from unic.tokens import Tokens

MEANING = {"red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1)}


class Tower(TextTower):
    """A colour's vector, with some of the grey of every sentence in it; projects six dimensions to three."""

    dim = 3

    def embed(self, texts: Any) -> np.ndarray:
        words = [set(text.replace(".", " ").split()) for text in texts]
        found = [next(np.array(meaning) for name, meaning in MEANING.items() if name in said) for said in words]
        vectors = np.array(found, dtype=np.float32) + 0.2
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def project(self, cls: np.ndarray) -> np.ndarray:
        if cls.shape[1] != 6:
            return super().project(cls)
        return cls[:, :3] - cls[:, 3:]


@pytest.fixture(autouse=True)
def _tower(monkeypatch: pytest.MonkeyPatch, trust: Callable[[str], None]) -> Iterator[None]:
    trust("colour_lab.tower")
    module = ModuleType("colour_lab")
    module.load = Tower  # type: ignore[attr-defined]
    package = ModuleType("colour_lab.tower")
    package.load = Tower  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "colour_lab", module)
    monkeypatch.setitem(sys.modules, "colour_lab.tower", package)
    zero_shot._words_in_space.cache_clear()
    yield
    zero_shot._words_in_space.cache_clear()


@pytest.fixture
def pair(coloured: Path) -> DataPair:
    return open_pair("coloured", str(coloured))


@pytest.fixture
def student(colours: Any, pair: DataPair) -> Subject:
    """Blind itself; its head for `clip` sees colours, before a projection, and the one for `grey` nothing."""

    class Wide(colours):
        def encode(self, x: torch.Tensor) -> Tokens:
            tokens = super().encode(x)
            return Tokens(torch.cat([tokens.cls, torch.full_like(tokens.cls, 0.3)], 1), tokens.patches, tokens.grid)

    class Blind(colours):
        def encode(self, x: torch.Tensor) -> Tokens:
            tokens = super().encode(x)
            return Tokens(torch.ones_like(tokens.cls), tokens.patches, tokens.grid)

    return Subject(
        "student", "student", pair, Blind, heads={"clip": lambda: Wide(uri="w"), "grey": lambda: Blind(uri="b")}
    )


def test_a_student_through_its_head(student: Subject) -> None:
    outcome = run(student, text="colour_lab.tower", teacher="clip", templates=["a {} thing", "the {} one"])
    assert outcome.score == 100
    assert outcome.details == {
        "mean_per_class": 100, "top5": 100, "text": "colour_lab.tower", "num_templates": 2,
    }  # fmt: skip
    assert outcome.predicted is not None
    assert outcome.marks.shape == (30, 1)
    grey = run(student, text="colour_lab.tower", teacher="grey")
    assert grey.score == pytest.approx(100 / 3)


def test_a_teacher_by_its_name_and_files_of_words(colours: Any, pair: DataPair, tmp_path: Path) -> None:
    """Words that are turned around make every prediction wrong: they are read."""
    teacher = Subject("clip", "teacher", pair, colours)
    assert run(teacher, text="colour_lab.tower", teacher="clip").score == 100
    (tmp_path / "words.txt").write_text("red blue\nblue green\ngreen red\n")
    turned = run(teacher, text="colour_lab.tower", teacher="clip", names=str(tmp_path / "words.txt"))
    assert turned.score == 0
    assert turned.details["top5"] == 100


def test_only_the_classes_of_the_test_part_are_asked(colours: Any, coloured: Path, tmp_path: Path) -> None:
    """Predictions are numbered as the classes of training, whatever the test part has."""
    shutil.copytree(coloured, tmp_path, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / "val/blue")
    fewer = open_pair("fewer", str(tmp_path))
    outcome = run(Subject("clip", "teacher", fewer, colours), text="colour_lab.tower", teacher="clip")
    assert outcome.score == 100
    assert fewer.classes == ["blue", "green", "red"]
    assert set(np.asarray(outcome.predicted)) == {1, 2}


def test_an_open_clip_model_has_its_own_tower(
    colours: Any, pair: DataPair, student: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(zero_shot, "load_text_tower", lambda spec: asked.append(spec) or Tower())
    clip = Subject("clip", "teacher", pair, lambda: colours(uri="open_clip:Colours/rgb?size=8"))
    assert run(clip).score == 100
    other = Subject("other", "teacher", pair, lambda: colours(uri="open_clip:Other/rgb"))
    assert run(other, teacher="clip", text="colour_lab.tower").score == 100
    learned = Subject("s", "student", pair, student.load, teachers={"clip": clip}, heads=student.heads)
    assert run(learned).score == 100
    assert asked == ["open_clip:Colours/rgb", "open_clip:Other/rgb", "open_clip:Colours/rgb"]


def test_wrong_combinations_are_named(colours: Any, pair: DataPair, student: Subject) -> None:
    tower = "colour_lab.tower"
    plain = Subject("plain", "other", pair, colours)
    clips = {name: Subject(name, "teacher", pair, lambda: colours(uri="open_clip:A/b")) for name in ("clip", "grey")}
    both = Subject("s", "student", pair, student.load, teachers=clips, heads=student.heads)
    for subject, options, line in (
        (plain, {"text": tower, "teacher": "clip"}, "'plain' has no head"),
        (plain, {"text": tower}, "'plain' has no head"),
        (student, {}, "'student' has 0 .*teachers"),
        (Subject("c", "concat", pair, members=[plain]), {}, "'c' is a concatenation"),
    ):
        with pytest.raises(NotApplicableError, match=line):
            run(subject, **options)
    for subject, options, line in (
        (student, {"text": tower}, "'teacher'.*clip, grey"),
        (both, {}, "'s' has 2 .*teachers"),
        (student, {"text": tower, "teacher": "clpi"}, "'clpi'.*'clip'"),
        (student, {"teacher": "clip"}, "'clip'.*no text tower"),
        (student, {"text": tower, "teacher": "clip", "project": False}, "6-d.* 3-d"),
        (student, {"text": tower, "teacher": "grey", "project": True}, "no visual projection"),
        (student, {"text": tower, "teacher": "clip", "templates": ["x"]}, "templates: expected"),
    ):
        with pytest.raises(InputError, match=line) as caught:
            run(subject, **options)
        assert not isinstance(caught.value, NotApplicableError)
