import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from unic.errors import InputError
from unic.eval.results.bootstrap import resampled_means
from unic.eval.tasks import Labelled, retrieval


def blobs(num, seed, classes=4, dim=10):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, num)
    centres = np.random.default_rng(9).normal(size=(classes, dim))
    return Labelled((centres[y] + 1.5 * rng.normal(size=(num, dim))).astype(np.float32), y)


def similarities(queries, shelf):
    left, right = (part.x.astype(np.float64) for part in (queries, shelf))
    return (left @ right.T) / np.linalg.norm(left, axis=1)[:, None] / np.linalg.norm(right, axis=1)


def reference(train, test, gallery):
    """AP by scikit-learn, recall at 1, 5, 10 and R-precision from the definition, one query at a time."""
    shelf = test if gallery == "test" else train
    rows = []
    for number, similarity in enumerate(similarities(test, shelf)):
        others = np.arange(len(shelf)) != number if gallery == "test" else np.ones(len(shelf), bool)
        relevant = (shelf.y == test.y[number])[others]
        ranked = relevant[np.argsort(-similarity[others])]
        if relevant.any():
            first = [100.0 * ranked[:k].any() for k in (1, 5, 10)]
            ap = average_precision_score(relevant, similarity[others])
            rows.append([number, ap, *first, 100 * ranked[: relevant.sum()].mean()])
    return np.array(rows)


@pytest.mark.parametrize("gallery", ["test", "train"])
@pytest.mark.parametrize("chunks", [(100, 7), (1 << 25, 32768)])
def test_equals_scikit_learn(gallery, chunks, monkeypatch):
    monkeypatch.setattr(retrieval, "_PAIRS", chunks[0])
    monkeypatch.setattr(retrieval, "_BANK", chunks[1])
    train, test = blobs(60, 0), blobs(45, 1)
    outcome = retrieval.run(train, test, gallery=gallery)
    expected = reference(train, test, gallery)
    np.testing.assert_allclose(outcome.marks, np.stack([expected[:, 1], np.ones(45)], 1), atol=1e-9)
    assert outcome.score == pytest.approx(100 * expected[:, 1].mean())
    recall, r_precision = outcome.details["recall"], outcome.details["r_precision"]
    assert [*recall.values(), r_precision] == pytest.approx(expected[:, 2:].mean(0).tolist(), abs=1e-3)
    assert list(recall) == ["1", "5", "10"]


def test_queries_without_an_answer_are_left_out_of_every_mean():
    train, test = blobs(60, 0), blobs(40, 1)
    lonely = np.concatenate([test.y, [7, 8]])
    wider = Labelled(np.concatenate([test.x, train.x[:2]]), lonely)
    outcome = retrieval.run(train, wider)
    expected = reference(train, wider, "test")
    assert outcome.details["num_queries"] == len(expected) == 40
    assert outcome.marks[40:].tolist() == [[0, 0], [0, 0]]
    assert outcome.score == pytest.approx(100 * expected[:, 1].mean())
    counts = np.random.default_rng(0).multinomial(42, np.full(42, 1 / 42), size=3)
    resampled = outcome.measure.reduce(counts @ outcome.marks / 42)
    kept = counts[:, :40]
    np.testing.assert_allclose(resampled, 100 * kept @ expected[:, 1] / kept.sum(1))
    assert np.isfinite(outcome.measure.reduce(resampled_means([outcome.marks], seed=0)[0])).all()


def test_a_resample_without_an_answerable_query_has_no_score():
    assert np.isnan(retrieval.MEASURE.reduce(np.array([[0.0, 0.0]]))).all()


def test_a_query_never_finds_itself():
    x = np.array([[1, 0], [1, 0.01], [0, 1], [0.01, 1]], np.float32)
    apart = retrieval.run(blobs(4, 0), Labelled(x, np.array([0, 1, 0, 1])))
    assert apart.details["recall"]["1"] == 0
    assert retrieval.run(blobs(4, 0), Labelled(x, np.array([0, 0, 1, 1]))).score == 100


def test_wrong_input_is_one_line():
    train, test = blobs(10, 0), blobs(10, 1)
    with pytest.raises(InputError, match="'tests'.*'test'"):
        retrieval.run(train, test, gallery="tests")
    with pytest.raises(InputError, match="the test part has no"):
        retrieval.run(train, Labelled(test.x, np.arange(10)))
