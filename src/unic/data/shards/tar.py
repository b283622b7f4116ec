"""Tar archives: reading of any archive, header by header, and writing of deterministic ones (POSIX pax).

Nothing is ever unpacked: a member is a place in the archive. Links, devices and folders are skipped. So a name such as
`../../x` or a link to `/etc` can do no harm.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from unic.errors import reason_of

_MAX_EXTENDED = 1 << 20  # bytes of a long name or a pax header; a larger one is an attack on the memory
_PLAIN = (*tarfile.REGULAR_TYPES, tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.DIRTYPE)


class BrokenTarError(Exception):
    """The archive is damaged; `str(error)` is the reason."""


class _Header(tarfile.TarInfo):
    """A header, refused if it points backwards (`tarfile` would loop, CVE-2025-8194) or could fill the memory."""

    @classmethod
    def frombuf(cls, *args: Any, **kwargs: Any) -> Any:
        header = super().frombuf(*args, **kwargs)
        if header.size < 0 or (header.type not in _PLAIN and header.size > _MAX_EXTENDED):
            raise tarfile.InvalidHeaderError("impossible size")  # type: ignore[attr-defined]  # not in typeshed
        return header


def members(archive: BinaryIO, start: int = 0) -> Iterator[tarfile.TarInfo]:
    """Yields the plain files of an uncompressed archive, in its order.

    Args:
        archive: open for reading.
        start: byte at which the header of the first file begins.

    Raises:
        BrokenTarError: the file is not a tar archive, is compressed, or is damaged. `tarfile` alone takes a damaged
            header for the end of the archive.
    """
    try:
        archive.seek(start)
        with tarfile.open(fileobj=archive, mode="r:", tarinfo=_Header) as tar:
            place = start
            while (member := tar.next()) is not None:
                tar.members.clear()  # type: ignore[attr-defined]  # `tarfile` would keep every header in memory
                if member.size < 0 or member.offset_data <= place:
                    raise tarfile.ReadError("a member lies before its predecessor")
                place = member.offset_data
                if member.isreg() and not member.issparse():
                    yield member
            archive.seek(tar.offset)
            if any(archive.read(tarfile.RECORDSIZE)):  # a complete archive ends with zeros
                raise tarfile.ReadError(f"damaged header at byte {tar.offset}")
    except Exception as error:  # TarError, OSError, ValueError, OverflowError, RecursionError …
        raise BrokenTarError(reason_of(error)) from None


class TarWriter:
    """Writes an archive whose bytes depend on names and contents only: it holds no times, owners or modes of files.

    As a context manager it closes the archive. After an exception the file is closed but incomplete.
    """

    def __init__(self, file: Path) -> None:
        self._tar = tarfile.open(file, "w:", format=tarfile.PAX_FORMAT)  # noqa: SIM115  # closed by `close` or `__exit__`

    def __enter__(self) -> TarWriter:
        return self

    def __exit__(self, *error: Any) -> None:
        self._tar.__exit__(*error)

    def add(self, name: str, data: bytes) -> None:
        member = tarfile.TarInfo(name)  # its time is 0
        member.size = len(data)
        self._tar.addfile(member, io.BytesIO(data))

    def tell(self) -> int:
        """Bytes written so far."""
        return self._tar.offset

    def close(self) -> None:
        self._tar.close()
