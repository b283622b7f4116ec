"""The sets that results.json names, to open them again."""

from __future__ import annotations

from unic.errors import InputError
from unic.eval.results.schema import Protocol
from unic.recipe.references import resolve


def measured_sets(protocol: Protocol) -> tuple[list[str], dict[str, str]]:
    """Those that were there, as they can be opened, the unseen ones last; and how what came from the environment is
    written.
    """
    named = [spec for spec in (*protocol.data, *protocol.unseen) if spec not in protocol.missing]
    try:
        tree, written = resolve({"data": named}, "results.json", may_miss=True)
    except InputError:
        return named, {}
    return tree["data"], written
