"""The states of the losses that have one: how a step changes them, and what checkpoints keep of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from jaxtyping import Float
from torch import Tensor

from unic.losses import Loss, Weighted
from unic.tokens import Tokens


class LossStates:
    """The states of all losses. In a checkpoint each buffer is `TEACHER/LOSS/BUFFER`.

    Args:
        losses: losses of each teacher, by name.
    """

    def __init__(self, losses: Mapping[str, Mapping[str, Weighted]]) -> None:
        self._losses: dict[str, dict[str, Loss]] = {}
        for teacher, own in losses.items():
            for name, (_, loss) in own.items():
                if loss.state_dict():
                    self._losses.setdefault(teacher, {})[name] = loss

    def seen(self, targets: Mapping[str, Tokens]) -> dict[str, Float[Tensor, "b d"]]:
        """Part of a micro-batch that the states need: the CLS of some teachers."""
        return {teacher: targets[teacher].cls.float() for teacher in self._losses}

    def end_step(
        self, seen: Sequence[Mapping[str, Float[Tensor, "b d"]]], batch_size: int, accelerator: Accelerator
    ) -> None:
        """Changes the states at the end of a step that learns. Every process must call it.

        Args:
            seen: records of the micro-batches of this process, in their order.
            batch_size: number of images of all processes.
        """
        for teacher, losses in self._losses.items():
            whole = _gathered(torch.cat([part[teacher] for part in seen]), batch_size, accelerator)
            for loss in losses.values():
                loss.end_step(whole)

    def state_dict(self) -> dict[str, Tensor]:
        return {
            f"{teacher}/{name}/{key}": value
            for teacher, losses in self._losses.items()
            for name, loss in losses.items()
            for key, value in loss.state_dict().items()
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores the states of a checkpoint, which holds all of them."""
        for _, loss, own in self._with_states(state):
            loss.load_state_dict(own)

    def take_over(self, state: Mapping[str, Any]) -> list[str]:
        """Restores the states of the stage before, which may have had other losses.

        Returns:
            The losses, `TEACHER/LOSS`, that start anew: the stage before did not have them, or in another shape.
        """
        anew = []
        for name, loss, own in self._with_states(state):
            if _shapes(own) == _shapes(loss.state_dict()):
                loss.load_state_dict(own)
            else:
                anew.append(name)
        return anew

    def _with_states(self, state: Mapping[str, Any]) -> Iterator[tuple[str, Loss, dict[str, Any]]]:
        """Each loss with its name, `TEACHER/LOSS`, and its part of a state."""
        for teacher, losses in self._losses.items():
            for name, loss in losses.items():
                prefix = f"{teacher}/{name}/"
                own = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
                yield prefix.removesuffix("/"), loss, own


def _shapes(state: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {name: buffer.shape for name, buffer in state.items()}


def _gathered(rows: Float[Tensor, "b d"], batch_size: int, accelerator: Accelerator) -> Float[Tensor, "n d"]:
    """The rows of all processes in the order of the batch, whose shares differ by one row at most."""
    if accelerator.num_processes == 1:
        return rows
    sizes = [len(part) for part in torch.arange(batch_size).tensor_split(accelerator.num_processes)]
    padded = F.pad(rows, (0, 0, 0, sizes[0] - len(rows)))  # a collective takes equal shapes; the first share is largest
    parts = accelerator.gather(padded).split(sizes[0])
    return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])
