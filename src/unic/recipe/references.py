"""References in YAML: `${key}` to a plain value, and `${oc.env:NAME}` to an environment variable.

The value of an environment variable is private. So the way back is here as well: what leaves a run names the variable.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import BaseModel, PrivateAttr

from unic.errors import InputError, first_line_of

_REFERENCE = re.compile(r"\$\{(?:oc\.env:\s*\w+\s*(?:,[^${}]*)?|(\w[\w.\[\]-]*))\}")
_ENVIRONMENT = re.compile(r"\$\{oc\.env:\s*(\w+)\s*(,[^${}]*)?\}")
_OPEN, _CLOSED = "${", "\0{"  # a reference, and text that only looks like one; YAML has no NUL characters
_MOST_TEXT = 50_000_000  # characters that a file may have after its references are replaced by values
_LEAST_HIDDEN = 4  # characters; shorter values are no secrets, and other texts contain them by chance
_PLAIN_NUMBER = re.compile(r"[\d.eE+-]{1,7}")  # a rate or a number of steps, for which the same holds
_LONGEST_REFERENCE = 1000  # characters, and entries; no run writes more
_WITHIN = "\0"  # begins the value of a variable, in contrast to the whole value of a key

Referring = TypeVar("Referring", bound="WithReferences")


class WithReferences(BaseModel):
    """A model that was read from a file with references, and remembers how they were written."""

    _written: dict[str, str] = PrivateAttr(
        default_factory=dict
    )  # the text in the file by value: of whole keys, and of variables

    def written_as(self: Referring, *origins: Mapping[str, str]) -> Referring:
        """Itself, with references as `resolve` returns them. Entries that no run can have written are left out."""
        for origin in origins:
            known = [(value, text) for value, text in dict(origin).items() if _is_reference(value, text)]
            self._written.update(known[:_LONGEST_REFERENCE])
        return self

    @property
    def written(self) -> Mapping[str, str]:
        return self._written

    def unresolved(self, tree: Any) -> Any:
        """A tree in which values that named an environment variable are written as in the file."""
        return _mapped(tree, lambda text: self._written.get(text, text))

    def shared(self, tree: Any) -> Any:
        """A tree that may leave the run: `unresolved`, and values of variables are hidden inside other texts, too."""
        return _mapped(tree, lambda text: self._written.get(text) or self.hide(text))

    def hide(self, text: str) -> str:
        """A text with the names of variables in place of their values, if these are long enough to be meant."""
        hidden = self._hidden()
        return hidden[0].sub(lambda found: hidden[1][found[0]], text) if hidden else text

    def _hidden(self) -> tuple[re.Pattern[str], Mapping[str, str]] | None:
        """One pattern of all values that are hidden, as replacements are not searched again; and what replaces them."""
        names = {value.removeprefix(_WITHIN): text for value, text in self._written.items()}
        secrets = (value for value in names if len(value) >= _LEAST_HIDDEN and not _PLAIN_NUMBER.fullmatch(value))
        longest_first = sorted(secrets, key=len, reverse=True)
        return (re.compile("|".join(map(_as_word, longest_first))), names) if longest_first else None


def _as_word(value: str) -> str:
    """A pattern of a value. Letters alone are no part of a longer word: `train` is not hidden in `training`."""
    letter = r"[^\W\d_]"
    return f"(?<!{letter}){re.escape(value)}(?!{letter})" if value.isalpha() else re.escape(value)


def closed(tree: Any) -> Any:
    """A tree whose values are final: text that looks like a reference is marked as plain."""
    return _mapped(tree, lambda text: text.replace(_OPEN, _CLOSED))


def resolve(tree: Mapping[str, Any], what: str, *, may_miss: bool = False) -> tuple[dict[str, Any], dict[str, str]]:
    """Replaces references by their values.

    Args:
        tree: plain containers.
        what: begins the error line.
        may_miss: keep references to variables that are not set.

    Returns:
        The tree, and the text in the file of what came from the environment, by value: whole values and variables.

    Raises:
        InputError: a reference to nothing, to another reference or to another resolver, or too many references.
    """
    if may_miss:
        tree = _mapped(tree, lambda text: _ENVIRONMENT.sub(_unset_closed, text))
    _check(tree, what)
    try:
        plain = OmegaConf.to_container(OmegaConf.create(dict(tree)), resolve=True)
    except OmegaConfBaseException as error:
        raise InputError(f"{what}: {first_line_of(error)}") from None
    assert isinstance(plain, dict)
    plain = _mapped(plain, lambda text: text.replace(_CLOSED, _OPEN))
    written: dict[str, str] = {}
    for text, value in _pairs(tree, plain):
        for found in _ENVIRONMENT.finditer(text):
            if found[1] in os.environ:
                written.setdefault(_WITHIN + os.environ[found[1]], found[0])
                written[value] = text
    written.pop("", None)
    written.pop(_WITHIN, None)
    return {str(key): value for key, value in plain.items()}, written


def _is_reference(value: object, text: object) -> bool:
    """Whether an entry is one of `resolve`'s."""
    if not (isinstance(value, str) and isinstance(text, str)):
        return False
    return "${oc.env:" in text and len(text) <= _LONGEST_REFERENCE


def _unset_closed(found: re.Match[str]) -> str:
    is_set = found[1] in os.environ or found[2]
    return found[0] if is_set else found[0].replace(_OPEN, _CLOSED)


def _check(tree: Any, what: str) -> None:
    """Refuses other kinds of references, and references to references: a chain of those doubles with every line."""
    holders = {key: text for key, text in _texts(tree) if _OPEN in text}
    references: list[str] = []
    for key, text in holders.items():
        references += (found := _REFERENCE.findall(text))
        if text.count(_OPEN) > len(found):
            raise InputError(
                f"{what}: '{key}': expected a reference ${{key}} or ${{oc.env:NAME}}, with no other inside it"
            )
    for reference in references:
        name = re.sub(r"[\[\].]+", ".", reference).strip(".")
        if name and any(f"{key}.".startswith(f"{name}.") or f"{name}.".startswith(f"{key}.") for key in holders):
            raise InputError(f"{what}: '${{{reference}}}' names a value that holds a reference itself")
    if len(references) * len(str(tree)) > _MOST_TEXT:
        raise InputError(f"{what}: {len(references)} references in {len(str(tree))} characters are too many")


def _texts(tree: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Values as text, with their dotted keys. A list is one value."""
    if isinstance(tree, Mapping):
        for name, value in tree.items():
            yield from _texts(value, f"{prefix}.{name}" if prefix else str(name))
    else:
        yield prefix, str(tree)


def _pairs(tree: Any, plain: Any) -> Iterator[tuple[str, str]]:
    """Each text of a tree with the text in the same place of another tree."""
    if isinstance(tree, Mapping) and isinstance(plain, Mapping):
        for key in tree:
            yield from _pairs(tree[key], plain[key])
    elif isinstance(tree, list) and isinstance(plain, list):
        for one, other in zip(tree, plain, strict=True):
            yield from _pairs(one, other)
    elif isinstance(tree, str) and isinstance(plain, str):
        yield tree, plain


def _mapped(tree: Any, change: Callable[[str], str]) -> Any:
    """The tree with each text changed, except for keys."""
    if isinstance(tree, Mapping):
        return {key: _mapped(value, change) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [_mapped(value, change) for value in tree]
    return change(tree) if isinstance(tree, str) else tree
