"""Whose code may run: what was typed, and what `--trust-code` names. Code that a file names alone is refused.

Every place that imports a module or runs a program of somebody else asks `require`. A command, or a call of the API,
says with `trusting` what it was told. That holds while it works, is handed to its child processes, and is never stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from unic.arguments import argument
from unic.errors import UntrustedError

_ASKED = ("hf:", "hub:", "torchscript:")  # run code with `trust_remote_code=true` only
_TRUSTED: ContextVar[frozenset[str]] = ContextVar("unic.trusted", default=frozenset())


@contextmanager
def trusting(*names: str | Iterable[str]) -> Iterator[None]:
    """Trusts code while the block runs, beside what is trusted already.

    Args:
        names: dotted modules and URIs, one or several; the options of a URI do not count.
    """
    each = [name for one in names for name in ([one] if isinstance(one, str) else one)]
    before = _TRUSTED.set(_TRUSTED.get() | {_without_options(name) for name in each})
    try:
        yield
    finally:
        _TRUSTED.reset(before)


def typed(uris: Iterable[str]) -> list[str]:
    """Those of typed URIs that ask for code: of sources that also work without, the ones that say so themselves."""
    return [uri for uri in uris if not uri.startswith(_ASKED) or "trust_remote_code=true" in uri.lower()]


def require(where: str, name: str, *others: str) -> None:
    """Asks whether code may run; to be called right before it would.

    Args:
        where: start of the error line: what is asked for, and by which name.
        name: what has to be trusted; the error tells it.
        others: further names of the same code, of which each is enough.

    Raises:
        UntrustedError: none of them is trusted.
    """
    name = _without_options(name)
    if _TRUSTED.get().isdisjoint((name, *others)):
        raise UntrustedError(
            f"{where} is code that a file or a mapping names, so it is not run; if you trust it, add "
            f"{argument('trust_code', [name])}"
        )


def trusted() -> list[str]:
    """What is trusted now, to be told to a child process."""
    return sorted(_TRUSTED.get())


def inherit(names: Iterable[str]) -> None:
    """In a child process: trusts what its parent does, to its end."""
    _TRUSTED.set(frozenset(names))


def _without_options(name: str) -> str:
    return name.partition("?")[0]
