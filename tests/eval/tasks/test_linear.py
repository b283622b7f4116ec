import numpy as np
import pytest
import torch
import torch.nn.functional as F

from unic.errors import InputError
from unic.eval.probes import linear_heads as _linear_heads
from unic.eval.probes import unit_vectors as _unit_vectors
from unic.eval.probes.linear_heads import Schedule, Setting, train_heads
from unic.eval.probes.unit_vectors import UnitVectors
from unic.eval.tasks import Labelled, linear, logistic

SETTINGS = [Setting(0.3, 0.0), Setting(5.0, 1e-4), Setting(100.0, 1e-5), Setting(30.0, 1e-2), Setting(1.0, 1e-12)]


def images(n, dim=12, classes=5, seed=0, noise=1.3):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(classes, dim))
    y = np.concatenate([np.arange(classes), rng.integers(0, classes, n + 300 - classes)])
    x = ((centres[y] + noise * rng.normal(size=(n + 300, dim))) * rng.uniform(0.1, 10, (n + 300, 1))).astype(np.float32)
    return Labelled(x[:n], y[:n]), Labelled(x[n:], y[n:])


def trained(train, settings=SETTINGS, *, rows=None, schedule=None):
    rows = np.arange(len(train)) if rows is None else rows
    return train_heads(UnitVectors(train.x), train.y, rows, 5, settings, schedule or Schedule(6, 32, seed=3)).weights


