"""Distances between the images of a batch: those that the teacher holds close are pulled, the others pushed apart.

After the asymmetric relational loss of SigLino (Chaybouti et al., CVPR 2026, arXiv 2512.20157). With the distances
d_ij = 1 − cos(z_i, z_j) of the student and e_ij = 1 − cos(y_i, y_j) of the teacher, CLS alone, and m_i the lower median
of e_ij over the other images j of the global batch,

    ℓ_i = mean_{j ≠ i} f_ij,  f_ij = max(0, d_ij − e_ij)² if e_ij ≤ m_i, else max(0, e_ij − d_ij)².

So a close pair may be closer than the teacher holds it, and a far pair farther. Cosine distance, square and a median
for each image are ours. z_j has no gradient: an image then learns by its own weight alone, in any number of processes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from unic.losses import base


class Loss(base.Loss):
    """Distances within the batch, one-sided."""

    kinds = ("cls",)
    needs_whole_batch = True

    def forward(self, prediction: Float[Tensor, "b d"], target: Float[Tensor, "b d"]) -> Float[Tensor, "b"]:
        z, y = F.normalize(prediction, dim=-1), F.normalize(target, dim=-1)
        all_z, first = base.gathered(z)
        all_y, _ = base.gathered(y)
        others = len(all_z) - 1
        if not others:
            return 0 * prediction.sum(1)
        student, teacher = 1 - z @ all_z.T, 1 - y @ all_y.T
        place = torch.arange(len(all_z), device=z.device)
        is_self = place == first + place[: len(z), None]
        middle = teacher.masked_fill(is_self, torch.inf).sort(dim=1).values[:, (others - 1) // 2, None]
        off = torch.where(teacher <= middle, student - teacher, teacher - student).clamp(min=0)
        return off.square().masked_fill(is_self, 0).sum(1) / others
