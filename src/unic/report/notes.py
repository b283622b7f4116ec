"""What the page says where a part of it fails."""

from __future__ import annotations

import logging

log = logging.getLogger("unic")


def reason(error: Exception) -> str:
    """One line for the reader; the traceback goes to the log."""
    log.debug("report", exc_info=error)
    return " ".join(str(error).split()) or type(error).__name__
