"""The weights that a student started from, for `train.pull`, `train.interpolate` and `data.train.anchor`.

Every checkpoint of such a run holds them, so that a resume does not depend on where they came from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from unic.arguments import argument
from unic.errors import InputError
from unic.recipe.schema import Recipe
from unic.runs.checkpoint import with_prefix, without_prefix
from unic.training import anchor
from unic.training.anchor import Anchor
from unic.training.job import Job
from unic.training.resample import resampled

_STUDENT = "student."


class Start:
    """The start of a run's student.

    Args:
        weights: by name, whole; empty: nothing in the run needs them.
        anchor: anchor of the stage; it gets the weights that are restored.

    Attributes:
        weights: as above.
    """

    def __init__(self, weights: dict[str, Tensor], anchor: Anchor | None = None) -> None:
        self.weights, self._anchor = weights, anchor

    @staticmethod
    def of(job: Job, plans: Sequence[Recipe]) -> Start:
        """A copy of the weights of a student that is not trained yet, if a stage needs them."""
        if not any(is_kept(plan) for plan in plans):
            return Start({})
        return Start({name: tensor.detach().clone() for name, tensor in job.student.state_dict().items()}, job.anchor)

    def carried(self, trained: Mapping[str, Tensor], before: Job, after: Job) -> Start:
        """The start in the shapes of the next stage.

        Args:
            trained: the distiller's tensors, whole.
            before: the stage that has ended.
            after: the next one.
        """
        if not self.weights:
            return Start({})
        both = {**trained, **with_prefix(_STUDENT, self.weights)}
        shaped = resampled(both, after.distiller, before.own_grid, after.own_grid)
        carried = Start({}, after.anchor)
        carried._take(without_prefix(_STUDENT, shaped))
        return carried

    def state_dict(self) -> dict[str, Tensor]:
        return self.weights

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restores the weights from a checkpoint, if this run needs them.

        Raises:
            InputError: the checkpoint does not have them.
        """
        if self.weights and not state:
            raise InputError(
                f"{argument('resume')}: train.interpolate needs the weights that the student started from, and the "
                "checkpoints of this run do not hold them; begin a new run"
            )
        if self.weights:
            self._take(dict(state))

    def _take(self, weights: dict[str, Tensor]) -> None:
        self.weights = weights
        if self._anchor:
            self._anchor.load(weights)


def is_kept(plan: Recipe) -> bool:
    """Whether a stage needs the start."""
    return plan.train.pull > 0 or plan.train.interpolate is not None or anchor.is_asked(plan)
