"""Suites, and the one loop that measures models on them: vectors once per model and set, then every task and seed."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from omegaconf import OmegaConf
from pydantic import Field, ValidationError
from rich.console import Console

from unic import lookup
from unic.config import Positive, Section
from unic.encoders import load_encoder
from unic.encoders.base import Encoder
from unic.errors import InputError, nearest
from unic.eval import bootstrap
from unic.eval.concat import concatenate
from unic.eval.datasets import DataPair, resolve
from unic.eval.results import Cell, summarise
from unic.eval.tasks.base import Labelled
from unic.features import extract

ROLES = ("student", "teacher", "concat", "pixels", "other")
CONCAT = "concat"  # the name of the model that evaluation adds to two or more teachers

Model = str | Encoder | Sequence[str]  # a URI, an encoder, or the names of the models whose vectors are concatenated
Pair = tuple[Labelled, Labelled]  # train, test


class Suite(Section):
    """What is measured, fixed for all models. A YAML file with these keys is a suite too.

    Attributes:
        data: names of evaluation sets, or `NAME=PATH`.
        tasks: options of each task by name.
        seeds: one run of every task for each.
        size: side of the square view that every encoder gets and resizes itself; null: the encoder's own input size.
        max_train, max_test: fixed random subsets of each set.
        teacher_vector: what a ViT teacher with a CLS token is measured by; all other models by their `cls`. Side by
            side with the mean of its patches it is mostly stronger, which makes the bar for the student stricter.
    """

    data: list[str] = Field(min_length=1)
    tasks: dict[str, dict[str, Any]] = Field({"knn": {"k": 20}, "logistic": {}}, min_length=1)
    seeds: list[int] = Field([0, 1, 2], min_length=1)
    size: Positive | None = None
    max_train: Positive | None = None
    max_test: Positive | None = None
    teacher_vector: Literal["cls", "cls+patch_mean"] = "cls"

    def describe(self) -> str:
        options = [f"{name} {_plain(options)}".strip() for name, options in self.tasks.items()]
        return f"{', '.join(self.data)}: {'; '.join(options)}; seeds {', '.join(map(str, self.seeds))}"


_SAMPLES = ["clipart", "emoji", "glyphs", "fashion"]
SUITES = {
    "quick": Suite(
        data=_SAMPLES, tasks={"knn": {"k": 20}, "logistic": {"C": 0.01}}, seeds=[0], size=128, max_train=1500,
        max_test=1000, teacher_vector="cls+patch_mean",
    ),
    "samples": Suite(data=_SAMPLES, size=128, teacher_vector="cls+patch_mean"),
}  # fmt: skip


def load_suite(name: str | Path | None = None) -> Suite:
    """A shipped suite (default `quick`) or one from a YAML file.

    Raises:
        InputError: no such suite, or the file is not one.
    """
    name = str(name or "quick")
    if name in SUITES:
        return SUITES[name]
    if not Path(name).is_file():
        raise InputError(f"unknown suite '{name}'{nearest(name, SUITES)}; or the path of a YAML file")
    try:
        return Suite.model_validate(OmegaConf.to_container(OmegaConf.load(name), resolve=True))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        ending = nearest(key, Suite.model_fields) if first["type"] == "extra_forbidden" else ""
        raise InputError(f"suite {name}: '{key}': {first['msg']}{ending}") from None
    except Exception as error:  # YAML and OmegaConf raise many kinds, all of them the user's to see
        raise InputError(f"suite {name}: not valid YAML ({' '.join(str(error).split())})") from None


def evaluate_models(
    models: Mapping[str, Model],
    roles: Mapping[str, str],
    *,
    suite: Suite | None = None,
    tasks: Sequence[str] | None = None,
    data: Mapping[str, str] | None = None,
    seeds: Sequence[int] | None = None,
    out: Path | None = None,
    cache: Path | None = None,
    console: Console | None = None,
) -> dict[str, Any]:
    """Measures every model on every task of every set and returns the contents of results.json.

    Two or more teachers are also measured concatenated. A cell that fails holds the reason and the rest is finished.

    Args:
        models: by name, see `Model`; the name is a column of the table.
        roles: one of `ROLES` by name, default "other". Gains are the first student's.
        suite: what to measure; not needed with `data`.
        tasks: names; default: the suite's. One that the suite does not have runs with its defaults.
        data: paths by name, see `open_pair`; default: the suite's sets.
        seeds: default: the suite's.
        out: also write the results there.
        cache: folder of the feature cache; None: vectors are computed afresh.
        console: for one line of progress; None: silent.

    Raises:
        InputError: unknown model, role, task, option or set; raised before anything is measured where possible.
    """
    started = time.monotonic()
    plan = _Plan.of(suite, tasks, data, seeds)
    named, all_roles = _with_concat(models, roles)
    console = console or Console(quiet=True)
    with console.status("evaluation") as status:
        measured = _Measured(plan, cache, status.update)
        described = {name: measured.add(name, model, all_roles[name]) for name, model in named.items()}
        cells = measured.cells(list(named))
    for task, row in cells.items():
        for name, cell in row.items():
            if isinstance(cell, str):
                console.print(f"[red]{task}, {name}:[/] {cell}", highlight=False)
    results = {
        "models": described,
        **summarise(cells, all_roles),
        "protocol": plan.protocol(measured.counts),
        "duration_s": round(time.monotonic() - started, 1),
    }
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return results


@dataclass(frozen=True)
class _Plan:
    """Everything that is fixed before the first model is loaded."""

    suite: Suite
    pairs: list[DataPair]

    @classmethod
    def of(
        cls,
        suite: Suite | None,
        tasks: Sequence[str] | None,
        data: Mapping[str, str] | None,
        seeds: Sequence[int] | None,
    ) -> _Plan:
        sets = [f"{name}={path}" for name, path in data.items()] if data else None
        if suite is None and sets is None:
            raise InputError("eval: expected a suite or data to measure on")
        suite = suite or Suite(data=sets or [])
        chosen = {name: suite.tasks.get(name, {}) for name in tasks} if tasks else suite.tasks
        for name, options in chosen.items():
            lookup.check_options(lookup.entry("unic.eval.tasks", name, "run"), options, f"task '{name}'")
            if "seed" in options:
                raise InputError(f"task '{name}': seeds are the suite's, not an option")
        changed = {"data": sets or suite.data, "tasks": chosen, "seeds": list(seeds or suite.seeds)}
        suite = suite.model_copy(update=changed)
        limits = {"max_train": suite.max_train, "max_test": suite.max_test}
        return cls(suite, [resolve(spec, **limits) for spec in suite.data])

    def protocol(self, counts: Mapping[str, Mapping[str, int]]) -> dict[str, Any]:
        packages = ("torch", "timm", "numpy", "optuna")
        return {
            **self.suite.model_dump(mode="json"),
            "counts": dict(counts),
            "bootstrap": {"resamples": bootstrap.RESAMPLES, "level": bootstrap.LEVEL, "unit": "test image"},
            "versions": {"python": platform.python_version()} | {package: version(package) for package in packages},
        }


class _Measured:
    """The vectors of every model on every set, then the tasks on them."""

    def __init__(self, plan: _Plan, cache: Path | None, say: Any) -> None:
        self._plan, self._cache, self._say = plan, cache, say
        self._vectors: dict[tuple[str, str], Pair | str] = {}  # (model, set) → vectors or what went wrong
        self.counts: dict[str, dict[str, int]] = {}

    def add(self, name: str, model: Model, role: str) -> dict[str, Any]:
        """Computes a model's vectors on all sets; returns what results.json says of the model."""
        if not isinstance(model, str | Encoder):
            for pair in self._plan.pairs:
                self._vectors[name, pair.name] = self._concatenated(model, pair)
            return {"role": role, "uri": f"concat:{'+'.join(model)}"}
        started = time.monotonic()
        self._say(f"{name}: loading")
        device = "cuda" if torch.cuda.is_available() else "cpu"
        encoder = load_encoder(model, device=device) if isinstance(model, str) else model
        wide = role == "teacher" and encoder.has_cls and encoder.architecture == "vit"
        vector = self._plan.suite.teacher_vector if wide else "cls"
        for pair in self._plan.pairs:
            try:
                self._vectors[name, pair.name] = self._encoded(name, encoder, pair, vector)
            except Exception as error:  # one model that cannot read one set leaves the others' rows standing
                self._vectors[name, pair.name] = _line(error)
        return {
            "role": role,
            "uri": encoder.uri,
            "vector": vector,
            "input_size": list(encoder.input_size),
            "num_parameters": encoder.num_parameters(),
            "seconds": round(time.monotonic() - started, 1),
        }

    def cells(self, names: Sequence[str]) -> dict[str, dict[str, Cell]]:
        cells: dict[str, dict[str, Cell]] = {}
        for pair in self._plan.pairs:
            for task, options in self._plan.suite.tasks.items():
                run = lookup.entry("unic.eval.tasks", task, "run")
                row = cells.setdefault(f"{pair.name}/{task}", {})
                for name in names:
                    self._say(f"{pair.name}/{task}: {name}")
                    row[name] = self._cell(run, options, self._vectors[name, pair.name])
        return cells

    def _cell(self, run: Any, options: Mapping[str, Any], vectors: Pair | str) -> Cell:
        if isinstance(vectors, str):
            return vectors
        try:
            return [run(*vectors, seed=seed, **options) for seed in self._plan.suite.seeds]
        except Exception as error:  # reported in the cell and on the console; the rest is finished
            return _line(error)

    def _encoded(self, name: str, encoder: Encoder, pair: DataPair, vector: str) -> Pair:
        parts = []
        for split, source in (("train", pair.train), ("test", pair.test)):
            features = extract(
                encoder,
                source,
                size=self._plan.suite.size,
                cache=self._cache,
                progress=partial(self._progress, f"{name}: {pair.name}/{split}"),
            )
            if features.labels is None:
                raise InputError(f"data '{pair.name}': some images of {source.path} have no label")
            labels = features.labels if split == "train" else pair.test_labels(features.labels)
            vectors = [features.cls] if vector == "cls" else [features.cls, features.patch_mean]
            parts.append(Labelled(np.concatenate(vectors, axis=1), labels))
        train, test = parts
        self.counts[pair.name] = {"train": len(train.y), "test": len(test.y), "classes": len(pair.classes)}
        return train, test

    def _progress(self, what: str, done: int, total: int) -> None:
        self._say(f"{what} {done}/{total}")

    def _concatenated(self, names: Sequence[str], pair: DataPair) -> Pair | str:
        parts = []
        for name in names:
            vectors = self._vectors[name, pair.name]
            if isinstance(vectors, str):
                return f"{name}: {vectors}"
            parts.append(vectors)
        return concatenate(parts)


