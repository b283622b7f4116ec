"""The logger `unic`: each of its messages is one line that can be printed, wherever it goes."""

from __future__ import annotations

import logging

from unic._text import printable


class OneLine(logging.Filter):
    """Names come from files: a log, and the terminal that shows it, get no commands and no lines from them."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = printable(record.getMessage()), ()
        return True


logging.getLogger("unic").addFilter(OneLine())
