"""The line that a page shows in place of a part that fails."""

from __future__ import annotations

import logging

from unic.errors import UntrustedError, reason_of

log = logging.getLogger("unic")


def reason(error: Exception) -> str:
    """One line for the reader; the traceback goes to the log."""
    log.debug("report", exc_info=error)
    if isinstance(error, UntrustedError):
        return f"{error.what or 'it'} needs code that is not trusted, which a report does not run"
    return reason_of(error)
