"""`unic.files`: a file is written whole or not at all, also when a write fails."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from unic.files import write_bytes, write_text, written


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_when_the_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "file"
    with written(target) as partial:
        partial.write_bytes(b"new")
        assert not target.exists()
        assert partial.parent == target.parent  # a move within a file system
    assert target.read_bytes() == b"new"
    assert names(target.parent) == ["file"]


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt])
def test_a_block_that_fails_changes_nothing(kind: type[BaseException], tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"old")

    def fail_half_way() -> None:
        with written(tmp_path / "file") as partial:
            partial.write_bytes(b"half")
            raise kind

    with pytest.raises(kind):
        fail_half_way()
    assert (tmp_path / "file").read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_writers_at_the_same_time_do_not_meet(tmp_path: Path) -> None:
    with written(tmp_path / "file") as one:
        one.write_bytes(b"one")
        with written(tmp_path / "file") as other:
            other.write_bytes(b"other")
        assert (tmp_path / "file").read_bytes() == b"other"
    assert (tmp_path / "file").read_bytes() == b"one"
    assert names(tmp_path) == ["file"]


def test_a_lone_writer_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    with written(tmp_path / "file", alone=True) as partial:
        left = partial
        partial.write_bytes(b"x")
    left.write_bytes(b"half of an earlier one")
    with written(tmp_path / "file", alone=True) as partial:
        assert partial.read_bytes() == b""
    assert names(tmp_path) == ["file"]


def test_names_as_long_as_a_file_system_takes(tmp_path: Path) -> None:
    assert write_text(tmp_path / ("n" * 255), "ü").read_bytes() == b"\xc3\xbc"


def test_the_content_is_on_the_disk_before_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: (calls.append("fsync"), fsync(descriptor)))
    monkeypatch.setattr(os, "replace", lambda *paths: (calls.append("replace"), replace(*paths)))
    write_bytes(tmp_path / "file", b"x", synced=True)
    assert calls == ["fsync", "replace", "fsync"]  # the file, its name, the folder
    write_bytes(tmp_path / "file", b"x")
    assert calls == ["fsync", "replace", "fsync", "replace"]
