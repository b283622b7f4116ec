"""Sizes and durations as texts, and back."""

from __future__ import annotations

import re

import pytest

from unic.quantities import SIZE, clock, duration, gigabytes, long_duration, num_bytes


@pytest.mark.parametrize(
    ("size", "expected"), [("8B", 8), ("1.5kB", 1500), ("500 MB", 500_000_000), ("8GB", 8 * 10**9), ("2TB", 2 * 10**12)]
)
def test_a_size_is_a_number_with_a_unit(size: str, expected: int) -> None:
    assert num_bytes(size) == expected
    assert re.search(SIZE, size)


@pytest.mark.parametrize("size", ["", "8", "GB", "-8GB", "8 gb", "8KB", "8.GB", ".5GB", "8GBs"])
def test_what_is_no_size(size: str) -> None:
    with pytest.raises(ValueError, match="no size"):
        num_bytes(size)
    assert not re.search(SIZE, size)


def test_gigabytes() -> None:
    assert [gigabytes(2_460_000_000), gigabytes(2_460_000_000, 2), gigabytes(0)] == ["2.5 GB", "2.46 GB", "0.0 GB"]


def test_durations() -> None:
    assert [clock(seconds) for seconds in (0.9, 65, 3723)] == ["0:00", "1:05", "1:02:03"]
    told = ["0 s", "61 s", "2 min", "60 min", "2.0 h"]
    assert [duration(seconds) for seconds in (0.4, 61, 91, 3600, 7200)] == told
    told = ["0 min", "less than a minute", "1 min", "30 min", "1 h 31 min", "3.0 days"]
    assert [long_duration(hours) for hours in (0, 0.001, 0.01, 0.5, 1.51, 72)] == told
