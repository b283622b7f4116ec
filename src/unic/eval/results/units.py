"""Units of scores, by the name of a measure: `top-1 %` is a percentage, `rmse` is not."""

from __future__ import annotations


def is_percentage(measure: str) -> bool:
    """Whether scores are on a scale from 0 to 100."""
    return measure.endswith("%")


def number(value: float, measure: str, sign: str = "") -> str:
    """The text of a score or of a difference: one decimal of a percentage, else three digits.

    Args:
        value: the number.
        measure: name of its measure, or its unit alone.
        sign: "+" if positive numbers have a sign as well.
    """
    return f"{value:{sign}.1f}" if is_percentage(measure) else f"{value:{sign}.3g}"
