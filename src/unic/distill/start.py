"""The weights that a student started from, for what goes back to them (`train.pull`, `train.interpolate`,
`data.train.anchor`).

Every checkpoint of such a run holds them. So a resume neither asks where they once came from nor guesses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from unic.arguments import argument
from unic.checkpoint import with_prefix, without_prefix
from unic.config import Recipe
from unic.distill import anchor, stages
from unic.distill.job import Job
from unic.errors import InputError

_STUDENT = "student."


def is_kept(plan: Recipe) -> bool:
    """Whether a stage needs it."""
    return plan.train.pull > 0 or plan.train.interpolate is not None or anchor.is_asked(plan)


def start_of(job: Job, plans: Sequence[Recipe]) -> dict[str, Tensor]:
    """A copy of the weights of a student that has not been trained yet; empty where no stage needs them."""
    if not any(is_kept(plan) for plan in plans):
        return {}
    return {name: tensor.detach().clone() for name, tensor in job.student.state_dict().items()}


def restored(start: Mapping[str, Tensor], saved: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What the checkpoint holds, if this run needs it.

    Args:
        start: of the run as it was built anew.
        saved: of the checkpoint.

    Raises:
        InputError: the run began without.
    """
    if start and not saved:
        raise InputError(
            f"{argument('resume')}: train.interpolate needs the weights that the student started from, which this run "
            "does not keep; begin a new run with it"
        )
    return dict(saved) if start else {}


def carried(start: Mapping[str, Tensor], trained: Mapping[str, Tensor], before: Job, after: Job) -> dict[str, Tensor]:
    """The start in the shapes of the next stage; `trained`: the distiller's tensors, whole."""
    if not start:
        return {}
    both = {**trained, **with_prefix(_STUDENT, dict(start))}
    return without_prefix(_STUDENT, stages.resampled(both, after.distiller, before.own_grid, after.own_grid))
