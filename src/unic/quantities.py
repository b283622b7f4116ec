"""Sizes and durations as people read and write them. One GB is 10^9 bytes, as on the box of a disk."""

from __future__ import annotations

import re

SIZE = r"^\d+(\.\d+)?\s*[kMGT]?B$"
"""The pattern of a size that `num_bytes` reads."""
_PREFIXES = " kMGT"


def num_bytes(size: str) -> int:
    """The bytes that a text with a unit stands for: `800B`, `500 MB`, `1.5GB`.

    Raises:
        ValueError: the text is not a size.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kMGT]?)B", size)
    if found is None:
        raise ValueError(f"'{size}' is no size")
    return int(float(found[1]) * 1000 ** _PREFIXES.index(found[2] or " "))


def gigabytes(size: float, digits: int = 1) -> str:
    """A number of bytes as `2.5 GB`.

    Args:
        size: in bytes.
        digits: after the point.
    """
    return f"{size / 1e9:.{digits}f} GB"


def clock(seconds: float) -> str:
    """A remaining time as a clock shows it: `4:05`, `1:02:03`."""
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


def duration(seconds: float) -> str:
    """An estimated time in its largest unit: `40 s`, `12 min`, `2.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def long_duration(hours: float) -> str:
    """The time of a whole training, to the minute: `12 min`, `1 h 31 min`, `3.0 days`."""
    if hours >= 48:
        return f"{hours / 24:.1f} days"
    minutes = round(hours * 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{minutes} min" if minutes or not hours else "less than a minute"
