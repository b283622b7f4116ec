"""Whose weights went into a student: the start and the teachers of all stages, with licence and revision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from unic.encoders import build_encoder, parse_uri
from unic.encoders._origin import origin_of
from unic.encoders.schemes.safetensors import as_timm
from unic.errors import InputError
from unic.exporting.licences import Licence, student_licence
from unic.recipe.schema import Recipe
from unic.training.recorded import Facts, Models

Source = Mapping[str, Any]
"""`uri`, `licence` (see `Encoder.licence`) and `revision` of one model, as an export writes them."""


@dataclass(frozen=True)
class Provenance:
    """`start`: None for a student from scratch; `teachers`: by name."""

    start: Source | None
    teachers: Mapping[str, Source]

    @property
    def licence(self) -> Licence:
        """The licence that the student inherits."""
        licences = {name: source["licence"] for name, source in self.teachers.items()}
        return student_licence(licences if self.start is None else {"the start": self.start["licence"], **licences})


def provenance(plans: Sequence[Recipe], models: Models) -> Provenance:
    """The recorded facts of a run's models, or facts from their URIs if an earlier version recorded none.

    Args:
        plans: the stages that have been trained, with their URIs as recorded.
        models: see `unic.training.recorded`.
    """
    if models.student is not None:
        start = None if models.student.from_scratch else _source(models.student)
        return Provenance(start, {name: _source(facts) for name, facts in models.teachers.items()})
    uris = {name: uri for plan in plans for name, uri in plan.teachers.uris.items()}
    first = plans[0].student.model
    return Provenance(
        None if _is_scratch(first) else _source_of(first), {name: _source_of(uri) for name, uri in uris.items()}
    )


def _source(facts: Facts) -> Source:
    return {"uri": facts.uri, "licence": facts.licence, "revision": facts.revision}


def _is_scratch(uri: str) -> bool:
    spec = parse_uri(uri)
    return spec.scheme == "timm" and "checkpoint" not in spec.options and not spec.flag("pretrained", True)


def _source_of(uri: str) -> Source:
    """The source that a URI names, without loading weights where possible."""
    spec = parse_uri(uri)
    try:
        if spec.scheme in ("timm", "safetensors"):
            origin = origin_of(as_timm(spec) if spec.scheme == "safetensors" else spec)
            return {"uri": uri, "licence": origin.licence, "revision": None}
        encoder = build_encoder(uri)
    except InputError:
        return {"uri": uri, "licence": None, "revision": None}
    return {"uri": uri, "licence": encoder.licence, "revision": encoder.revision}
