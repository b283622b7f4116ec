"""A check that no recipe trains on the images of an unseen set, before the training begins."""

from __future__ import annotations

from collections.abc import Sequence

from unic.data.sources.shared_files import share_files
from unic.errors import InputError
from unic.eval.plan import Plan


def refuse_trained(plan: Plan, sources: Sequence[str]) -> None:
    """Refuses sources that share files with an unseen set. Paths are compared; `unic check` also compares the images.

    Args:
        plan: the plan of the evaluation.
        sources: paths of `data.train`, of all stages.

    Raises:
        InputError: a source is an unseen set, a part of one, or a folder that contains one.
    """
    for pair in plan.unseen:
        for part in (pair, *pair.parts.values()):
            for source in sources:
                if share_files(source, part.train.path) or share_files(source, part.test.path):
                    raise InputError(
                        f"eval.suite: '{pair.name}' is unseen, but '{source}' of data.train has its images; "
                        "remove that source, or list the set in 'data' of the suite instead of 'unseen'"
                    )
