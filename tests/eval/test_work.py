import errno

import pytest
from written import evaluate_models

from unic.errors import StoppedError
from unic.eval.suite import Entry, Suite
from unic.eval.work import _pool
from unic.processes import Spawning

DIES = """
import os
from unic.eval.tasks import knn

IS_RANDOM = False


def run(train, test, *, seed=0):
    if train.x.shape[1] == 3 * 2 * 2:
        os._exit(9)
    return knn.run(train, test)
"""


@pytest.fixture
def deadly(tmp_path, monkeypatch, trust):
    """A task that kills its process for vectors of a certain width, importable here and in other processes."""
    (tmp_path / "deadly.py").write_text(DIES)
    (tmp_path / "lab").mkdir()
    (tmp_path / "deadly.py").rename(tmp_path / "lab" / "deadly.py")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    trust("lab.deadly")  # which the processes of the pool must learn
    return "lab.deadly"


def test_a_process_that_dies_takes_no_other_cell_along(coloured, deadly, tmp_path):
    suite = Suite(data=[f"colours={coloured}"], tasks={"own": Entry(task=deadly), "knn": Entry()}, seeds=[0], size=8)
    models = {"fine": "pixels:8", "culprit": "pixels:2", "coarse": "pixels:4"}
    results = evaluate_models(models, {}, suite=suite, cache=tmp_path / "cache", jobs=2)
    row = results["tasks"]["colours/own"]
    assert "three times" in row["culprit"]["error"]
    assert row["fine"]["score"] > 50
    assert row["coarse"]["score"] > 50
    assert set(results["tasks"]["colours/knn"]) == {"fine", "culprit", "coarse"}
    assert all("score" in cell for cell in results["tasks"]["colours/knn"].values())


def test_no_room_for_the_locks_of_further_processes_is_one_line(monkeypatch):
    def no_room(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Spawning, "Value", no_room)
    with pytest.raises(StoppedError, match="jobs=2.*/dev/shm"), _pool(2):
        pass
