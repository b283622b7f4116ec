"""The plain values in a checkpoint of a run: one mapping for each part that has a state (`unic.training.parts`).

Checkpoints of earlier versions have another layout, which is converted here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from unic.arguments import argument
from unic.errors import InputError
from unic.runs import checkpoint

# Names of the parts, in the order in which they are restored: parts that may refuse a resume come first.
IDENTITY = "identity"
RECORD = "models"
PLACES = "places"
POSITION = "position"
DAMAGED = "damaged"
DISTILLER = "distiller"
STANDARDIZER = "standardizer"
WEIGHTING = "weighting"
LOSSES = "losses"
EMA = "ema"
START = "start"
OPTIMIZER = "optimizer"
RNG = "rng"
GUARD = "guard"
PATIENCE = "patience"
SAVER = "saver"

RunState = Mapping[str, Mapping[str, Any]]
"""The plain values of each part, by its name. A part that an earlier version did not save is missing."""


@runtime_checkable
class Stateful(Protocol):
    """A part with a state of its own."""

    def state_dict(self) -> Mapping[str, Any]:
        """Tensors, perhaps sharded, and values that JSON can hold."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> object:
        """Restores a state with whole tensors. An empty state means that the checkpoint does not have this part."""
        ...


@dataclass
class Position:
    """The position of a run: its stage, and the newest step.

    Attributes:
        stage: index of the stage.
        first: number of steps of the stages before this one.
        first_epoch: number of epochs of the stages before this one; an epoch that was begun counts.
        step: the newest finished step, counted through all stages.
        is_finished: whether the stage has ended, at its last step or by `eval.patience`; None: an earlier version of
            unic wrote the checkpoint and did not say.
    """

    stage: int = 0
    first: int = 0
    first_epoch: int | None = 0
    step: int = 0
    is_finished: bool | None = False

    @classmethod
    def of(cls, state: RunState | None) -> Position | None:
        """The position in the state of a checkpoint; None without a state."""
        return None if state is None else cls(**state[POSITION])

    def has_ended(self, num_stages: int) -> bool:
        """Whether the training of a recipe with so many stages has ended; `is_finished` None counts as ended."""
        return self.is_finished is not False and self.stage + 1 >= max(1, num_stages)

    def state_dict(self) -> dict[str, Any]:
        return asdict(self)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes over the position of a checkpoint.

        Raises:
            InputError: the checkpoint is of a later stage and of a version that ordered images in another way.
        """
        if state["first_epoch"] is None and state["stage"]:
            raise InputError(
                f"{argument('resume')}: an earlier version of unic, which orders images in another way, wrote this "
                "checkpoint of a later stage; start a new run"
            )
        self.stage, self.first, self.step = state["stage"], state["first"], state["step"]
        self.first_epoch = state["first_epoch"] or 0
        self.is_finished = bool(state["is_finished"])


def newest_state(run: Path) -> RunState | None:
    """The state in a run's newest checkpoint, whose tensors are not read; None without checkpoints."""
    found = checkpoint.newest_state(run)
    return None if found is None else as_parts(*found)


def has_ended(run: Path, num_stages: int) -> bool:
    """Whether the training in a run folder has ended.

    Args:
        run: the folder.
        num_stages: number of stages of its recipe.
    """
    position = Position.of(newest_state(run))
    return position is not None and position.has_ended(num_stages)


def as_parts(step: int, state: Mapping[str, Any]) -> RunState:
    """The state in a checkpoint of any version of unic, by parts.

    Args:
        step: the step of the checkpoint.
        state: its plain values, as `unic.runs.checkpoint` reads them.
    """
    return state if POSITION in state else _of_flat(step, state)


def _of_flat(step: int, state: Mapping[str, Any]) -> RunState:
    """Converts the state of versions before 0.3, which had no parts."""
    parts: dict[str, Mapping[str, Any]] = {
        IDENTITY: state["identity"],
        POSITION: {
            "stage": state.get("stage", 0),
            "first": state.get("first", 0),
            "first_epoch": state.get("first_epoch"),
            "step": step,
            "is_finished": state.get("is_finished"),
        },
        DAMAGED: state.get("damaged", {}),
        GUARD: state.get("guard", {}),
        PATIENCE: {**state.get("patience", {}), "queries": state.get("queries")} if state.get("patience") else {},
        PLACES: {key: state[key] for key in ("folder", "written") if key in state},
        SAVER: {"best": state.get("best"), "queries": state.get("queries")},
    }
    return parts | ({RECORD: state["models"]} if "models" in state else {})
