"""Views of several sizes (`data.sizes`): the student sees them as they are, and so do teachers that can take them.

Without `data.sizes` views are resized to the input size of each model; `enlargement` warns where that wastes time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from unic.encoders import Encoder, parse_uri
from unic.encoders.base import Size, check_multiple
from unic.errors import InputError
from unic.recipe.sections import DataSection, StudentSection
from unic.tokens import Grid

_ENLARGED = 2.0  # warn if a teacher's input is so many times as large as the views


@dataclass(frozen=True)
class Resolutions:
    """The size at which each model sees each size of views; empty if all views have one size.

    Attributes:
        grids: the student's patch grid at each size.
        taken: the sizes that each teacher takes as they are; it resizes others to its `input_size`.
    """

    grids: Mapping[Size, Grid] = field(default_factory=dict)
    taken: Mapping[str, frozenset[Size]] = field(default_factory=dict)

    def describe(self) -> str:
        """One line: `views of 96 and 128 px; seen as they are: student, lite0 (128); at their own size: ocr`."""
        listed = [f"{name}{'' if len(sizes) == len(self.grids) else f' ({_sides(sizes)})'}"
                  for name, sizes in self.taken.items() if sizes]  # fmt: skip
        rest = [name for name, sizes in self.taken.items() if not sizes]
        line = f"views of {_sides(self.grids)} px; seen as they are: {', '.join(['student', *listed])}"
        return f"{line}; at their own size: {', '.join(rest)}" if rest else line


def resolutions(data: DataSection, student: Encoder, teachers: Mapping[str, Encoder]) -> Resolutions:
    """The sizes of a recipe's `data.sizes` that each encoder takes.

    A teacher whose URI names a size always gets views of that size.

    Raises:
        InputError: the student cannot take one of the sizes, or its own, at which it is evaluated, is not among them.
    """
    if data.sizes is None:
        return Resolutions()
    where, own = f"student '{student.uri}'", student.input_size
    sizes = [(side, side) for side in sorted(set(data.sizes))]
    grids = {size: _student_grid(student, size, where) for size in sizes}
    if own not in grids:
        raise InputError(
            f"{where}: data.sizes ({_sides(grids)}) must include {_side(own)} px, at which it is evaluated and exported"
        )
    taken = {
        name: frozenset(() if _names_size(teacher) else (size for size in sizes if teacher.grid_at(size)))
        for name, teacher in teachers.items()
    }
    return Resolutions(grids, taken)


def training_size(asked: StudentSection, student: Encoder) -> Size | None:
    """The size that `student.train_size` asks for; None: the student's own.

    Raises:
        InputError: the student cannot take it.
    """
    if asked.train_size is None or (asked.train_size, asked.train_size) == student.input_size:
        return None
    size = (asked.train_size, asked.train_size)
    _student_grid(student, size, f"student '{student.uri}'", "student.train_size")
    return size


def enlargement(side: int, size: Size, *, is_student: bool) -> str | None:
    """A warning if views of `side` px are enlarged for a model with input `size`; None if they are not.

    Some teachers have a fixed size, so for teachers the warning starts at twice the side.
    """
    times = max(size) / side
    if times <= 1 or (times < _ENLARGED and not is_student):
        return None
    advice = f"set data.size={max(size)} or a smaller input size" if is_student else "set a smaller input size"
    enlarged = f"views of {side} px are enlarged to {size[0]}x{size[1]}"
    return f"{enlarged}, which costs time and adds no information; {advice} (an option of its URI)"


def _student_grid(student: Encoder, size: Size, where: str, key: str = "data.sizes") -> Grid:
    grid = student.grid_at(size)
    if grid is None:
        patch_size = getattr(getattr(getattr(student, "model", None), "patch_embed", None), "patch_size", None)
        if patch_size is not None:
            check_multiple(f"{where}: {key}", size, patch_size)
        raise InputError(f"{where}: its architecture has a fixed input size; leave out {key}")
    return grid


def _names_size(teacher: Encoder) -> bool:
    return parse_uri(teacher.uri).input_size() is not None


def _sides(sizes: Mapping[Size, Grid] | frozenset[Size]) -> str:
    return ", ".join(_side(size) for size in sorted(sizes))


def _side(size: Size) -> str:
    return str(size[0]) if size[0] == size[1] else f"{size[0]}x{size[1]}"
