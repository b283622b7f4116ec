"""The numbers of every shipped task on small fixed inputs, by the version that stands in the keys of finished cells.

A key holds `VERSION` and not the code, so whoever changes a number must raise it: else users keep old cells. Here that
is found out. Inputs are sines, which no library draws otherwise one day.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from unic import lookup
from unic.data.sources.arrays import Arrays
from unic.eval.corruptions import CORRUPTIONS, Corrupted, Square
from unic.eval.datasets import DataPair
from unic.eval.live import Live
from unic.eval.outcome import Dense, Labelled, Outcome
from unic.eval.subject import Subject
from unic.eval.task_code import SHARED_VERSION, versions
from unic.eval.text import TextTower

TASKS = lookup.names("unic.eval.tasks")
CLASSES = ["red", "green", "blue"]

Known = tuple[str, list[float]]  # defaults of the options, then numbers
# By the versions of the task and of the probe that it runs. Numbers: the score, the sum of the marks weighted by their
# places, and the sum of all numbers of the details; of several outcomes one after the other.
KNOWN: dict[str, Known] = {
    "concepts 1, logistic 1": ("seed=0, probe=linear, probe_options=None", [61.1111, 150.0, 421.446]),
    "depth 1": (
        "seed=0, protocol=None, min_depth=0.001, max_depth=10.0, num_bins=256, "
        "steps=None, batch_size=None, lr=None, weight_decay=None, crop=None, gradient=None",
        [2.6796, 64.4644, 46.1472],
    ),
    "depth/dinov2 1": ("", [3.0403, 117.8004, 31.037]),
    "influence 1": ("seed=0, heads=True", [-0.0344, -1.9608, 4.9656]),
    "knn 1": ("seed=0, k=20, temperature=0.07", [75.0, 123.0, 380.938, 85.0, 133.0, 480.188]),
    "linear 1": (
        "seed=0, protocol=None, search=tpe, trials=None, parallel=None, lr=None, weight_decay=None, "
        "epochs=100, batch_size=1024",
        [77.5, 114.0, 155.542, 75.0, 108.0, 248.646, 87.5, 139.0, 162.105],
    ),
    "logistic 1": ("seed=0, protocol=None, C=None, trials=40", [87.5, 139.0, 162.271, 87.5, 139.0, 260.4916]),
    "knn 1, longtail 1": ("seed=0, probe=linear, probe_options=None, head=100, tail=20", [75.0, 123.0, 604.813]),
    "retrieval 1": ("seed=0, gallery=test", [74.7893, 273.8134, 365.899, 76.3959, 275.6909, 381.615]),
    "logistic 1, robustness 1": (
        "seed=0, probe=logistic, probe_options=None, corruptions=None, severities=(1, 2, 3, 4, 5)",
        [65.2778, 37.875, 1810.255],
    ),
    "segmentation 1": (
        "seed=0, protocol=None, steps=None, batch_size=None, lr=None, weight_decay=None, crop=None, stride=None",
        [60.5874, 1305.0, 333.984],
    ),
    "segmentation/dinov2 1": ("", [13.9468, 9063.0, 117.013]),
    "spectrum 1": ("seed=0", [2.955, 168.435, 79.366]),
    "zero_shot 1": ("seed=0, text=None, teacher=None, templates=simple, names=None, project=None", [40.0, 26.0, 145.0]),
    "corruptions 1": (
        "",
        [228.98, 224.985, 228.499, 229.017, 230.664, 230.411, 283.505, 321.757, 231.089, 231.31, 229.017, 233.179],
    ),
    "shared 1": ("", [77.1597, 53.0, 155.5271, 53.0, -18.5462, 53.0, 79.9385, 1103.0]),
}


def waves(*shape: int, phase: float = 0.0) -> np.ndarray:
    """Between -1 and 1, without any order that shows."""
    steps = np.arange(np.prod(shape), dtype=np.float64)
    return np.sin(steps * steps * 0.37 + steps + phase).reshape(shape)


def vectors(count: int, phase: float) -> Labelled:
    """Three classes of unequal size, which overlap."""
    y = np.arange(count) ** 2 % 5 % 3
    x = np.eye(3, 6)[y] + 1.2 * waves(count, 6, phase=phase)
    return Labelled(x.astype(np.float32), y.astype(np.int64))


def dense(count: int, phase: float, *, depth: bool) -> Dense:
    """Patches of 2 x 2 with targets of 6 x 6."""
    maps = np.arange(count * 4) % 5 % 3
    patches = (np.eye(3, 5)[maps] + 0.3 * waves(count * 4, 5, phase=phase)).reshape(count, 4, 5).astype(np.float32)
    large = maps.reshape(count, 2, 2).repeat(3, axis=1).repeat(3, axis=2)
    targets = list((large + 1.5).astype(np.float32) if depth else large.astype(np.uint8))
    return Dense(patches, (2, 2), targets, [] if depth else CLASSES)


def pictures(count: int, phase: float) -> Arrays:
    labels = np.arange(count) % 3
    colours = 110 + 15 * np.eye(3)[labels][:, None, None]
    pixels = colours + 60 * waves(count, 12, 12, 3, phase=phase) + 25 * waves(count, 1, 1, 3, phase=phase)
    return Arrays("made", pixels.clip(0, 255).astype(np.uint8), labels, CLASSES)


class Masks(Arrays):
    """Pictures with a class for each pixel."""

    pixels = "masks"

    def target(self, index: int) -> np.ndarray:
        return (np.add.outer(np.arange(12), np.arange(12)) // (index + 2) % 3).astype(np.uint8)


class Depths(Masks):
    """Pictures with a depth for each pixel."""

    pixels = "depth"

    def target(self, index: int) -> np.ndarray:
        return 1 + super().target(index).astype(np.float32)


class Tower(TextTower):
    """A class by its name, and a little of every other letter of the sentence."""

    dim = 3

    def embed(self, texts: Any) -> np.ndarray:
        named = np.array([np.eye(3)[[name in text for name in CLASSES].index(True)] for text in texts])
        rest = [[np.sin(sum(text.encode()) * (place + 1)) for place in range(3)] for text in texts]
        return (named + 0.5 * np.array(rest)).astype(np.float32)


@pytest.fixture
def subject(colours: Any, monkeypatch: pytest.MonkeyPatch, trust: Callable[[str], None]) -> Subject:
    """A model beside one teacher, with a head, on two parts of pictures."""
    trust("lab.tower")
    monkeypatch.setitem(sys.modules, "lab.tower", SimpleNamespace(load=Tower))
    monkeypatch.setattr(lookup.module("unic.eval.tasks", "robustness"), "_fitted", {})
    pair = DataPair("made", pictures(24, 0.0), pictures(15, 1.0))
    half = DataPair("half", pictures(12, 2.0), pictures(9, 3.0))
    pair = replace(pair, parts={"whole": pair, "half": half})
    model, other = colours(), colours(0.3)
    teacher = Subject("t", "teacher", pair, lambda: other, size=8)
    return Subject("m", "student", pair, lambda: model, size=8, teachers={"t": teacher}, heads={"t": lambda: other})


# Few steps, and each way that options open.
OPTIONS: dict[str, list[dict[str, Any]]] = {
    "knn": [{}, {"k": 3, "temperature": 0.5}],
    "logistic": [{"C": 0.5}, {"trials": 3}],
    "linear": [
        {"lr": 2.0, "epochs": 3, "batch_size": 16},
        {"search": "grid", "epochs": 2, "batch_size": 16},
        {"protocol": "unic", "lr": 2.0, "epochs": 3, "batch_size": 16},
    ],
    "retrieval": [{}, {"gallery": "train"}],
    "longtail": [{"probe": "knn", "probe_options": {"k": 5}, "head": 20, "tail": 15}],
    "segmentation": [{"steps": 20, "batch_size": 4}],
    "depth": [{"steps": 20, "batch_size": 4, "num_bins": 16}],
    "concepts": [{"probe": "logistic", "probe_options": {"C": 1.0}}],
    "robustness": [{"probe_options": {"C": 1.0}, "corruptions": list(CORRUPTIONS), "severities": [2, 5]}],
    "influence": [{}],
    "spectrum": [{}],
    "zero_shot": [{"text": "lab.tower", "teacher": "t"}],
}


def measured(task: str, subject: Subject) -> list[Outcome]:
    """What a task makes of the fixed inputs."""
    module = lookup.module("unic.eval.tasks", task)
    given: dict[str, tuple[Any, ...]] = {
        "vectors": (vectors(60, 0.0), vectors(40, 1.0)),
        "dense": tuple(dense(count, phase, depth=task == "depth") for count, phase in ((8, 0.0), (5, 1.0))),
        "subject": (subject,),
    }
    inputs = given[getattr(module, "INPUT", "vectors")]
    return [module.run(*inputs, seed=1, **options) for options in OPTIONS[task]]


def defaults_of(task: str) -> str:
    parameters = inspect.signature(lookup.module("unic.eval.tasks", task).run).parameters.values()
    return ", ".join(f"{one.name}={one.default}" for one in parameters if one.default is not one.empty)


def numbers_of(tree: Any) -> list[float]:
    """All numbers of details."""
    if isinstance(tree, Mapping):
        tree = list(tree.values())
    if isinstance(tree, list | tuple):
        return [number for part in tree for number in numbers_of(part)]
    return [float(tree)] if isinstance(tree, int | float) and not isinstance(tree, bool) else []


def weighted(array: np.ndarray) -> float:
    return float((array * (1 + np.arange(array.size).reshape(array.shape) % 7)).sum())


def summed(outcomes: list[Outcome]) -> list[float]:
    return [
        number
        for outcome in outcomes
        for number in (outcome.score, weighted(outcome.marks), float(np.sum(numbers_of(outcome.details))))
    ]


def checked(name: str, found: list[float], raise_what: str, defaults: str = "") -> None:
    shown = (defaults, [round(number, 4) for number in found])
    assert name in KNOWN, f"what belongs here: {shown}"
    said, known = KNOWN[name]
    is_same = said == defaults and len(found) == len(known) and np.allclose(found, known, rtol=2e-4, atol=2e-4)
    assert is_same, f"'{name}': {KNOWN[name]} has become {shown}: raise {raise_what}, and note this here"


@pytest.mark.parametrize("task", TASKS)
def test_the_numbers_of_a_task_are_those_of_its_version(task: str, subject: Subject) -> None:
    decide = [(name, number) for name, number in versions(task, OPTIONS[task][0]) if name != "shared"]
    named = ", ".join(f"{name} {number}" for name, number in decide)
    where = " or ".join(f"src/unic/eval/tasks/{name}.py" for name, _ in decide)
    checked(named, summed(measured(task, subject)), f"VERSION in {where}", defaults_of(task))


@pytest.mark.parametrize(
    ("task", "kind", "options"),
    [("segmentation", Masks, {"crop": 8, "stride": 5}), ("depth", Depths, {"crop": [8, 8], "num_bins": 16})],
)
def test_the_numbers_of_a_protocol_are_those_of_its_version(
    task: str, kind: type[Masks], options: dict[str, Any], cells: Any
) -> None:
    sources = [kind("made", pictures(8, phase)._images, np.zeros(8, np.int32), CLASSES) for phase in (5.0, 6.0)]
    parts = [Live(source, cells) for source in sources]
    module = lookup.module("unic.eval.tasks", task)
    outcome = module.run(*parts, seed=1, protocol="dinov2", steps=20, batch_size=4, lr=1e-2, **options)
    version = module.LIVE["dinov2"].VERSION
    checked(f"{task}/dinov2 {version}", summed([outcome]), f"VERSION in src/unic/eval/tasks/_{task}_dinov2.py")


def test_corrupted_pixels_are_those_of_the_version_of_robustness(subject: Subject) -> None:
    square = Square(subject.pair.test, 12)
    found = [weighted(np.asarray(Corrupted(square, name, 3).read(2), dtype=float)) / 1000 for name in CORRUPTIONS]
    version = lookup.module("unic.eval.tasks", "robustness").VERSION
    checked(f"corruptions {version}", found, "VERSION in robustness.py and _VERSION in corruptions.py")


def test_what_tasks_are_given_is_that_of_the_shared_version(subject: Subject) -> None:
    """Vectors, their concatenation, labels, and masks in the view."""
    parts = [subject.labelled("test"), subject.labelled("test", vector="cls+patch_mean")]
    both = Subject("both", "concat", subject.pair, members=[subject, subject.teachers["t"]], size=8)
    parts.append(both.labelled("test"))
    found = [number for part in parts for number in (weighted(part.x), weighted(part.y))]
    masks = Masks("masks", pictures(4, 5.0)._images, np.zeros(4, np.int32), CLASSES)
    maps = replace(subject, pair=DataPair("masks", masks, masks)).dense("test")
    found += [weighted(np.asarray(maps.patches, dtype=float)), weighted(np.stack(list(maps.targets)))]
    checked(f"shared {SHARED_VERSION}", found, "SHARED_VERSION in src/unic/eval/task_code.py")
