"""On a CPU, memory that torch has freed stays with the process, for the next step: 1.1 to 1.4 × as fast (docs/log.md).

torch asks malloc for every tensor. glibc maps large blocks anew each time and gives the end of its heap back to the
system, which then has to clear the same pages in every step: an eighth of the processor's time. The price is that the
process keeps its largest size until it ends.
"""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress
from functools import cache

# Of glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
_SETTINGS = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_MAX_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TOP_PAD_")


@cache
def keep_freed_memory() -> None:
    """For the whole process. Nothing happens without glibc, with `UNIC_MALLOC=system`, or where the user has set it."""
    own = any(name in os.environ for name in _SETTINGS) or "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", "")
    if own or os.environ.get("UNIC_MALLOC") == "system":
        return
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):  # macOS, Windows, musl
        return
    mallopt(_M_MMAP_MAX, 0)
    mallopt(_M_TRIM_THRESHOLD, -1)


def give_freed_memory_back() -> None:
    """Once, so that the system counts it as free; nothing happens without glibc."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
