"""Number of scans of a JPEG: each takes a pass over the whole picture, even if it holds little.

A photograph has 1, a progressive one about 10. A malicious file of half a megabyte can hold thousands.
Markers: ITU-T T.81, annex B.
"""

from __future__ import annotations

import mmap
import re
from pathlib import Path

_PROGRESSIVE = (0xC2, 0xCA)
_FRAMES = (*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0))  # SOF0 to SOF15
_START_OF_SCAN, _END = 0xDA, 0xD9
_BARE = (0x01, *range(0xD0, 0xD9))  # markers without a segment
_NEXT = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])")  # a marker, but no stuffed byte or restart in the data of a scan


def num_scans(data: bytes | Path, most: int) -> int:
    """Number of scans of the first picture of a JPEG; counting stops at `most + 1`.

    For the usual kind, one scan with all colours, only the header is read.
    """
    if isinstance(data, bytes):
        return _count(data, most)
    with data.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as view:
        return _count(view, most)


def _count(data: bytes | mmap.mmap, most: int) -> int:
    count, colours, is_progressive, place = 0, 0, False, 2
    while (match := _NEXT.search(data, place)) is not None:
        marker, place = match[1][0], match.end()
        if marker == _END:
            break
        if marker in _BARE:
            continue
        segment = data[place : place + 10]
        if len(segment) < 8:
            break
        if marker in _FRAMES:
            colours, is_progressive = segment[7], marker in _PROGRESSIVE
        if marker == _START_OF_SCAN:
            count += 1
            if count > most or (segment[2] >= colours and not is_progressive):
                break
        place += int.from_bytes(segment[:2], "big")
    return count
