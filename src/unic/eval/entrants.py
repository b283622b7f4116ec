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
from unic.eval.named import free_name
from unic.eval.results.schema import ModelEntry, Role
from unic.eval.results.trainings import TRAINING
from unic.eval.subject import Vector
from unic.eval.suite import Suite
from unic.trust import trusted

ROLES = tuple(role for role in get_args(Role) if role != TRAINING)  # roles that a user can give a model
CONCAT = "concat"  # name of the model that an evaluation adds for two or more teachers

Model = str | Encoder | Sequence[str]  # a URI, an encoder, or the names of the models whose vectors are concatenated
KeptHeads = Mapping[str, Callable[[], Encoder]]  # by teacher: a function that loads the student's kept head for it


@dataclass(frozen=True)
class Entrant:
    """One model of an evaluation.

    Attributes:
        name: name of its column.
        role: role of the model in the comparison.
        source: a URI or an encoder; None for a concatenation.
        members: names of the concatenated models.
        heads: functions that load the student's kept heads, by teacher.
        vector: the vector of an image by which the model is measured.
        fingerprint: fingerprint of the encoder, or of all members.
        unknown: things that the output depends on beyond the fingerprint, see `Encoder.unidentified`.
        facts: its entry in results.json.
    """

    name: str
    role: Role
    source: str | Encoder | None
    members: tuple[str, ...] = ()
    heads: KeptHeads = field(default_factory=dict)
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
        """Whether the source is an encoder object, which other processes cannot load."""
        return isinstance(self.source, Encoder)


def _loaded(uri: str) -> Encoder:
    return _kept(uri, tuple(trusted()))


@lru_cache(maxsize=2)
def _kept(uri: str, trusted_code: tuple[str, ...]) -> Encoder:
    """The encoder of a URI. Two are kept, so that a student and its head or teacher are not reloaded for every set.

    `trusted_code` is a key of the cache, as each evaluation must ask for its own trust.
    """
    return open_encoder(uri, device=default_device())


def _given(encoder: Encoder) -> Encoder:
    return encoder


def enter(
    models: Mapping[str, Model],
    roles: Mapping[str, str],
    suite: Suite,
    heads: Mapping[str, KeptHeads] | None = None,
    say: Callable[[str], None] = lambda _: None,
    brought: Mapping[str, str] | None = None,
) -> dict[str, Entrant]:
    """All models of an evaluation, members before their concatenations. Every encoder is loaded once.

    Two or more teachers get a concatenation, unless `models` has one already.

    Args:
        models: URIs, encoders or lists of members, by name.
        roles: roles by name; default: "other".
        suite: the suite, which tells the vectors of teachers.
        heads: functions that load kept heads, by model, then by teacher.
        say: function that shows a line of progress.
        brought: models that were added for runs, with the name of the run. Such a model is dropped if another one has
            the same fingerprint and was given or added for another run.

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
        column = stands_for.get(name, name)
        entrants[column] = replace(entrants[column], heads=by_column)
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
    """Drops the brought models that are there under another name, and returns the column that replaces each.

    The remaining column gets the role of the dropped one. A student that equals a teacher keeps its column, and so does
    the start of a student: they have different roles in the comparison. Equal teachers of one run are kept as well.
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


def check_heads(heads: Mapping[str, str], entrants: Mapping[str, Entrant]) -> None:
    """Refuses a head that no model of the evaluation has.

    Args:
        heads: teachers whose heads are read, by the name of a task.
        entrants: all models.

    Raises:
        InputError: no model has a head for a teacher, so that a row would be empty.
    """
    known = {teacher for entrant in entrants.values() for teacher in entrant.heads}
    for task, teacher in heads.items():
        if teacher not in known:
            raise InputError(f"task '{task}': no model has a kept head for '{teacher}'{nearest(teacher, known)}")


def _checked(models: Mapping[str, Model], roles: Mapping[str, str]) -> Mapping[str, Role]:
    """The roles, after a check of models, roles and members."""
    if not models:
        raise InputError("eval: expected at least one model")
    for name, role in roles.items():
        if name not in models:
            raise InputError(f"role '{role}': unknown model '{name}'{nearest(name, models)}")
        if role not in ROLES:
            raise InputError(f"model '{name}': unknown role '{role}'{nearest(role, ROLES)}")
    singles = [name for name, model in models.items() if isinstance(model, str | Encoder)]
    for name, model in models.items():
        for part in () if isinstance(model, str | Encoder) else model:
            if part not in singles:
                raise InputError(f"model '{name}': unknown member '{part}'{nearest(str(part), singles)}")
    return cast("Mapping[str, Role]", roles)


def _joined(
    models: Mapping[str, Model], roles: Mapping[str, Role], entrants: Mapping[str, Entrant]
) -> dict[str, tuple[Role, list[str]]]:
    """Role and members of each concatenation by name: those that were given, and that of all teachers."""
    joined: dict[str, tuple[Role, list[str]]] = {
        name: (roles.get(name, "other"), list(model))
        for name, model in models.items()
        if not isinstance(model, str | Encoder)
    }
    teachers = [name for name, entrant in entrants.items() if entrant.role == "teacher"]
    if len(teachers) > 1 and CONCAT not in joined and "concat" not in roles.values():
        joined[free_name(CONCAT, {*entrants, *joined})] = "concat", teachers
    return joined
