"""Whose code may run: code that the user typed or named with `--trust-code`. Code that only a file names is refused.

Every place that imports a module or runs a program from outside unic calls `require` first. A command, or a function of
the API, calls `trusting` with what its user trusts. This holds until it ends, also in its child processes, and is never
stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from unic.arguments import argument
from unic.errors import UntrustedError

_ASKED = ("hf:", "hub:", "torchscript:")  # these schemes run code only with `trust_remote_code=true`
_TRUSTED: ContextVar[frozenset[str]] = ContextVar("unic.trusted", default=frozenset())


@contextmanager
def trusting(*names: str | Iterable[str]) -> Iterator[None]:
    """Trusts further code inside the block.

    Args:
        names: dotted modules and URIs, one or several; options of a URI are ignored.
    """
    each = [name for one in names for name in ([one] if isinstance(one, str) else one)]
    before = _TRUSTED.set(_TRUSTED.get() | {_without_options(name) for name in each})
    try:
        yield
    finally:
        _TRUSTED.reset(before)


def typed(uris: Iterable[str]) -> list[str]:
    """The URIs, of those that a user typed, whose code is trusted: `_ASKED` need `trust_remote_code=true` for that."""
    return [uri for uri in uris if not uri.startswith(_ASKED) or "trust_remote_code=true" in uri.lower()]


def require(where: str, name: str, *others: str) -> None:
    """Refuses code that is not trusted. To be called right before the code would run.

    Args:
        where: begins the error line: what is asked for, and its name.
        name: the name to trust, which the error shows.
        others: further names of the same code; one trusted name is enough.

    Raises:
        UntrustedError: none of the names is trusted.
    """
    name = _without_options(name)
    if _TRUSTED.get().isdisjoint((name, *others)):
        raise UntrustedError(
            f"{where} is code that a file or a mapping names, so it is not run; if you trust it, add "
            f"{argument('trust_code', [name])}",
            where,
        )


def trusted() -> list[str]:
    """The trusted names, for `inherit` in a child process."""
    return sorted(_TRUSTED.get())


def inherit(names: Iterable[str]) -> None:
    """Makes a child process trust what its parent trusts."""
    _TRUSTED.set(frozenset(names))


def _without_options(name: str) -> str:
    return name.partition("?")[0]
