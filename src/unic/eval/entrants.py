"""The models of an evaluation: their names, roles and vectors, and how each is loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from typing import cast, get_args

from unic.device import default_device
from unic.encoders import open_encoder
from unic.encoders.base import Encoder
from unic.errors import InputError, nearest
from unic.eval.results.schema import ModelEntry, Role
from unic.eval.results.trainings import TRAINING
from unic.eval.subject import Vector
from unic.eval.suite import Suite
from unic.trust import trusted

ROLES = tuple(role for role in get_args(Role) if role != TRAINING)  # what a model can be asked to be
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
    role: Role
    source: str | Encoder | None
    members: tuple[str, ...] = ()
    heads: Heads = field(default_factory=dict)
    vector: Vector = "cls"
    fingerprint: str = ""
    unknown: str = ""
    facts: ModelEntry = field(default_factory=lambda: ModelEntry(role="other"))

    @property
    def load(self) -> Callable[[], Encoder] | None:
        if self.source is None:
            return None
        return partial(_loaded, self.source) if isinstance(self.source, str) else partial(_given, self.source)

    @property
    def is_local(self) -> bool:
        """An encoder of this process, which another one cannot load."""
        return isinstance(self.source, Encoder)


def _loaded(uri: str) -> Encoder:
    return _kept(uri, tuple(trusted()))


@lru_cache(maxsize=2)
def _kept(uri: str, trusted_code: tuple[str, ...]) -> Encoder:
    """Two are kept: a student's head, or a teacher beside it, must not reload the model for every set.

    `trusted_code`: what one evaluation may run another one must ask for.
    """
    return open_encoder(uri, device=default_device())


def _given(encoder: Encoder) -> Encoder:
    return encoder


def enter(
    models: Mapping[str, Model],
    roles: Mapping[str, str],
    suite: Suite,
    heads: Mapping[str, Heads] | None = None,
    say: Callable[[str], None] = lambda _: None,
    brought: Mapping[str, str] | None = None,
) -> dict[str, Entrant]:
    """All models, members before their concatenations; two or more teachers get one. Every encoder is loaded once.

    Args:
        brought: models that runs add, with the run of each. They give way to the same model, by its fingerprint, that
            was given or that another run adds.

    Raises:
        InputError: no model, an unknown role or member, or a model that cannot be loaded.
    """
    roles = _checked(models, roles)
    entrants = {}
    for name, model in models.items():
        if isinstance(model, str | Encoder):
            say(f"{name}: loading")
            entrants[name] = _single(name, roles.get(name, "other"), model, suite)
    stands_for = _folded(entrants, brought or {})
    for name, own in (heads or {}).items():
        by_column = {stands_for.get(teacher, teacher): load for teacher, load in own.items()}
        entrants[name] = replace(entrants[name], heads=by_column)
    for name, (role, parts) in _joined(models, roles, entrants).items():
        parts = [stands_for.get(part, part) for part in parts]
        members = [entrants[part] for part in parts]
        entrants[name] = Entrant(
            name, role, None, tuple(parts), fingerprint="+".join(f"{m.fingerprint}/{m.vector}" for m in members),
            unknown=next((member.unknown for member in members if member.unknown), ""),
            facts=ModelEntry(role=role, uri=f"concat:{'+'.join(parts)}"),
        )  # fmt: skip
    return entrants


def _single(name: str, role: Role, model: str | Encoder, suite: Suite) -> Entrant:
    encoder = _loaded(model) if isinstance(model, str) else model
    wide = role == "teacher" and encoder.has_cls and encoder.architecture == "vit"
    vector: Vector = suite.teacher_vector if wide else "cls"
    facts = ModelEntry(
        role=role, uri=encoder.uri, vector=vector, input_size=list(encoder.input_size),
        num_parameters=encoder.num_parameters(),
    )  # fmt: skip
    prints = encoder.fingerprint(), encoder.unidentified()
    return Entrant(name, role, model, (), {}, vector, *prints, facts)


def _folded(entrants: dict[str, Entrant], brought: Mapping[str, str]) -> dict[str, str]:
    """Takes out the brought models that are there under another name, and says by which column each is replaced.

    That column gets the role of what it replaces. A student stays beside an equal teacher, and so does the start of a
    student: they are different parts of one comparison. Equal teachers of one run stay, too.
    """
    runs_of: dict[str, set[str]] = {name: set() for name in entrants if name not in brought}
    stands_for: dict[str, str] = {}

    def is_twin(name: str, other: str) -> bool:
        one, two = entrants[name], entrants[other]
        may_be_one = one.role == two.role or (two.role == "other" and other not in brought)
        are_same = one.fingerprint == two.fingerprint and not one.unknown and not two.unknown
        return are_same and may_be_one and brought[name] not in runs_of[other]

    for name, run in brought.items():
        twin = next((other for other in runs_of if is_twin(name, other)), name)
        runs_of.setdefault(twin, set()).add(run)
        if twin != name:
            one, two = entrants.pop(name), entrants[twin]
            also = {"uri": two.facts.uri, "also": [*two.facts.also, name]}
            entrants[twin] = replace(one, name=twin, source=two.source, facts=one.facts.model_copy(update=also))
            stands_for[name] = twin
    return stands_for


def _checked(models: Mapping[str, Model], roles: Mapping[str, str]) -> Mapping[str, Role]:
    """The roles, each of which is one, of models that can be measured."""
    if not models:
        raise InputError("eval: expected at least one model")
    for name, role in roles.items():
        if name not in models:
            raise InputError(f"role of unknown model '{name}'{nearest(name, models)}")
        if role not in ROLES:
            raise InputError(f"model '{name}': unknown role '{role}'{nearest(role, ROLES)}")
    singles = [name for name, model in models.items() if isinstance(model, str | Encoder)]
    for name, model in models.items():
        for part in () if isinstance(model, str | Encoder) else model:
            if part not in singles:
                raise InputError(f"model '{name}': unknown part '{part}'{nearest(str(part), singles)}")
    return cast("Mapping[str, Role]", roles)


def _joined(
    models: Mapping[str, Model], roles: Mapping[str, Role], entrants: Mapping[str, Entrant]
) -> dict[str, tuple[Role, list[str]]]:
    """Role and members by the name of each concatenation: those asked for, and that of all teachers."""
    joined: dict[str, tuple[Role, list[str]]] = {
        name: (roles.get(name, "other"), list(model))
        for name, model in models.items()
        if not isinstance(model, str | Encoder)
    }
    teachers = [name for name, entrant in entrants.items() if entrant.role == "teacher"]
    if len(teachers) > 1 and CONCAT not in joined and "concat" not in roles.values():
        name, number = CONCAT, 2
        while name in entrants or name in joined:
            name, number = f"{CONCAT}-{number}", number + 1
        joined[name] = "concat", teachers
    return joined
