"""What `kept/T` in the log is: a share of images, or a mean weight, which may be above 1."""

from __future__ import annotations

from unic.recipe.schema import Recipe

_DROPPING = ("uniform", "teacher_dropping", "random_teacher")  # a pair of teacher and image counts, or it does not
_SHARE = "the share of images for which the loss to the teacher counts"
_WEIGHT = "the mean weight of the teacher over the images, which the weighting computes and which may be above 1"
_HARDEST = (
    "With teacher dropping the teacher that is imitated worst always counts, and each other one is left out at random: "
    "a share near 1 marks the hardest one."
)


def is_share(recipe: Recipe | None) -> bool:
    """Whether a run's weighting gives 0 and 1 only; assumed of a recipe that cannot be read."""
    return recipe is None or recipe.weighting.type in _DROPPING


def title(recipe: Recipe | None) -> str:
    """Title of the chart."""
    return "kept: share of images that count" if is_share(recipe) else "kept: mean weight of each teacher"


def meaning(recipe: Recipe | None, when: str) -> str:
    """Sentences that explain the numbers.

    Args:
        recipe: recipe of the run; None if it cannot be read.
        when: the images that they are of, "in a batch".
    """
    return f"kept: {_SHARE} {when}. {_HARDEST}" if is_share(recipe) else f"kept: {_WEIGHT}, {when}."
