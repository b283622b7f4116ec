from unic.eval.online import OnlineKnn
from unic.eval.suite import Suite


def test_scores_each_set_and_leaves_the_student_as_it_was(coloured, colours):
    student = colours().train()
    callback = OnlineKnn(Suite(data=[f"a={coloured}", f"b={coloured}"], size=8), limit=25)
    scores = callback(student, 10)
    assert set(scores) == {"knn/a", "knn/b", "knn/mean"}
    assert scores["knn/a"] == scores["knn/b"] == scores["knn/mean"] > 60
    assert student.training


def test_a_look_that_fails_is_a_warning(coloured, colours, monkeypatch, caplog):
    callback = OnlineKnn(Suite(data=[f"a={coloured}"], size=8), limit=25)
    monkeypatch.setattr("unic.eval.online.extract", lambda *_, **__: 1 / 0)
    assert callback(colours(), 10) == {}
    assert "k-NN at step 10 failed: ZeroDivisionError" in caplog.text
