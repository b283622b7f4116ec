"""A checkpoint as named parts of a run, each of which saves and restores its own state.

A part's tensors are saved as `NAME.KEY` in `tensors.safetensors`, its plain values below NAME in `state.json`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from unic.runs.state import RNG, RunState, Stateful
from unic.training import engine
from unic.training.job import Job

_OLD_RNG = "rng"  # the whole name of a tensor, in checkpoints of versions without parts


def saved(parts: Mapping[str, Stateful], *, keep: bool) -> tuple[dict[str, Tensor], dict[str, dict[str, Any]]]:
    """The tensors, whole, and the plain values of all parts. Every process must call it.

    Args:
        keep: False on processes that only take part: they get no tensors.
    """
    tensors: dict[str, Tensor] = {}
    state: dict[str, dict[str, Any]] = {}
    for name, part in parts.items():
        values = part.state_dict()
        state[name] = {key: value for key, value in values.items() if not isinstance(value, Tensor)}
        tensors |= {f"{name}.{key}": value for key, value in values.items() if isinstance(value, Tensor)}
    return engine.whole(tensors, keep=keep), state


def restore(parts: Mapping[str, Stateful], tensors: Mapping[str, Tensor], state: RunState | None = None) -> None:
    """Restores the parts in their order.

    Args:
        parts: parts of the resumed run, or what a job learns (`Job.learned`).
        tensors: tensors of the checkpoint.
        state: plain values of the checkpoint; None: the parts have tensors alone.
    """
    plain = state or {}
    for name, part in parts.items():
        own = {key.removeprefix(f"{name}."): value for key, value in tensors.items() if key.startswith(f"{name}.")}
        if name == RNG and _OLD_RNG in tensors:
            own = {TorchRng.KEY: tensors[_OLD_RNG]}
        part.load_state_dict({**plain.get(name, {}), **own})


class TorchRng:
    """torch's global generator. Only dropout layers draw from it; everything else is keyed (`unic.rng`)."""

    KEY = "torch"

    def state_dict(self) -> dict[str, Tensor]:
        return {self.KEY: torch.get_rng_state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        torch.set_rng_state(state[self.KEY])


class OptimizerState:
    """The state of a job's optimiser by index of the parameter, `12/exp_avg`. Its groups come from the recipe."""

    def __init__(self, job: Job) -> None:
        self._job = job  # not the optimiser, because FSDP2 replaces it

    def state_dict(self) -> dict[str, Tensor]:
        states = self._job.optimizer.state_dict()["state"]
        return {f"{index}/{key}": value for index, state in states.items() for key, value in state.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        states: dict[int, dict[str, Tensor]] = {}
        for name, value in state.items():
            index, _, key = name.partition("/")
            states.setdefault(int(index), {})[key] = value
        optimizer = self._job.optimizer
        optimizer.load_state_dict({"state": states, "param_groups": optimizer.state_dict()["param_groups"]})
