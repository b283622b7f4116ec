"""How models look: the same colour, dash and marker in every chart of a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from unic.reporting.draw.svg import Point, Series, palette
from unic.reporting.read.scores import Scores

OWN, REST = "--student", "--soft"  # the colours of the student and of what is neither student nor teacher


def colours(student: str | None, teachers: Sequence[str]) -> dict[str, str]:
    """One CSS variable for the student and each teacher."""
    named = {name: palette(index) for index, name in enumerate(teachers)}
    return named | ({student: OWN} if student else {})


@dataclass(frozen=True)
class Looks:
    """The colour of every model, and its style: index of its dash pattern and of its marker."""

    colour: Mapping[str, str]
    style: Mapping[str, int]

    @classmethod
    def of(cls, scores: Scores, teachers: Sequence[str] = ()) -> Looks:
        """Styles in order: the student (0), the recipe's `teachers`, other measured teachers, all other models.

        The pictures call the student "student", so that name has its colour too.
        """
        named = list(dict.fromkeys([*teachers, *scores.teachers]))
        rest = [name for name in scores.names if name != scores.student and name not in named]
        style = {name: index for index, name in enumerate([*named, *rest], start=1)}
        return cls({"student": OWN} | colours(scores.student, named), style | {scores.student or "student": 0})

    def series(self, name: str, points: Sequence[Point] = ()) -> Series:
        return Series(name, self.colour.get(name, REST), points, self.style[name])

    def legend(self, names: Sequence[str]) -> list[Series]:
        return [self.series(name) for name in names]
