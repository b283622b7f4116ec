"""Moving average of what is trained: w̄ ← d·w̄ + (1 − d)·w with d = min(decay, (1 + s)/(10 + s)) after step s.

The small d of early steps is TensorFlow's (`tf.train.ExponentialMovingAverage`, `num_updates`): early weights are soon
forgotten. Projectors are averaged too, so that a kept head fits the averaged student.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor


class Ema:
    """Averages a module's floating-point tensors; others are copied.

    Args:
        module: the trained module; shards (DTensor) are averaged as shards.
        decay: in (0, 1).
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self._module, self._decay = module, decay
        self.tensors = {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}

    def follow(self, module: nn.Module) -> None:
        """Shards the averages like the module's tensors, which may have been sharded since."""
        self._module = module
        for name, tensor in module.state_dict().items():
            if isinstance(tensor, DTensor):
                self.tensors[name] = distribute_tensor(self.tensors[name], tensor.device_mesh, tensor.placements)

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Updates the averages after the optimiser's step `step` (from 1)."""
        decay = min(self._decay, (1 + step) / (10 + step))
        averages, now = [], []
        for name, tensor in self._module.state_dict().items():
            average = self.tensors[name]
            if average.is_floating_point():
                averages.append(_own(average))
                now.append(_own(tensor))
            else:
                average.copy_(tensor)
        torch._foreach_mul_(averages, decay)  # a few kernels on a GPU, not two for each tensor
        torch._foreach_add_(averages, now, alpha=1 - decay)

    def state_dict(self) -> dict[str, Tensor]:
        return self.tensors

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Takes over whole tensors (before sharding)."""
        for name, average in self.tensors.items():
            average.copy_(state[name])


def _own(tensor: Tensor) -> Tensor:
    """The part of a tensor that this process holds, sharing its memory."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor
