"""A probe that another task runs, chosen by name, with options of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from unic import lookup
from unic.errors import InputError, nearest
from unic.eval.outcome import Outcome

PROBES = ("knn", "linear", "logistic")


def inner_probe(task: str, name: str, options: Mapping[str, Any] | None) -> Callable[..., Outcome]:
    """The `run` of a probe with its options set; it takes `train`, `test` and `seed`.

    Raises:
        InputError: a name that is not in `PROBES`, or an unknown option.
    """
    if name not in PROBES:
        raise InputError(f"{task}: unknown probe '{name}'{nearest(name, PROBES)}")
    run, options = lookup.entry("unic.eval.tasks", name, "run"), options or {}
    where = f"{task}: probe '{name}'"
    lookup.check_options(run, options, where, passed=["seed"])
    if "seed" in options:
        raise InputError(f"{where}: 'seed' is a key of the suite, not an option")
    return partial(run, **options)
