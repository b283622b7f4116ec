import re

import numpy as np
import pytest

from unic.errors import InputError
from unic.eval.tasks import Labelled, knn, linear, longtail

COUNTS = [150, 101, 100, 20, 19, 2]  # on both sides of both thresholds


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(len(COUNTS), 8))

    def split(counts):
        y = np.repeat(np.arange(len(counts)), counts)
        return Labelled((centres[y] + rng.normal(size=(len(y), 8))).astype(np.float32), y)

    return split(COUNTS), split([3, 4, 5, 6, 7, 8])


def test_groups_are_of_classes_by_their_training_images(images):
    train, test = images
    result = longtail.run(train, test, probe="knn", probe_options={"k": 5})
    plain = knn.run(train, test, k=5)
    np.testing.assert_array_equal(result.marks, plain.marks)
    np.testing.assert_array_equal(result.predicted, plain.predicted)
    assert result.details["k"] == 5
    assert result.details["mean_per_class"] == plain.details["mean_per_class"]
    groups = result.details["groups"]
    right = plain.predicted == test.y
    for name, classes, num_images in [("head", [0, 1], 7), ("medium", [2, 3], 11), ("tail", [4, 5], 15)]:
        expected = 100 * right[np.isin(test.y, classes)].mean()
        assert groups[name] == {"top1": pytest.approx(expected, abs=1e-3), "classes": 2, "images": num_images}
    assert groups["head"]["top1"] != groups["tail"]["top1"]


def test_thresholds_are_options_and_a_group_may_be_empty(images):
    train, test = images
    groups = longtail.run(train, test, probe="knn", head=149, tail=2).details["groups"]
    assert [groups[name]["classes"] for name in ("head", "medium", "tail")] == [1, 5, 0]
    assert groups["tail"] == {"top1": None, "classes": 0, "images": 0}


def test_a_class_without_training_images_is_of_the_tail(images):
    train, test = images
    seen = train.y < 5
    groups = longtail.run(Labelled(train.x[seen], train.y[seen]), test, probe="knn").details["groups"]
    assert groups["tail"]["classes"] == 2
    assert groups["tail"]["images"] == 15


def test_probes_linearly_with_the_seed_given(images):
    options = {"trials": 2, "epochs": 2, "batch_size": 64}
    result, expected = longtail.run(*images, seed=3, probe_options=options), linear.run(*images, seed=3, **options)
    np.testing.assert_array_equal(result.marks, expected.marks)
    assert result.details["lr"] == expected.details["lr"]


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"probe": "liner"}, "'liner'.*'linear'"),
        ({"probe_options": {"epoch": 3}}, "probe 'linear'.*'epoch'.*'epochs'"),
        ({"probe_options": {"seed": 3}}, "probe 'linear'.*'seed'"),
        ({"head": 5, "tail": 6}, "tail.*head.* 6 and 5"),
    ],
)
def test_wrong_options_are_one_line(images, options, line):
    with pytest.raises(InputError) as error:
        longtail.run(*images, **options)
    assert re.match(f"longtail: .*{line}", str(error.value))
    assert "\n" not in str(error.value)
