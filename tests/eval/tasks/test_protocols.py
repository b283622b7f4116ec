"""The published protocol of `linear` and `logistic`, against torch, Optuna and scikit-learn used as the paper's code
uses them."""

import math

import numpy as np
import optuna
import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression

from unic.errors import InputError
from unic.eval.probes.linear_heads import Schedule, Setting, train_heads
from unic.eval.probes.unit_vectors import UnitVectors
from unic.eval.tasks import Labelled, linear, logistic, longtail


def images(n, dim=12, classes=5, seed=0):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(classes, dim))
    y = np.concatenate([np.arange(classes), rng.integers(0, classes, n + 300 - classes)])
    scale = 10.0 ** rng.uniform(-1, 1, dim)
    x = ((centres[y] + 1.3 * rng.normal(size=(n + 300, dim))) * scale).astype(np.float32)
    return Labelled(x[:n], y[:n]), Labelled(x[n:], y[n:])


def halved_by_class(y, seed):
    """Rows to fit on and a fifth of each class, rounded down, of the package's own draw."""
    kept, held = logistic.stratified_split(y, 0.2, seed, rounded=math.floor)
    for label in np.unique(y):
        count = int((y == label).sum())
        assert (y[held] == label).sum() == max(1, int(0.2 * count)) or count == 1
    return kept, held


