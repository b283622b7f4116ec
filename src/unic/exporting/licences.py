"""The licence of a student: the strictest licence of the models it was made from, and the models of unknown licence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from unic.encoders.base import NO_LICENCE, UNKNOWN

# From the most to the least permissive. The terms of other licences are not known here, so each of them is named.
_STRICTNESS = ("cc0-1.0", "unlicense", "mit", "isc", "bsd-2-clause", "bsd-3-clause", "apache-2.0", "cc-by-4.0",
               "cc-by-sa-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0", "cc-by-nc-nd-4.0")  # fmt: skip
_BINDING = _STRICTNESS.index("cc-by-sa-4.0")  # from here on a licence asks for more than a notice
_AND = " and "


@dataclass(frozen=True)
class Licence:
    """The licence that a student inherits.

    Attributes:
        names: the strictest known licence, and each licence whose terms cannot be compared. Empty if none is known.
        sources: for each name, a model that it comes from.
        unknown: models of unknown licence.
    """

    names: tuple[str, ...]
    sources: tuple[str, ...]
    unknown: tuple[str, ...]

    @property
    def text(self) -> str | None:
        """One line: `cc-by-nc-4.0`, `mit and unknown`; None where there was nothing to license."""
        return _AND.join([*self.names, *([UNKNOWN] if self.unknown else [])]) or None

    @property
    def listed(self) -> str | None:
        """The name on the Hugging Face hub, if a single licence applies and the hub lists it; else None."""
        name = self.names[0].lower() if len(self.names) == 1 and not self.unknown else ""
        return name if name in _STRICTNESS else None


def student_licence(licences: Mapping[str, str | None]) -> Licence:
    """The licence that a student inherits.

    Args:
        licences: by model (`Encoder.licence`). The text of an earlier student (`Licence.text`) is split at "and".
    """
    pairs = [
        (part, model)
        for model, licence in licences.items()
        if licence != NO_LICENCE
        for part in (licence or UNKNOWN).split(_AND)
    ]
    unknown = tuple(dict.fromkeys(model for part, model in pairs if part.lower() == UNKNOWN))
    known = [(part, model) for part, model in pairs if part.lower() != UNKNOWN]
    others = {part.lower(): (part, model) for part, model in reversed(known) if part.lower() not in _STRICTNESS}
    listed = [pair for pair in known if pair[0].lower() in _STRICTNESS]
    binding = list(others.values())[::-1]
    if listed:
        strictest = max(listed, key=lambda pair: _STRICTNESS.index(pair[0].lower()))
        if not binding or _STRICTNESS.index(strictest[0].lower()) >= _BINDING:
            binding.insert(0, strictest)
    return Licence(tuple(name for name, _ in binding), tuple(model for _, model in binding), unknown)
