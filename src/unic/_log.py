"""The logger `unic`, whose messages are printable lines wherever they go."""

from __future__ import annotations

import logging

from unic._text import printable


class OneLine(logging.Filter):
    """Escapes line breaks and control characters, which names from files may bring into a message."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = printable(record.getMessage()), ()
        return True


logging.getLogger("unic").addFilter(OneLine())