def close(weights, expected):
    torch.testing.assert_close(weights, expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("at_once", [1, 5 * 32 * 2, 1 << 20])
def test_heads_at_once_are_what_each_is_alone(at_once, monkeypatch):
    train, _ = images(100)
    expected = [trained(train, [setting])[0] for setting in SETTINGS]
    monkeypatch.setitem(_linear_heads._AT_ONCE, "cpu", at_once)
    for head, alone in zip(trained(train), expected, strict=True):
        close(head, alone)


@pytest.mark.parametrize(("num_rows", "pool"), [(1000, 1 << 17), (1000, 128), (7, 128), (33, 1)])
def test_an_epoch_has_every_row_once_in_equal_batches(num_rows, pool, monkeypatch):
    monkeypatch.setattr(_linear_heads, "_POOL", pool)
    schedule = Schedule(1, 32, seed=0)
    pools = list(schedule.order(num_rows, 0))
    batches = [batch for pool in pools for batch in pool]
    assert sorted(torch.cat(batches).tolist()) == list(range(num_rows))
    assert len(batches) == schedule.num_batches(num_rows) == -(-num_rows // 32)
    sizes = {len(batch) for batch in batches}
    assert max(sizes) <= 32
    assert max(sizes) - min(sizes) <= 1
    for one in pools:  # read in ascending order, a pool is a few runs of neighbours
        assert (torch.cat(one).sort().values.diff() > 1).sum() <= sum(map(len, one)) / 8 + 2


@pytest.mark.parametrize("pool", [1 << 17, 128])
def test_the_order_is_a_function_of_seed_and_epoch(pool, monkeypatch):
    monkeypatch.setattr(_linear_heads, "_POOL", pool)

    def order(seed, epoch):
        return torch.cat([torch.cat(pool) for pool in Schedule(1, 32, seed).order(1000, epoch)])

    assert torch.equal(order(0, 0), order(0, 0))
    assert not torch.equal(order(0, 0), order(0, 1))
    assert not torch.equal(order(0, 0), order(1, 0))


def test_features_on_a_disk_give_the_same_bits(tmp_path, monkeypatch):
    train, test = images(400)
    np.save(tmp_path / "x.npy", train.x)
    mapped = Labelled(np.load(tmp_path / "x.npy", mmap_mode="r"), train.y)
    monkeypatch.setattr(_linear_heads, "_POOL", 128)
    expected = linear.run(train, test, epochs=3, batch_size=32, trials=4)
    monkeypatch.setattr(_unit_vectors, "_KEPT_ON_CPU", 0)
    monkeypatch.setattr(_unit_vectors, "_CHUNK", 50)
    assert UnitVectors(mapped.x)._kept is None
    found = linear.run(mapped, test, epochs=3, batch_size=32, trials=4)
    np.testing.assert_array_equal(found.predicted, expected.predicted)
    assert found.details == expected.details


@pytest.mark.parametrize("search", ["tpe", "grid"])
def test_a_search_comes_close_to_logistic_regression(search):
    train, test = images(400)
    found = linear.run(train, test, seed=1, search=search)
    again = linear.run(train, test, seed=1, search=search)
    np.testing.assert_array_equal(found.marks, again.marks)
    assert found.details == again.details
    unit = [Labelled(F.normalize(torch.from_numpy(part.x)).numpy(), part.y) for part in (train, test)]
    assert found.score == pytest.approx(logistic.run(*unit, trials=15).score, abs=3)
    assert found.score > 65
    assert linear.run(train, test, lr=1e-3, epochs=5).score < found.score - 3  # so that the lines above say something
    assert found.details["validation"] > 65
    if search == "grid":
        assert found.details["lr"] in linear.GRID
        assert found.details["weight_decay"] == 0
    else:
        assert found.details["lr"] != linear.run(train, test, seed=2).details["lr"]


def test_a_search_asks_round_by_round_and_trains_the_best_again_on_all(monkeypatch):
    train, test = images(200)
    calls = []

    def spy(vectors, y, rows, classes, settings, schedule):
        calls.append((len(rows), settings))
        return train_heads(vectors, y, rows, classes, settings, schedule)

    monkeypatch.setattr(linear, "train_heads", spy)
    result = linear.run(train, test, trials=7, parallel=3, epochs=2)
    assert [len(settings) for _, settings in calls] == [3, 3, 1, 1]
    held = len(logistic.stratified_split(train.y, 0.2, seed=0)[1])
    assert [rows for rows, _ in calls] == [200 - held] * 3 + [200]
    (chosen,) = calls[-1][1]
    assert chosen in [setting for _, settings in calls[:-1] for setting in settings]
    assert result.details["lr"] == chosen.lr
    tried = [setting for _, settings in calls[:-1] for setting in settings]
    assert len(set(tried)) == 7
    assert all(0.1 <= lr <= 100 and 1e-12 <= decay <= 1e-4 for lr, decay in tried)


def test_fixed_rates_search_nothing():
    train, test = images(200)
    result = linear.run(train, test, lr=3.0, weight_decay=1e-5, epochs=5)
    assert (result.details["lr"], result.details["weight_decay"]) == (3.0, 1e-5)
    assert "validation" not in result.details
    assert linear.run(train, test, lr=3, epochs=5).details["weight_decay"] == 0


def test_the_classifier_answers_as_the_task_does():
    train, test = images(200)
    classifier = linear.fit_classifier(train, lr=3.0, epochs=5)
    result = linear.run(train, test, lr=3.0, epochs=5)
    logits = classifier.logits(test.x)
    assert logits.shape == (len(test), 5)
    np.testing.assert_array_equal(logits.argmax(1).numpy(), result.predicted)
    assert {**result.details, **classifier.details} == result.details


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"search": "grd"}, "'grd'.*'grid'"),
        ({"epochs": 0}, "epochs.*at least 1.* 0"),
        ({"lr": 0.0}, "lr.*positive.* 0.0"),
        ({"weight_decay": 1e-4}, "weight_decay.*lr"),
        ({"lr": 1.0, "weight_decay": -1.0}, "weight_decay.*negative.*-1.0"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_wrong_options_are_one_line(options, line):
    with pytest.raises(InputError, match=f"^linear: .*{line}") as error:
        linear.run(*images(50), **options)
    assert "\n" not in str(error.value)


def test_too_few_images_are_one_line():
    train, test = images(50)
    with pytest.raises(InputError, match="two classes.* 1"):
        linear.run(Labelled(train.x, np.zeros_like(train.y)), test)
    with pytest.raises(InputError, match="two training images"):
        linear.run(Labelled(train.x[:5], np.arange(5)), test)
