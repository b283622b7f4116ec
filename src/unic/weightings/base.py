"""`Weighting`, the base class of the weightings: how much each pair of teacher and image counts in the loss.

The loss of a step is numerator / denominator, both added up over its micro-batches and processes. By default they are
Σ c·ℓ and Σ c over all pairs of the global batch, c detached.

A recipe may give teacher t a weight w[t] (`teachers.models.T.weight`). It acts after the weighting: the loss is
Σ w·c·ℓ / Σ w·c. So a teacher of weight 2 counts like two teachers, and the loss keeps its scale. What a weighting
draws, compares and learns is without w: the hardest teacher of an image is the one with the largest ℓ, and a weighting
that balances the teachers (`gradnorm`, `adaloss`) does not balance the weights away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from unic.finite_updates import update_if_finite


@dataclass(frozen=True)
class Pairs:
    """The pairs of teacher and image of a micro-batch of one process. Nothing here has a gradient.

    Attributes:
        losses: ℓ[t, i] of each teacher and image.
        step: counted through all stages, from 1; keys random draws.
        index: index of the images; keys random draws.
        owned: whether the teacher owns the image (`data.train.teachers`); None: all own all.
        cls: the student's CLS of each image, after its last block.
        gradients: for each teacher Σ_i ‖∂(Σ c·ℓ[t])/∂x_i‖², with x_i the tokens of image i after the student's last
            block. Complete after the backward pass; None unless the weighting `needs_gradients`. In `observe` it is
            without the weights of the recipe.
    """

    losses: Float[Tensor, "t b"]
    step: int
    index: Int[Tensor, "b"]
    owned: Bool[Tensor, "t b"] | None = None
    cls: Float[Tensor, "b d"] | None = None
    gradients: Float[Tensor, "t"] | None = None


class Weighting(nn.Module):
    """A weighting. A file of this folder holds a subclass of the same name; its keyword-only arguments are options.

    A weighting with a state keeps it in buffers, which are saved in checkpoints. It looks at the pairs in `observe` and
    changes its state in `update` alone. Nothing in a step may wait for the device (`item`, `bool` of a tensor, …).

    Args:
        num_teachers: T.
        seed: seed of the run; it keys draws (`unic.rng`), so they do not depend on the number of processes.

    Attributes:
        needs_whole_batch: `coefficients` must see the batch of a process at once: no `train.micro_batches`.
        knows_owners: it works where a source names the teachers that own its images.
        needs_gradients: `Pairs.gradients` must be measured: no `train.compile`.
    """

    needs_whole_batch = False
    knows_owners = True
    needs_gradients = False
    teacher_weights: Float[Tensor, "t"] | None

    def __init__(self, num_teachers: int, seed: int) -> None:
        super().__init__()
        self.num_teachers, self.seed = num_teachers, seed
        self.register_buffer("teacher_weights", None, persistent=False)

    def weigh(self, weights: Sequence[float]) -> None:
        """Sets the weights of the recipe, w[t]. They are of the recipe, not of the state."""
        if any(weight != 1 for weight in weights):
            self.register_buffer("teacher_weights", torch.tensor(weights, dtype=torch.float32), persistent=False)

    def prepare(self, width: int) -> None:
        """Makes buffers whose shape depends on the student; called once, before anything else.

        Args:
            width: number of channels of `Pairs.cls`.
        """

    def coefficients(self, pairs: Pairs) -> Float[Tensor, "t b"]:
        """c[t, i] ≥ 0, detached; 0 where the teacher does not own the image. Changes no state."""
        raise NotImplementedError

    def sums(
        self, losses: Float[Tensor, "t b"], coefficients: Float[Tensor, "t b"]
    ) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """Numerator and denominator of the loss; both add up over micro-batches and processes.

        Args:
            losses: ℓ[t, i], with gradient.
            coefficients: w[t]·c[t, i].
        """
        return (coefficients * losses).sum(), coefficients.sum()

    def weighted_sums(
        self, losses: Float[Tensor, "t b"], coefficients: Float[Tensor, "t b"]
    ) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """`sums` with the weights of the recipe.

        Args:
            losses: ℓ[t, i], with gradient.
            coefficients: c[t, i].
        """
        w = self.teacher_weights
        return self.sums(losses, coefficients if w is None else coefficients * w[:, None])

    def observe(self, pairs: Pairs, coefficients: Float[Tensor, "t b"]) -> Float[Tensor, "..."] | None:
        """Sums over a micro-batch that `update` needs, after its backward pass; None: nothing is needed.

        They are added up over the micro-batches and processes of the step.

        Args:
            pairs: the argument of `coefficients`.
            coefficients: the result of `coefficients`.
        """
        return None

    def observe_unweighted(self, pairs: Pairs, coefficients: Float[Tensor, "t b"]) -> Float[Tensor, "..."] | None:
        """`observe` with the gradients of Σ c·ℓ, where those of Σ w·c·ℓ were measured. Arguments are the same."""
        if pairs.gradients is not None and self.teacher_weights is not None:
            pairs = replace(pairs, gradients=pairs.gradients / self.teacher_weights.square())
        return self.observe(pairs, coefficients)

    def update(self, observed: Float[Tensor, "..."]) -> None:
        """Changes the state at the end of a step, from the sums over its whole global batch.

        Args:
            observed: sum of the results of `observe`.
        """

    def end_step(self, observed: Float[Tensor, "..."] | None) -> None:
        """`update`, unless something in the sums is not finite: such a step leaves the state as it is."""
        if observed is not None:
            update_if_finite(self, self.update, observed)


def loss_sums(pairs: Pairs) -> Float[Tensor, "t 2"]:
    """For each teacher the sum of its losses and the number of its images, of those that it owns."""
    owned = torch.ones_like(pairs.losses) if pairs.owned is None else pairs.owned.to(pairs.losses.dtype)
    return torch.stack([(owned * pairs.losses).sum(1), owned.sum(1)], dim=1)


def of_owners(weights: Float[Tensor, "t"], pairs: Pairs) -> Float[Tensor, "t b"]:
    """One weight for all images of a teacher, 0 where it does not own the image."""
    spread = weights[:, None].expand_as(pairs.losses)
    return spread if pairs.owned is None else spread * pairs.owned
