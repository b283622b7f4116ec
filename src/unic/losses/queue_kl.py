"""Similarities as the teacher has them: of CLS to a queue of earlier images, of patches to the image's other patches.

With the softmax over keys k at the temperature τ, ℓ = KL(p ‖ q) = Σ_k p_k · (log p_k − log q_k):

    CLS    p = softmax(cos(y, k) / τ), q = softmax(cos(z, k) / τ); k: the teacher's CLS of the last `length` images
    patch  p_i = softmax_{j ≠ i}(cos(y_i, y_j) / τ), q_i = softmax_{j ≠ i}(cos(z_i, z_j) / τ); mean over the patches i

The queue is that of SEED (Fang et al., ICLR 2021, arXiv 2101.04731), with one temperature for both, so that the loss is
0 at the target. Similarities between patches are those of CIRKD (Yang et al., CVPR 2022, arXiv 2204.06986) within one
image. The queue begins empty, and takes in the images of a step at its end.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from unic.errors import InputError
from unic.kinds import Widths
from unic.losses import base

_BELOW = 1e4  # from the least logit that a key can have to one whose probability is 0; infinity would give 0 · ∞


class Loss(base.Loss):
    """Divergence of similarities.

    Args:
        dims: widths of the teacher's CLS and patches.
        length: length of the queue, in images.
        temperature: τ.
    """

    queue: Tensor
    seen: Tensor

    def __init__(self, dims: Widths, *, length: int = 4096, temperature: float = 0.1) -> None:
        super().__init__(dims)
        if length < 1:
            raise InputError(f"recipe: 'loss.queue_kl.length' must be at least 1 (got {length})")
        if not 0 < temperature < math.inf:
            raise InputError(f"recipe: 'loss.queue_kl.temperature' must be finite and above 0 (got {temperature})")
        self.length, self.temperature = length, temperature
        self.register_buffer("queue", torch.zeros(length, dims[0]))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))  # number of images that ever were in it

    def forward(self, prediction: Float[Tensor, "b *n d"], target: Float[Tensor, "b *n d"]) -> Float[Tensor, "b"]:
        z, y = F.normalize(prediction, dim=-1), F.normalize(target, dim=-1)
        if z.ndim == 2:
            is_empty = torch.arange(self.length, device=z.device) >= self.seen
            return self._divergence(z @ self.queue.T, y @ self.queue.T, is_empty)
        is_self = torch.eye(z.shape[1], dtype=torch.bool, device=z.device)
        return self._divergence(z @ z.mT, y @ y.mT, is_self).mean(1)

    def _divergence(
        self, student: Float[Tensor, "... k"], teacher: Float[Tensor, "... k"], is_left_out: Tensor
    ) -> Float[Tensor, "..."]:
        """KL(p ‖ q) of similarities; 0 where all keys are left out."""
        never = -1 / self.temperature - _BELOW
        log_q, log_p = (
            (similarity / self.temperature).masked_fill(is_left_out, never).log_softmax(-1)
            for similarity in (student, teacher)
        )
        return (log_p.exp() * (log_p - log_q)).sum(-1)

    def update(self, cls: Float[Tensor, "b d"]) -> None:
        newest = F.normalize(cls[-self.length :], dim=-1)
        slots = (self.seen + torch.arange(len(newest), device=cls.device)) % self.length
        self.queue.index_copy_(0, slots, newest)
        self.seen.add_(len(newest))
