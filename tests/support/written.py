"""What an evaluation writes, as the JSON object: tests name its keys, as other programs do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unic.eval import runner
from unic.eval.results import summary as results
from unic.eval.results.schema import ModelEntry, Role


def summarise(outcomes: Any, roles: Mapping[str, Role], *args: Any, **options: Any) -> dict[str, Any]:
    """The measured part of results.json, without its models."""
    models = {name: ModelEntry(role=role) for name, role in roles.items()}
    written = results.summarise(outcomes, models, *args, **options).as_dict()
    return {key: value for key, value in written.items() if key != "models"}


def evaluate_models(*args: Any, **options: Any) -> dict[str, Any]:
    """All of it."""
    return runner.evaluate_models(*args, **options).as_dict()
