import shutil
from dataclasses import replace

import numpy as np
import pytest

from unic.data.sources import open_source
from unic.errors import InputError
from unic.eval.corruptions import Corrupted, Square
from unic.eval.datasets import open_pair
from unic.eval.plan import make_plan
from unic.eval.subject import Subject
from unic.eval.suite import Entry, Suite
from unic.eval.tasks import logistic, robustness


@pytest.fixture(autouse=True)
def _fresh(monkeypatch):
    monkeypatch.setattr(robustness, "_fitted", {})


@pytest.fixture
def subject(coloured, colours, tmp_path):
    encoder = colours(noise=0.1)
    return Subject("colours", "other", open_pair("c", str(coloured)), lambda: encoder, size=12, cache=tmp_path)


@pytest.fixture
def shifted(coloured, subject, tmp_path):
    """The test part has two of the three classes, in another folder, hence with other numbers."""
    for label in ("green", "red"):
        shutil.copytree(coloured / "val" / label, tmp_path / "shift" / label)
    return replace(subject, pair=replace(subject.pair, test=open_source(str(tmp_path / "shift"))))


OPTIONS = {"probe_options": {"C": 1.0}}


def test_without_corruptions_and_with_all_classes_it_is_the_probe(subject):
    outcome = robustness.run(subject, **OPTIONS)
    expected = logistic.run(subject.labelled("train"), subject.labelled("test"), C=1.0)
    np.testing.assert_array_equal(outcome.predicted, expected.predicted)
    np.testing.assert_array_equal(outcome.marks, expected.marks)
    assert outcome.details["unmasked"] == pytest.approx(outcome.score, abs=1e-3)
    assert outcome.details["C"] == 1.0
    assert outcome.details["num_classes"] == 3


def test_a_shifted_set_is_judged_among_its_own_classes(shifted):
    outcome = robustness.run(shifted, **OPTIONS)
    train, test = shifted.labelled("train"), shifted.labelled("test")
    logits = logistic.fit_classifier(train, C=1.0).logits(test.x).numpy()
    assert set(test.y) == {1, 2}
    masked = np.where(np.isin(np.arange(3), [1, 2]), logits, -np.inf).argmax(1)
    np.testing.assert_array_equal(outcome.predicted, masked)
    assert outcome.score == pytest.approx(100 * (masked == test.y).mean())
    assert outcome.details["unmasked"] == pytest.approx(100 * (logits.argmax(1) == test.y).mean(), abs=1e-3)
    assert outcome.details["unmasked"] < outcome.score, "or the mask does nothing here"
    assert outcome.details["num_classes"] == 2


def test_the_classifier_is_fitted_once_for_all_sets_with_its_training_part(subject, shifted, monkeypatch):
    fitted = []
    real = logistic.fit_classifier

    def counted(train, *, seed=0, C=None, trials=40):
        fitted.append(seed)
        return real(train, seed=seed, C=C, trials=trials)

    monkeypatch.setattr(logistic, "fit_classifier", counted)
    for one in (subject, shifted):
        robustness.run(one, **OPTIONS)
    assert fitted == [0]
    robustness.run(subject, seed=1, **OPTIONS)
    robustness.run(subject, probe_options={"C": 2.0})
    robustness.run(replace(subject, vector="patch_mean"), **OPTIONS)
    robustness.run(replace(subject, size=8), **OPTIONS)
    assert fitted == [0, 1, 0, 0, 0]


def test_the_sweep_is_the_mean_over_corruptions_and_severities(subject):
    outcome = robustness.run(subject, corruptions=["gaussian_noise", "contrast"], severities=[1, 5], **OPTIONS)
    classifier = logistic.fit_classifier(subject.labelled("train"), C=1.0)
    view = Square(subject.pair.test, 12)
    correct = {}
    for name in ("gaussian_noise", "contrast"):
        for severity in (1, 5):
            seen = subject.labelled(Corrupted(view, name, severity))
            correct[name, severity] = classifier.logits(seen.x).argmax(1).numpy() == seen.y
            assert outcome.details["top1"][name][str(severity)] == pytest.approx(
                100 * correct[name, severity].mean(), abs=1e-3
            )
    np.testing.assert_allclose(outcome.marks[:, 0], np.mean(list(correct.values()), axis=0))
    clean = logistic.run(subject.labelled("train"), subject.labelled("test"), C=1.0).score
    assert outcome.details["clean"] == pytest.approx(clean, abs=1e-3)
    assert outcome.details["relative"] == pytest.approx(100 * outcome.score / clean, abs=1e-2)
    assert outcome.predicted is None
    assert outcome.score < clean


def test_all_corruptions_and_one_by_name(subject):
    everything = robustness.run(subject, corruptions="all", severities=[3], **OPTIONS).details["top1"]
    assert len(everything) == 12
    one = robustness.run(subject, corruptions="fog", severities=[3], **OPTIONS).details["top1"]
    assert one == {"fog": everything["fog"]}


def test_classes_without_training_images_are_never_chosen(subject):
    short = subject.labelled("train")
    classifier = logistic.fit_classifier(replace(short, x=short.x[short.y < 2], y=short.y[short.y < 2]), C=1.0)
    predicted = robustness._among(classifier.logits(subject.labelled("test").x), np.array([1, 2]))
    assert set(predicted) == {1}


def test_wrong_input_is_one_line(subject):
    for options, message in (
        ({"corruptions": ["foggy"]}, "'foggy'.*'fog'"),
        ({"corruptions": "fog", "severities": [0]}, "severity of 1 to 5, not 0"),
        ({"corruptions": "fog", "severities": []}, "at least one severity"),
        ({"probe": "logistics"}, "'logistics'.*'logistic'"),
        ({"probe_options": {"c": 1}}, "probe 'logistic': unknown option 'c'"),
        ({"probe": "knn"}, "has no 'fit_classifier'"),
    ):
        with pytest.raises(InputError, match=message):
            robustness.run(subject, **options)


def test_the_plain_probe_under_the_name_of_robustness_is_refused(coloured):
    """Before anything is measured; it would count twice in gains and ranks."""
    data = {"c": str(coloured)}
    with pytest.raises(InputError, match="robustness: .*'c'.*'corruptions'"):
        make_plan(None, ["knn", "robustness"], data)
    for corruptions in ("all", ["fog"], []):
        suite = Suite(data=["c=there"], tasks={"robustness": Entry(corruptions=corruptions)})
        assert [row.title for row in make_plan(suite, data=data).rows] == ["c/robustness"]


def test_a_set_that_is_known_to_be_shifted_needs_no_corruptions(subject):
    robustness.check(replace(subject.pair, is_shifted=True), {})
    with pytest.raises(InputError, match="corruptions"):
        robustness.check(subject.pair, {"probe": "linear"})