def test_heads_are_those_of_a_plain_loop_with_a_rate_by_epoch():
    """The rate changes after each epoch, by the number of that epoch: the first two have the full rate."""
    train, _ = images(100)
    schedule, epochs = Schedule(6, 32, seed=3, is_published=True), 6
    settings = [Setting(0.5, 0.0), Setting(20.0, 1e-3)]
    found = train_heads(UnitVectors(train.x), train.y, np.arange(100), 5, settings, schedule).weights
    x, y = F.normalize(torch.from_numpy(train.x)), torch.from_numpy(train.y)
    start = schedule.start(5, 13)
    for head, (lr, decay) in zip(found, settings, strict=True):
        layer = torch.nn.Linear(12, 5)
        layer.load_state_dict({"weight": start[:, :-1].clone(), "bias": start[:, -1].clone()})
        optimiser = torch.optim.SGD(layer.parameters(), lr=lr, momentum=0.9, weight_decay=decay)
        for epoch in range(epochs):
            batches = [batch for pool in schedule.order(100, epoch) for batch in pool]
            assert [len(batch) for batch in batches] == [32, 32, 32, 4]
            for batch in batches:
                optimiser.zero_grad()
                F.cross_entropy(layer(x[batch]), y[batch]).backward()
                optimiser.step()
            optimiser.param_groups[0]["lr"] = lr * 0.5 * (1 + math.cos(math.pi * epoch / epochs))
        expected = torch.cat([layer.weight, layer.bias[:, None]], dim=1).detach()
        torch.testing.assert_close(head, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def test_heads_start_as_a_linear_layer_does():
    start = Schedule(1, 32, seed=0, is_published=True).start(500, 65)
    torch.manual_seed(0)
    layer = torch.nn.Linear(64, 500).requires_grad_(False)
    for own, theirs in ((start[:, :-1], layer.weight), (start[:, -1], layer.bias)):
        assert float(own.abs().max()) <= 1 / 8
        assert float(own.std()) == pytest.approx(float(theirs.std()), rel=0.1)
    assert not torch.equal(start, Schedule(1, 32, seed=1, is_published=True).start(500, 65))


def test_without_a_protocol_three_rounds_of_eight_are_asked_for(monkeypatch):
    asked = []

    def spy(vectors, y, rows, classes, settings, schedule):
        asked.append(len(settings))
        assert not schedule.is_published
        return train_heads(vectors, y, rows, classes, settings, schedule)

    monkeypatch.setattr(linear, "train_heads", spy)
    linear.run(*images(50), epochs=1)
    assert asked == [8, 8, 8, 1]


def test_linear_asks_for_the_forty_trials_of_the_paper_s_search(monkeypatch):
    train, test = images(150)
    asked = []

    def spy(vectors, y, rows, classes, settings, schedule):
        heads = train_heads(vectors, y, rows, classes, settings, schedule)
        asked.append((settings, len(rows), (heads.predict(vectors, held)[0] == y[held]).mean()))
        return heads

    kept, held = halved_by_class(train.y, seed=4)
    monkeypatch.setattr(linear, "train_heads", spy)
    result = linear.run(train, test, seed=4, protocol="unic", epochs=1, batch_size=64)
    assert [(len(settings), rows) for settings, rows, _ in asked] == [(1, len(kept))] * 40 + [(1, 150)]

    def objective(trial):
        wanted = trial.suggest_float("lr", 0.1, 100, log=True), trial.suggest_float("wd", 1e-12, 1e-4, log=True)
        (setting,), _, accuracy = asked[trial.number]
        assert tuple(setting) == pytest.approx(wanted)
        return accuracy

    with pytest.warns(optuna.exceptions.ExperimentalWarning):
        sampler = optuna.samplers.TPESampler(multivariate=True, group=True, seed=4)
    study = optuna.create_study(sampler=sampler, direction="maximize")
    study.optimize(objective, n_trials=40)
    assert result.details["lr"] == pytest.approx(study.best_params["lr"])
    assert result.details["weight_decay"] == pytest.approx(study.best_params["wd"])
    assert result.details["validation"] == pytest.approx(100 * study.best_value, abs=1e-3)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # the limit is part of the protocol
@pytest.mark.parametrize(("classes", "C"), [(5, 1e-3), (5, 1e5), (2, 0.1)])
def test_logistic_is_scikit_learn_on_raw_features(classes, C):
    train, test = images(200, classes=classes)
    reference = LogisticRegression(C=C, max_iter=2000).fit(train.x, train.y)
    result = logistic.run(train, test, protocol="unic", C=C)
    np.testing.assert_array_equal(result.predicted, reference.predict(test.x))
    assert result.details["iterations"] == reference.n_iter_[0]
    assert result.details["train_accuracy"] == pytest.approx(100 * reference.score(train.x, train.y), abs=1e-3)
    scaled = Labelled(train.x * np.float32(10), train.y), Labelled(test.x * np.float32(10), test.y)
    assert (logistic.run(*scaled, C=C).predicted == logistic.run(train, test, C=C).predicted).all()
    assert (logistic.run(*scaled, protocol="unic", C=C).predicted != result.predicted).any()


def test_logistic_searches_as_the_paper_does():
    train, test = images(150)
    kept, held = halved_by_class(train.y, seed=2)

    def objective(trial):
        model = LogisticRegression(C=trial.suggest_float("C", 1e-5, 1e6, log=True), max_iter=2000)
        return model.fit(train.x[kept], train.y[kept]).score(train.x[held], train.y[held])

    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=2), direction="maximize")
    study.optimize(objective, n_trials=12)
    result = logistic.run(train, test, seed=2, protocol="unic", trials=12)
    assert result.details["C"] == pytest.approx(study.best_params["C"])
    assert result.details["validation"] == pytest.approx(100 * study.best_value, abs=1e-3)
    expected = LogisticRegression(C=study.best_params["C"], max_iter=2000).fit(train.x, train.y).predict(test.x)
    np.testing.assert_array_equal(result.predicted, expected)
    again = logistic.run(train, test, seed=2, protocol="unic", trials=12)
    np.testing.assert_array_equal(again.marks, result.marks)
    assert again.details == result.details


def test_a_class_without_training_images_is_never_predicted():
    train, test = images(150)
    some = train.y != 1
    for classes in ((0, 2, 3, 4), (0, 3)):
        some = np.isin(train.y, classes)
        result = logistic.run(Labelled(train.x[some], train.y[some]), test, protocol="unic", C=1.0)
        assert set(result.predicted) == set(classes)


@pytest.mark.parametrize("task", [linear, logistic])
@pytest.mark.usefixtures("unchecked")
def test_an_unknown_protocol_is_one_line(task):
    with pytest.raises(InputError, match=r"^(linear|logistic): unknown protocol 'unik'.*'unic'") as error:
        task.run(*images(50), protocol="unik")
    assert "\n" not in str(error.value)
    options = {"protocol": "unik"}
    with pytest.raises(InputError, match="unknown protocol 'unik'"):
        longtail.run(*images(50), probe=task.__name__.rpartition(".")[2], probe_options=options)
