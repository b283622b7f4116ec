import errno
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from unic.eval import task_code
from unic.eval.cells import CellStore, cell_key
from unic.eval.task_code import unknown_of
from unic.eval.tasks import TOP1, Outcome, knn, linear, logistic, longtail


@pytest.fixture
def outcome():
    marks = np.array([[1.0], [0.0], [1.0]])
    return Outcome(marks, TOP1, {"C": 0.1, "by_k": {"5": 1}}, np.array([1, 2, 3]))


def test_an_outcome_comes_back_as_it_was(outcome, tmp_path):
    store = CellStore(tmp_path / "cells")
    assert store.load("a", TOP1) is None
    store.save("a", outcome)
    found = store.load("a", TOP1)
    np.testing.assert_array_equal(found.marks, outcome.marks)
    np.testing.assert_array_equal(found.predicted, outcome.predicted)
    assert (found.details, found.measure, found.score) == (outcome.details, TOP1, pytest.approx(200 / 3))
    assert [path.name for path in (tmp_path / "cells").iterdir()] == ["a.safetensors"]


@pytest.mark.parametrize("harm", ["flip", "cut", "empty"])
def test_a_damaged_entry_counts_as_missing(outcome, tmp_path, harm):
    store = CellStore(tmp_path)
    store.save("a", outcome)
    file = tmp_path / "a.safetensors"
    data = bytearray(file.read_bytes())
    data[-2] ^= 1
    file.write_bytes({"flip": bytes(data), "cut": bytes(data[:-5]), "empty": b""}[harm])
    assert store.load("a", TOP1) is None


def test_keys_differ_with_whatever_decides():
    base = {"options": [], "seed": 0, "model": "m"}
    keys = {
        cell_key("knn", **base),
        cell_key("knn", **base | {"seed": 1}),
        cell_key("knn", **base | {"model": "n"}),
        cell_key("logistic", **base),
    }
    assert len(keys) == 4
    assert cell_key("knn", **base) == cell_key("knn", **dict(reversed(base.items())))


def test_versions_of_the_code_decide_and_its_text_does_not(monkeypatch):
    """Of the task, of the probe that it runs by its options or by default, and of what all tasks are given."""

    def keys():
        longtail = [cell_key("longtail"), cell_key("longtail", options={"probe": "logistic"})]
        return [cell_key("knn"), cell_key("logistic"), *longtail, cell_key("robustness")]

    def changed(module):
        with monkeypatch.context() as patch:
            patch.setattr(module, "SHARED_VERSION" if module is task_code else "VERSION", 99)
            return [one != other for one, other in zip(before, keys(), strict=True)]

    before = keys()
    assert changed(knn) == [True, False, False, False, False]
    assert changed(logistic) == [False, True, False, True, True]
    assert changed(longtail) == [False, False, True, True, False]
    assert changed(linear) == [False, False, True, False, False]
    assert changed(task_code) == [True] * 5
    monkeypatch.setattr(Path, "read_bytes", lambda _: b"other")
    assert keys() == before


def test_an_unknown_probe_is_left_to_its_task():
    assert cell_key("longtail", options={"probe": "knnn"}) != cell_key("longtail")


@pytest.mark.parametrize("mask", [0o002, 0o022, 0o077])
def test_a_cell_has_the_rights_that_the_umask_gives(outcome, tmp_path, mask):
    before = os.umask(mask)
    try:
        CellStore(tmp_path / "cells").save("a", outcome)
    finally:
        os.umask(before)
    assert (tmp_path / "cells" / "a.safetensors").stat().st_mode & 0o777 == 0o666 & ~mask
    assert (tmp_path / "cells").stat().st_mode & 0o777 == 0o777 & ~mask


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EROFS])
def test_a_folder_that_cannot_be_written_is_read(outcome, tmp_path, monkeypatch, caplog, number):
    folder = tmp_path / "cells"
    CellStore(folder).save("old", outcome)
    refuse(monkeypatch, folder, number)
    store = CellStore(folder, tmp_path / "scratch")
    for key in ("new", "newer"):
        store.save(key, outcome)
        np.testing.assert_array_equal(store.load(key, TOP1).marks, outcome.marks)
    assert store.load("old", TOP1) is not None
    assert [path.name for path in folder.iterdir()] == ["old.safetensors"]
    assert caplog.messages == [f"cache {tmp_path} cannot be written: what is in it is used, what is new is not kept"]


