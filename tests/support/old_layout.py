"""Checkpoints as version 0.1 of 2026-11-30 wrote them, before parts had names of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from unic.runs import checkpoint
from unic.runs.checkpoint import Checkpoint


def flatten(run: Path) -> dict[str, Any]:
    """Writes the newest checkpoint of a run again, in the old layout; returns its plain values."""
    (saved, _) = checkpoint.load_newest(run) or (None, None)
    assert saved is not None
    parts, tensors = saved.state, dict(saved.tensors)
    position, patience = parts["position"], dict(parts["patience"])
    patience.pop("queries", None)
    state = {
        "identity": parts["identity"], "damaged": parts["damaged"], "guard": parts["guard"],
        "stage": position["stage"], "first": position["first"], "first_epoch": position["first_epoch"],
        "is_finished": position["is_finished"], "patience": patience, "queries": "training parts",
        "models": parts["models"], "folder": parts["places"]["folder"], "written": parts["places"]["written"],
        "best": parts["saver"]["best"],
    }  # fmt: skip
    tensors["rng"] = tensors.pop("rng.torch")
    checkpoint.save(run, Checkpoint(saved.step, tensors, state), keep=3)
    return state
