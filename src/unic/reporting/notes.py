"""The line that a page shows in place of a part that fails."""

from __future__ import annotations

import logging

from unic.errors import reason_of

log = logging.getLogger("unic")


def reason(error: Exception) -> str:
    """One line for the reader; the traceback goes to the log."""
    log.debug("report", exc_info=error)
    return reason_of(error)
