"""The sets that results.json names, to open them again."""

from __future__ import annotations

from unic.errors import InputError
from unic.eval.results.schema import Protocol
from unic.recipe.references import resolve


def measured_sets(protocol: Protocol) -> tuple[list[str], dict[str, str]]:
    """The measured sets, unseen ones last, with environment variables resolved.

    Returns:
        Paths of the sets, and the text with the variable for each value that came from the environment.
    """
    named = [spec for spec in (*protocol.data, *protocol.unseen) if spec not in protocol.missing]
    try:
        tree, written = resolve({"data": named}, "results.json", may_miss=True)
    except InputError:
        return named, {}
    return tree["data"], written
