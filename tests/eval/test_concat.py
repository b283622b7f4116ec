import numpy as np

from unic.eval.concat import concatenate
from unic.eval.tasks import Labelled


def test_each_part_is_standardised_by_training_and_divided_by_root_dim():
    rng = np.random.default_rng(0)
    y_train, y_test = np.arange(30) % 3, np.arange(10) % 3
    raw = [
        (rng.normal(5, 3, (30, dim)).astype(np.float32), rng.normal(5, 3, (10, dim)).astype(np.float32))
        for dim in (4, 9)
    ]
    train, test = concatenate([(Labelled(a, y_train), Labelled(b, y_test)) for a, b in raw])
    expected = np.concatenate([(b - a.mean(0)) / (a.std(0) + 1e-6) / np.sqrt(a.shape[1]) for a, b in raw], axis=1)
    np.testing.assert_allclose(test.x, expected, rtol=1e-5, atol=1e-6)
    assert train.x.dtype == np.float32
    assert train.x.shape == (30, 13)
    for part in (train.x[:, :4], train.x[:, 4:]):  # neither outvotes the other
        np.testing.assert_allclose((part**2).sum(1).mean(), 1, rtol=1e-4)


def test_constant_channels_stay_finite():
    y = np.arange(6) % 2
    part = Labelled(np.ones((6, 3), np.float32), y)
    train, test = concatenate([(part, part), (part, part)])
    assert not train.x.any()
    assert not test.x.any()
