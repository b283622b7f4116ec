"""Option `shared`: CLS and patches go through the same weights, so they must have the same widths."""

from __future__ import annotations

from collections.abc import Sequence

from unic.errors import InputError
from unic.kinds import Widths


def is_shared(shared: bool, rung_dims: Sequence[Widths], output_dims: Widths) -> bool:
    """Whether one set of weights serves both; a projector of either alone has nothing to share.

    Args:
        shared: the option.
        rung_dims: widths of CLS and patches at each block that the projector reads.
        output_dims: widths of the teacher's CLS and patches.

    Raises:
        InputError: CLS and patches differ in width, at the student or at the teacher.
    """
    if not shared or 0 in output_dims:
        return False
    for owner, dims in [*(("the student", dims) for dims in rung_dims), ("a teacher", output_dims)]:
        if dims[0] != dims[1]:
            raise InputError(
                "recipe: 'projector.shared' needs CLS and patches of the same width; "
                f"{owner} has CLS of {dims[0]} and patches of {dims[1]} channels"
            )
    return True
