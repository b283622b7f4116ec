"""The models of an evaluation: their names, roles and vectors, and how each is loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any

import torch

from unic.encoders import load_encoder
from unic.encoders.base import Encoder
from unic.errors import InputError, nearest
from unic.eval.subject import Vector
from unic.eval.suite import Suite

ROLES = ("student", "teacher", "concat", "pixels", "other")
CONCAT = "concat"  # the name of the model that evaluation adds to two or more teachers

Model = str | Encoder | Sequence[str]  # a URI, an encoder, or the names of the models whose vectors are concatenated
Heads = Mapping[str, Callable[[], Encoder]]  # by teacher: what gives the student that ends in its space


@dataclass(frozen=True)
class Entrant:
    """One model of an evaluation.

    Attributes:
        source: a URI or an encoder; None for a concatenation.
        members: names of the concatenated models.
        fingerprint: of the encoder, or of all members.
        unknown: what decides the output and is not in the fingerprint, see `Encoder.unidentified`.
        facts: what results.json says of it.
    """

    name: str
    role: str
    source: str | Encoder | None
    members: tuple[str, ...] = ()
    heads: Heads = field(default_factory=dict)
    vector: Vector = "cls"
    fingerprint: str = ""
    unknown: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def load(self) -> Callable[[], Encoder] | None:
        if self.source is None:
            return None
        return partial(_loaded, self.source) if isinstance(self.source, str) else partial(_given, self.source)

    @property
    def is_local(self) -> bool:
        """An encoder of this process, which another one cannot load."""
        return isinstance(self.source, Encoder)


@lru_cache(maxsize=2)
def _loaded(uri: str) -> Encoder:
    """Two are kept: a student's head, or a teacher beside it, must not reload the model for every set."""
    return load_encoder(uri, device="cuda" if torch.cuda.is_available() else "cpu")


def _given(encoder: Encoder) -> Encoder:
    return encoder


def enter(
    models: Mapping[str, Model],
    roles: Mapping[str, str],
    suite: Suite,
    heads: Mapping[str, Heads] | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Entrant]:
    """All models, members before their concatenations; two or more teachers get one. Every encoder is loaded once.

    Raises:
        InputError: no model, an unknown role or member, or a model that cannot be loaded.
    """
    named, all_roles = _with_concat(models, roles)
    entrants: dict[str, Entrant] = {}
    for name, model in named.items():
        role = all_roles[name]
        if not isinstance(model, str | Encoder):
            members = [entrants[member] for member in model]
            entrants[name] = Entrant(
                name, role, None, tuple(model), fingerprint="+".join(f"{m.fingerprint}/{m.vector}" for m in members),
                unknown=next((member.unknown for member in members if member.unknown), ""),
                facts={"role": role, "uri": f"concat:{'+'.join(model)}"},
            )  # fmt: skip
            continue
        say(f"{name}: loading")
        encoder = _loaded(model) if isinstance(model, str) else model
        wide = role == "teacher" and encoder.has_cls and encoder.architecture == "vit"
        vector: Vector = suite.teacher_vector if wide else "cls"
        facts = {
            "role": role, "uri": encoder.uri, "vector": vector, "input_size": list(encoder.input_size),
            "num_parameters": encoder.num_parameters(),
        }  # fmt: skip
        own_heads = (heads or {}).get(name, {})
        prints = encoder.fingerprint(), encoder.unidentified()
        entrants[name] = Entrant(name, role, model, (), own_heads, vector, *prints, facts)
    return entrants


def _with_concat(models: Mapping[str, Model], roles: Mapping[str, str]) -> tuple[dict[str, Model], dict[str, str]]:
    """All models, parts before their concatenations, and the role of each."""
    if not models:
        raise InputError("eval: expected at least one model")
    for name, role in roles.items():
        if name not in models:
            raise InputError(f"role of unknown model '{name}'{nearest(name, models)}")
        if role not in ROLES:
            raise InputError(f"model '{name}': unknown role '{role}'{nearest(role, ROLES)}")
    all_roles = {name: roles.get(name, "other") for name in models}
    singles = {name: model for name, model in models.items() if isinstance(model, str | Encoder)}
    joined = {name: model for name, model in models.items() if name not in singles}
    for name, parts in joined.items():
        for part in parts:  # type: ignore[union-attr]
            if part not in singles:
                raise InputError(f"model '{name}': unknown part '{part}'{nearest(str(part), singles)}")
    teachers = [name for name, role in all_roles.items() if role == "teacher" and name in singles]
    if len(teachers) > 1 and CONCAT not in models and "concat" not in all_roles.values():
        joined[CONCAT], all_roles[CONCAT] = teachers, "concat"
    return singles | joined, all_roles
