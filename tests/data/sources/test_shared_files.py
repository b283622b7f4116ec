"""Whether two paths lead to the same images, by where they lie."""

from __future__ import annotations

from pathlib import Path

import pytest

from unic.data.sources.shared_files import share_files

FILES = ("set/train.parquet", "set/test.parquet", "other/train.parquet", "shards/a-train-000.tar", "shards/b-000.tar")


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in FILES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "link").symlink_to(tmp_path / "set")
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("path", "other", "expected"),
    [
        ("set/train.parquet", "set", True),
        ("set/test.parquet", "set", True),
        ("set", "set/train.parquet", True),
        ("./other/../set", "set", True),
        ("link/train.parquet", "set?test=0.2&seed=1", True),
        ("*/train.parquet", "set/{split}.parquet", True),
        (".", "set", True),
        ("other/train.parquet", "set", False),
        ("set/train.parquet", "set/test.parquet", False),
        ("shards/b-{000..001}.tar", "shards/a-{split}-{000..001}.tar", False),
        ("shards/a-train-*.tar", "shards/a-{split}-{000..001}.tar", True),
        ("lab/birds", "lab/birds", True),
        ("lab/birds", "lab/cats", False),
        ("https://x.org/a-{000..001}.tar", "stream:https://x.org/a-001.tar", True),
        ("https://x.org/a-{000..001}.tar", "https://x.org/b-001.tar", False),
        ("generated:dead_leaves?seed=10", "set", False),
    ],
)
def test_by_places(path: str, other: str, expected: bool) -> None:
    assert share_files(path, other) is expected
    assert share_files(other, path) is expected
