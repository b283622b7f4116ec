"""An unseen set is no source of training: a recipe that trains on one is refused before it begins."""

from __future__ import annotations

from collections.abc import Sequence

from unic.data.sources.shared_files import share_files
from unic.errors import InputError
from unic.eval.plan import Plan


def refuse_trained(plan: Plan, sources: Sequence[str]) -> None:
    """Compares where the images lie; copies elsewhere are found by `unic check` alone, which looks at the images.

    Args:
        plan: what is measured.
        sources: paths of `data.train`, of all stages.

    Raises:
        InputError: a source is an unseen set, a part of one, or a folder around one.
    """
    for pair in plan.unseen:
        for part in (pair, *pair.parts.values()):
            for source in sources:
                if share_files(source, part.train.path) or share_files(source, part.test.path):
                    raise InputError(
                        f"eval.suite: '{pair.name}' is unseen, and '{source}' of data.train has its images; "
                        "leave that source out, or name the set in 'data' of the suite, not in 'unseen'"
                    )
