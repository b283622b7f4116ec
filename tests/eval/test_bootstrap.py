import numpy as np

from unic.eval.bootstrap import RESAMPLES, interval, resample


def test_equals_drawing_images():
    marks = np.random.default_rng(0).random((3, 40))
    drawn = resample(marks, seed=1)
    assert drawn.shape == (RESAMPLES, 3)
    np.testing.assert_allclose(drawn.mean(0), 100 * marks.mean(1), atol=1.0)
    expected = 100 * marks.std(1) / np.sqrt(40)
    np.testing.assert_allclose(drawn.std(0), expected, rtol=0.1)
    np.testing.assert_array_equal(drawn, resample(marks, seed=1))


def test_interval_covers_the_true_accuracy():
    """Of 200 test sets of 300 images, the 95 % interval holds the true 70 % in about 95 of 100."""
    rng = np.random.default_rng(0)
    held = 0
    for seed in range(200):
        low, high = interval(resample((rng.random((1, 300)) < 0.7).astype(float), seed=seed)[:, 0])
        held += low <= 70 <= high
    assert 0.90 <= held / 200 <= 0.985


def test_pairing_narrows_the_interval_of_a_difference():
    rng = np.random.default_rng(0)
    first = (rng.random(500) < 0.6).astype(float)
    second = first.copy()
    second[:10] = 1.0  # differs on few images only
    paired = resample(np.stack([first, second]), seed=0)
    low, high = interval(paired[:, 1] - paired[:, 0])
    alone = interval(paired[:, 0])
    assert high - low < (alone[1] - alone[0]) / 3
    assert low <= 100 * (second.mean() - first.mean()) <= high
