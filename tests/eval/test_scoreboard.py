"""Best teachers, means and signs, against numbers worked out by hand; the table and the page take them from here."""

import pytest

from unic.eval.results.grid import make_grid
from unic.eval.results.schema import Results
from unic.eval.results.scoreboard import Scoreboard, best_of
from unic.reporting.read.scores import Scores
from unic.reporting.sections.table import table

TREE = {
    "models": {name: {"role": role} for name, role in {"s": "student", "a": "teacher", "b": "teacher"}.items()},
    "tasks": {
        "x/knn": {"s": {"score": 66.0}, "a": {"score": 60.0}, "b": {"score": 50.0}},
        "y/knn": {"s": {"score": 45.0}, "a": {"score": 40.0}, "b": {"score": 50.0}},
        "r/depth": {"s": {"score": 0.6}, "a": {"score": 0.5}, "b": {"score": 0.8}},
        "z/knn": {"s": {"score": 1.0}, "a": {"score": 0.0}, "b": {"error": "out of luck"}},
    },
    "measures": {"r/depth": {"name": "RMSE m", "lower_is_better": True}},
}


@pytest.fixture
def board():
    return Scoreboard.of(Results.load(TREE))


def test_best_teachers_and_gains_over_them(board):
    assert board.best_teacher == {"x/knn": "a", "y/knn": "b", "r/depth": "a"}  # nothing is relative to a score of 0
    gains = {task: board.gain(task, "s") for task in TREE["tasks"]}
    assert gains == {"x/knn": pytest.approx(10), "y/knn": -10, "r/depth": pytest.approx(-20), "z/knn": None}
    assert board.difference("r/depth", 0.6, 0.5) == pytest.approx(-0.1)
    assert (board.student, board.teachers) == ("s", ["a", "b"])


def test_means_need_every_score(board):
    assert board.mean("s", ["x/knn", "y/knn"]) == 55.5
    assert board.mean("b", ["x/knn", "z/knn"]) is None
    assert board.mean("s", []) is board.mean(None, ["x/knn"]) is None
    assert board.best_single_teacher(["x/knn", "y/knn"]) == "a"  # 50 each: the first
    assert board.best_single_teacher(["y/knn"]) == "b"
    assert board.best_single_teacher(["r/depth"]) == "a"
    assert board.best_single_teacher([]) is None


def test_what_is_known_of_the_best_teachers_stands():
    assert Scoreboard.of(Results.load({**TREE, "best_teacher": {"x/knn": "b"}})).best_teacher == {"x/knn": "b"}


def test_the_best_of_values():
    values = {"a": 2.0, "b": 1.0, "c": 1.0}
    assert (best_of(values, lower_is_better=False), best_of(values, lower_is_better=True)) == ("a", "b")
    assert best_of({}, lower_is_better=True) is None


def test_table_and_page_mark_the_same_teachers():
    """Results that do not name the best teachers: both work them out here."""
    results = Results.load(TREE)
    rows = {row.label.split()[0]: row.cells for row in make_grid(results).rows if row.kind == "task"}
    of_page = {row["task"]: row["cells"] for row in table(Scores(results), {})["rows"]}
    for task, best in {"x/knn": "a", "y/knn": "b", "r/depth": "a", "z/knn": None}.items():
        expected = [name == best for name in TREE["models"]]
        assert [cell.is_best for cell in rows[task]] == expected
        assert [cell["is_best"] for cell in of_page[task]] == expected
