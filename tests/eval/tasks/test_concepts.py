from dataclasses import replace

import numpy as np
import pytest

from unic.errors import InputError
from unic.eval.datasets import open_pair
from unic.eval.subject import Subject
from unic.eval.tasks import concepts, knn


@pytest.fixture
def levels(coloured):
    """Two levels of unequal size: 30 test images, and 7."""
    whole = open_pair("levels", str(coloured))
    return replace(whole, parts={"L1": whole, "L2": replace(whole, name="second").limited(25, 7)})


@pytest.fixture
def subject(levels, colours):
    return Subject("m", "other", levels, lambda: colours(noise=0.2), size=8)


def test_the_score_is_the_mean_over_parts(subject, levels):
    result = concepts.run(subject, probe="knn", probe_options={"k": 3})
    scores = []
    for name, part in levels.parts.items():
        alone = replace(subject, pair=part)
        outcome = knn.run(alone.labelled("train"), alone.labelled("test"), k=3)
        scores.append(outcome.score)
        assert result.details["parts"][name] == {"top1": pytest.approx(outcome.score, abs=1e-3), **outcome.details}
    assert scores[0] != scores[1]
    assert result.score == pytest.approx(np.mean(scores))
    assert result.marks.shape == (37, 4)
    assert result.predicted is None, "class numbers mean something else in each part"


def test_resampled_parts_count_alike_and_one_may_be_missing():
    means = np.array([[0.2, 0.3, 0.5, 0.5], [0.4, 0.0, 1.0, 0.0]])  # the second resample has no image of part 2
    np.testing.assert_allclose(concepts.MEASURE.reduce(means), [100 * (0.4 + 0.6) / 2, 40.0])


def test_the_encoder_is_loaded_once_and_the_linear_probe_is_the_default(levels, colours):
    loaded = []
    subject = Subject("m", "other", levels, lambda: loaded.append(1) or colours(noise=0.2), size=8)
    result = concepts.run(subject, seed=2, probe_options={"lr": 10.0, "epochs": 3})
    assert loaded == [1]
    assert result.details["probe"] == "linear"
    assert result.details["parts"]["L2"]["lr"] == 10.0


def test_models_side_by_side_move_to_each_part_together(levels, colours):
    members = [Subject(str(noise), "teacher", levels, lambda n=noise: colours(noise=n), size=8) for noise in (0.1, 0.3)]
    result = concepts.run(Subject("concat", "concat", levels, members=members), probe="knn")
    second = [replace(member, pair=levels.parts["L2"]) for member in members]
    joined = Subject("concat", "concat", levels.parts["L2"], members=second)
    expected = knn.run(joined.labelled("train"), joined.labelled("test")).score
    assert result.details["parts"]["L2"]["top1"] == pytest.approx(expected, abs=1e-3)


def test_wrong_input_is_one_line(subject, levels):
    with pytest.raises(InputError, match="concepts: .*'second'.*parts"):
        concepts.run(replace(subject, pair=levels.parts["L2"]))
    with pytest.raises(InputError, match="'linaer'.*'linear'"):
        concepts.run(subject, probe="linaer")
    with pytest.raises(InputError, match="concepts: probe 'knn'.*'C'"):
        concepts.run(subject, probe="knn", probe_options={"C": 1})
