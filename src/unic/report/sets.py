"""The sets that results.json names, to open them again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unic.errors import InputError
from unic.references import resolve


def measured_sets(results: Mapping[str, Any]) -> tuple[list[str], dict[str, str]]:
    """Those that were there, as they can be opened, the unseen ones last; and how what came from the environment is
    written.
    """
    protocol = results.get("protocol")
    protocol = protocol if isinstance(protocol, Mapping) else {}
    known = [
        spec for specs in (protocol.get("data"), protocol.get("unseen")) if isinstance(specs, list) for spec in specs
    ]
    named = [str(spec) for spec in known if str(spec) not in (protocol.get("missing") or ())]
    try:
        tree, written = resolve({"data": named}, "results.json", may_miss=True)
    except InputError:
        return named, {}
    return tree["data"], written
