import numpy as np
import pytest

from unic.errors import InputError
from unic.eval.tasks import Labelled, knn


@pytest.fixture
def blobs():
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(5, 12))

    def split(count):
        y = rng.integers(0, 5, count)
        return Labelled((centres[y] + 1.5 * rng.normal(size=(count, 12))).astype(np.float32), y)

    return split(400), split(150)


def by_definition(train, test, k, temperature):
    """float64, one image at a time; of equal similarities the first in order is the nearest."""
    predicted = []
    for row in test.x.astype(np.float64):
        cosine = (train.x * row).sum(1, dtype=np.float64) / np.linalg.norm(row)
        cosine = np.round(cosine / np.linalg.norm(train.x.astype(np.float64), axis=1), 9)
        order = np.lexsort((np.arange(len(cosine)), -cosine))[:k]
        votes = np.bincount(train.y[order], np.exp((cosine[order] - 1) / temperature))
        predicted.append(np.round(votes, 12).argmax())
    return np.array(predicted)


@pytest.mark.parametrize(("chunk", "bank"), [(5, 11), (3, 50), (1024, 32768)])
def test_of_equally_near_images_the_first_count_whatever_the_chunks(chunk, bank, monkeypatch):
    monkeypatch.setattr(knn, "_CHUNK", chunk)
    monkeypatch.setattr(knn, "_BANK", bank)
    rng = np.random.default_rng(1)
    originals = rng.normal(size=(25, 33)).astype(np.float32)
    copied = rng.integers(0, 25, 240)  # about ten copies of each image, under any of six labels, one class at a time
    train = Labelled(originals[copied], np.sort(rng.integers(0, 6, 240)))
    near = originals[rng.integers(0, 25, 60)] + 0.3 * rng.normal(size=(60, 33)).astype(np.float32)
    test = Labelled(near, rng.integers(0, 6, 60))
    for k in (1, 5, 10, 20, 100):
        np.testing.assert_array_equal(knn.run(train, test, k=k).predicted, by_definition(train, test, k, 0.07))


def test_vectors_may_be_a_read_only_memory_map(blobs, tmp_path):
    train, test = blobs
    np.save(tmp_path / "x.npy", train.x)
    mapped = Labelled(np.load(tmp_path / "x.npy", mmap_mode="r"), train.y)
    np.testing.assert_array_equal(knn.run(mapped, test).predicted, knn.run(train, test).predicted)


def test_more_neighbours_than_images_are_all_of_them(blobs):
    train, test = blobs
    few = Labelled(train.x[:15], train.y[:15])
    np.testing.assert_array_equal(knn.run(few, test, k=200).marks[:, 0], knn.run(few, test, k=15).marks[:, 0])


def test_ignores_length_and_survives_small_temperatures(blobs):
    train, test = blobs
    longer = Labelled(train.x * 1e4, train.y)
    np.testing.assert_array_equal(knn.run(longer, test).marks[:, 0], knn.run(train, test).marks[:, 0])
    cold = knn.run(train, test, temperature=1e-3)  # exp(1 / T) would overflow
    np.testing.assert_array_equal(cold.marks[:, 0], knn.run(train, test, k=1).marks[:, 0])


def test_far_neighbours_vote_at_small_temperatures():
    rng = np.random.default_rng(0)
    train = Labelled(rng.normal(size=(200, 64)).astype(np.float32), rng.integers(0, 5, 200))
    test = Labelled(rng.normal(size=(100, 64)).astype(np.float32), rng.integers(0, 5, 100))
    cold = knn.run(train, test, temperature=1e-4)
    np.testing.assert_array_equal(cold.predicted, knn.run(train, test, k=1).predicted)


def test_seed_changes_nothing_and_mean_per_class_weighs_classes_alike(blobs):
    train, test = blobs
    one, two = knn.run(train, test, seed=0), knn.run(train, test, seed=1)
    np.testing.assert_array_equal(one.marks[:, 0], two.marks[:, 0])
    per_class = np.mean([one.marks[:, 0][test.y == label].mean() for label in range(5)])
    assert one.details["mean_per_class"] == pytest.approx(100 * per_class, abs=1e-3)


def test_wrong_input_is_one_line(blobs):
    train, test = blobs
    with pytest.raises(InputError, match="positive.* 0 and 0.07"):
        knn.run(train, test, k=0)
    with pytest.raises(InputError, match="two classes"):
        knn.run(Labelled(train.x, np.zeros_like(train.y)), test)