def test_a_full_disk_is_another_matter(outcome, tmp_path, monkeypatch):
    refuse(monkeypatch, tmp_path, errno.ENOSPC)
    with pytest.raises(OSError, match="No space left"):
        CellStore(tmp_path, tmp_path / "scratch").save("new", outcome)


def refuse(monkeypatch, folder, number):
    """Root may write anywhere, so the system is not asked."""
    written = Path.write_bytes

    def write_bytes(path, content):
        if path.parent == folder:
            raise OSError(number, os.strerror(number))
        return written(path, content)

    monkeypatch.setattr(Path, "write_bytes", write_bytes)


def test_what_may_not_be_kept_is_in_the_scratch_folder_alone(outcome, tmp_path):
    store = CellStore(tmp_path / "cells", tmp_path / "scratch")
    store.save("a", outcome, is_kept=False)
    assert not (tmp_path / "cells").exists()
    assert store.load("a", TOP1, is_kept=False) is not None
    CellStore(tmp_path / "cells").save("b", outcome)
    assert store.load("b", TOP1, is_kept=False) is None


def test_a_file_of_the_name_of_a_word_does_not_decide(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def keys():
        decides = {"vector": "cls", "model": "m", "data": "d"}
        return [cell_key("retrieval", options={"gallery": "test"}, **decides), cell_key("knn", **decides)]

    before = keys()
    for name in ("test", "cls", "m", "d", "gallery", "retrieval"):
        (tmp_path / name).write_text("anything")
    assert keys() == before


def test_content_of_files_that_options_name_decides(tmp_path):
    file = tmp_path / "words"

    def keys():
        named = [{"names": str(file)}, {"text": f"open_clip:A?checkpoint={file}"}, {"templates": str(file)}]
        return [cell_key("zero_shot", options=options) for options in named]

    file.write_text("a cat")
    before = keys()
    file.write_text("a dog")
    assert not set(keys()) & set(before)


TASK = """
from lab_cell_part import K

def run(train, test, *, seed=0, file=""):
    ...
"""


@pytest.fixture
def own_task(tmp_path, monkeypatch, trust):
    """A function that gives the keys and what is unknown of the present text of a task, as in a new process."""
    trust("lab_cells.task")
    (tmp_path / "lab_cells").mkdir()
    (tmp_path / "lab_cells" / "task.py").write_text(TASK)
    (tmp_path / "lab_cell_part.py").write_text("K = 1\n")
    (tmp_path / "list").write_text("1")
    monkeypatch.syspath_prepend(str(tmp_path))

    def look():
        for name in [name for name in sys.modules if name.startswith("lab_cell")]:
            del sys.modules[name]
        options = {"file": str(tmp_path / "list")}
        return cell_key("lab_cells.task", options=options), unknown_of("lab_cells.task", options)

    yield look
    look()
    for name in [name for name in sys.modules if name.startswith("lab_cell")]:
        del sys.modules[name]


@pytest.mark.parametrize("name", ["lab_cells/task.py", "lab_cell_part.py", "list"])
def test_all_files_behind_a_task_of_one_s_own_decide(own_task, tmp_path, name):
    before = own_task()
    assert own_task() == before
    with (tmp_path / name).open("a") as file:
        file.write("# other\n")
    assert own_task()[0] != before[0]


def test_a_task_that_opens_files_says_which_or_is_not_kept(own_task, tmp_path):
    assert own_task()[1] == ""
    (tmp_path / "lab_cell_part.py").write_text("K = 1\ndef read():\n    return open('somewhere').read()\n")
    assert own_task()[1] == (
        "lab_cell_part.py, which opens files; the task names the options that decide which in FILES"
    )
    (tmp_path / "lab_cells" / "task.py").write_text(f"{TASK}\nFILES = ()\n")
    named, unknown = own_task()
    assert unknown == ""
    (tmp_path / "list").write_text("2")  # it says that none of its options is a file
    assert own_task()[0] == named
