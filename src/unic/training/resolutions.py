"""Views of several sizes (`data.sizes`): the student sees each as it is, and so does a teacher that can and may.

Views of one size come to every model resized to its own input; `enlargement` says where that wastes time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from unic.encoders import Encoder, parse_uri
from unic.encoders.base import Size, check_multiple
from unic.errors import InputError
from unic.recipe.sections import DataSection, StudentSection
from unic.tokens import Grid

_ENLARGED = 2.0  # sides of a teacher's input to sides of views that are worth a warning


@dataclass(frozen=True)
class Resolutions:
    """Who sees what at each size of views; nothing in it where all views have one size.

    Attributes:
        grids: the student's patch grid at each size.
        taken: the sizes that each teacher takes as they are; others it resizes to its `input_size`.
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
    """What a recipe's `data.sizes` mean for these encoders.

    A teacher whose URI names its size keeps it: it was chosen.

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
            f"{where}: it is evaluated and exported at {_side(own)} px, which is not among data.sizes {_sides(grids)}"
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
    """What to say of views of `side` px for a model that sees `size`; None where nothing is to be said.

    A teacher may be made for one size, so it is warned of from twice the side on; a student's size was chosen.
    """
    times = max(size) / side
    if times <= 1 or (times < _ENLARGED and not is_student):
        return None
    advice = f"set data.size={max(size)}, or give it a smaller input size" if is_student else "give it a smaller size"
    return f"views of {side} px are enlarged to its {size[0]}x{size[1]}: slow, and nothing is gained; {advice}"


def _student_grid(student: Encoder, size: Size, where: str, key: str = "data.sizes") -> Grid:
    grid = student.grid_at(size)
    if grid is None:
        patch_size = getattr(getattr(getattr(student, "model", None), "patch_embed", None), "patch_size", None)
        if patch_size is not None:
            check_multiple(f"{where}: {key}", size, patch_size)
        raise InputError(f"{where}: this architecture takes one size; leave out {key}")
    return grid


def _names_size(teacher: Encoder) -> bool:
    return parse_uri(teacher.uri).input_size() is not None


def _sides(sizes: Mapping[Size, Grid] | frozenset[Size]) -> str:
    return ", ".join(_side(size) for size in sorted(sizes))


def _side(size: Size) -> str:
    return str(size[0]) if size[0] == size[1] else f"{size[0]}x{size[1]}"
