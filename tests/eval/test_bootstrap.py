import numpy as np

from unic.eval.results.bootstrap import RESAMPLES, interval, resampled_means


def test_equals_drawing_images():
    marks = np.random.default_rng(0).random((40, 3))
    drawn = resampled_means([marks[:, :1], marks[:, 1:]], seed=1)
    assert [part.shape for part in drawn] == [(RESAMPLES, 1), (RESAMPLES, 2)]
    joined = np.concatenate(drawn, axis=1)
    np.testing.assert_allclose(joined.mean(0), marks.mean(0), atol=0.01)
    np.testing.assert_allclose(joined.std(0), marks.std(0) / np.sqrt(40), rtol=0.1)
    np.testing.assert_array_equal(drawn[0], resampled_means([marks], seed=1)[0][:, :1])


def test_interval_covers_the_true_accuracy():
    """Of 200 test sets of 300 images, the 95 % interval holds the true 70 % in about 95 of 100."""
    rng = np.random.default_rng(0)
    held = 0
    for seed in range(200):
        (drawn,) = resampled_means([(rng.random((300, 1)) < 0.7).astype(float)], seed=seed)
        low, high = interval(100 * drawn[:, 0])
        held += low <= 70 <= high
    assert 0.90 <= held / 200 <= 0.985


def test_pairing_narrows_the_interval_of_a_difference():
    rng = np.random.default_rng(0)
    first = (rng.random(500) < 0.6).astype(float)
    second = first.copy()
    second[:10] = 1.0  # differs on few images only
    (paired,) = resampled_means([np.stack([first, second], axis=1)], seed=0)
    low, high = interval(paired[:, 1] - paired[:, 0])
    alone = interval(paired[:, 0])
    assert high - low < (alone[1] - alone[0]) / 3
    assert low <= second.mean() - first.mean() <= high
