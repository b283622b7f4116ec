"""The rules of the first version of unic, which still apply to runs that it began (see `unic.training.recorded`).

They differ in the learning rate, in having no floor of σ, and in the mean and std of a URI that does not state them.
"""

from __future__ import annotations

import math

from unic.recipe.schema import Recipe


def under_first_rules(recipe: Recipe) -> Recipe:
    """The recipe without `standardize.floor`, which the first version did not have."""
    if "floor" not in recipe.standardize.options:
        return recipe
    known = {key: value for key, value in recipe.standardize.model_dump().items() if key != "floor"}
    return recipe.model_copy(update={"standardize": type(recipe.standardize).model_validate(known)})


def first_learning_rate(step: int, total_steps: int, warmup_steps: int, peak: float, last: float) -> float:
    """Rate of a step: a warm-up that reaches `peak` at its last step, a half cosine that reaches `last` at the end.

    Arguments: see `unic.training.optimizer.learning_rate`.
    """
    if step <= warmup_steps:
        return peak * step / warmup_steps
    progress = (step - warmup_steps) / max(total_steps - warmup_steps, 1)
    return last + (peak - last) * 0.5 * (1 + math.cos(math.pi * progress))