def _with_concat(models: Mapping[str, Model], roles: Mapping[str, str]) -> tuple[dict[str, Model], dict[str, str]]:
    """All models, parts before their concatenations, and the role of each."""
    if not models:
        raise InputError("eval: expected at least one model")
    for name, role in roles.items():
        if name not in models:
            raise InputError(f"role of unknown model '{name}'{nearest(name, models)}")
        if role not in ROLES:
            raise InputError(f"model '{name}': unknown role '{role}'{nearest(role, ROLES)}")
    all_roles = {name: roles.get(name, "other") for name in models}
    singles = {name: model for name, model in models.items() if isinstance(model, str | Encoder)}
    joined = {name: model for name, model in models.items() if name not in singles}
    for name, parts in joined.items():
        for part in parts:  # type: ignore[union-attr]
            if part not in singles:
                raise InputError(f"model '{name}': unknown part '{part}'{nearest(str(part), singles)}")
    teachers = [name for name, role in all_roles.items() if role == "teacher" and name in singles]
    if len(teachers) > 1 and CONCAT not in models and "concat" not in all_roles.values():
        joined[CONCAT], all_roles[CONCAT] = teachers, "concat"
    return singles | joined, all_roles


def _line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, InputError) else f"{type(error).__name__}: {text}"


def _plain(options: Mapping[str, Any]) -> str:
    return " ".join(f"{key}={value}" for key, value in options.items())
