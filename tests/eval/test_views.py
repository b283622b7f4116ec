"""Views of evaluation images that are not square, against torchvision."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms
from written import evaluate_models

from unic.data.augment import preset
from unic.errors import InputError
from unic.eval.datasets import open_pair
from unic.eval.online import OnlineKnn
from unic.eval.subject import Subject
from unic.eval.suite import SUITES, Entry, Suite

SIZES = [(300, 200), (201, 333), (224, 224), (31, 90), (640, 427), (500, 501)]


def picture(width, height):
    draw = np.random.default_rng(width)
    small = Image.fromarray(draw.integers(0, 256, (9, 7, 3), dtype=np.uint8))
    return small.resize((width, height), Image.Resampling.BICUBIC)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("view", "short", "side"), [("centre_crop", 224, 224), ("centre_crop_256", 256, 224)])
def test_a_centre_crop_has_the_pixels_of_torchvision(view, short, side, size):
    image = picture(*size)
    published = transforms.Compose(
        [
            transforms.Resize(short, interpolation=transforms.InterpolationMode.BICUBIC),
            transforms.CenterCrop(side),
            transforms.PILToTensor(),
        ]
    )
    assert torch.equal(preset(view).crop(image, 0, 0, 0, side), published(image))
    assert not preset(view).is_random


def test_a_square_view_is_near_and_not_the_same():
    image = picture(640, 427)
    square, crop, zoomed = (
        preset(name).crop(image, 0, 0, 0, 224).float() for name in ("none", "centre_crop", "centre_crop_256")
    )
    assert 0 < (square - crop).abs().mean() < 2 < (square - zoomed).abs().mean()


def test_a_view_that_is_not_square_is_covered():
    for view in ("centre_crop", "centre_crop_256"):
        for size in SIZES:
            assert preset(view).crop(picture(*size), 0, 0, 0, (48, 64)).shape == (3, 48, 64)
    wide = Image.new("RGB", (300, 100))
    wide.paste((255, 0, 0), (100, 0, 200, 100))  # the middle third
    assert (preset("centre_crop").crop(wide, 0, 0, 0, (32, 32))[0] > 128).all()


@pytest.fixture
def wide(tmp_path):
    """Two classes; an image has the colour of its class in the middle, and that of the other class at the edges."""
    draw = np.random.default_rng(0)
    for split, count in (("train", 8), ("val", 4)):
        for label, channel in {"red": 0, "blue": 2}.items():
            folder = tmp_path / "wide" / split / label
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = draw.integers(0, 30, (32, 48, 3), dtype=np.uint8)
                pixels[:, :, 2 - channel] += 60
                pixels[6:26, 14:34] = draw.integers(0, 30, (20, 20, 3), dtype=np.uint8)
                pixels[6:26, 14:34, channel] += 80
                Image.fromarray(pixels).save(folder / f"{number}.png")
    return tmp_path / "wide"


def test_features_of_another_view_are_other_entries_of_the_cache(wide, colours, tmp_path):
    encoder = colours()
    subject = Subject("m", "other", open_pair("w", str(wide)), lambda: encoder, size=8, cache=tmp_path / "cache")
    seen = {}
    for view in ("square", "centre_crop", "centre_crop_256"):
        seen[view] = subject.viewed(view).labelled("test").x
        assert subject.viewed(view).labelled("test").x is seen[view]
    assert subject.viewed("square") is subject
    assert len(list((tmp_path / "cache").glob("*-pooled"))) == 3
    expected = [
        preset("centre_crop_256").crop(subject.pair.test.read(index), 0, 0, 0, 8).float().mean((1, 2)) / 255
        for index in range(len(subject.pair.test))
    ]
    np.testing.assert_allclose(seen["centre_crop_256"], torch.stack(expected).numpy(), atol=1e-6)
    assert np.abs(seen["centre_crop_256"] - seen["square"]).max() > 0.01


def test_a_suite_and_a_task_set_the_view(wide, colours, tmp_path):
    """Each view is a cell of its own; with the default the key is that of versions without views."""
    models, roles = {"m": colours(), "n": colours(0.1)}, {"m": "teacher", "n": "teacher"}

    def measure(**settings):
        tasks = {"near": Entry(task="knn", k=3, view=settings.pop("entry", None)), "knn": Entry(k=3)}
        suite = Suite(data=[f"wide={wide}"], tasks=tasks, seeds=[0], size=8, **settings)
        results = evaluate_models(models, roles, suite=suite, cache=tmp_path / "cache")
        return results, len(list((tmp_path / "cache" / "cells").glob("*")))

    results, cells = measure()
    assert results["protocol"]["view"] == "square"
    assert cells == 3  # `near` and `knn` are the same cell, of each model and of both side by side
    results, more = measure(entry="centre_crop_256")
    assert results["protocol"]["tasks"]["near"]["view"] == "centre_crop_256"
    assert more == 6
    results, more = measure(entry="centre_crop_256", view="centre_crop")
    assert results["protocol"]["view"] == "centre_crop"
    assert more == 9
    assert not [entry for row in results["tasks"].values() for entry in row.values() if "error" in entry]


def test_looks_while_training_have_the_view_of_the_suite(wide, colours):
    suite = Suite(data=[f"wide={wide}"], size=8)
    found = {
        view: OnlineKnn(suite.model_copy(update={"view": view}))._augment for view in ("square", "centre_crop_256")
    }
    assert found == {"square": "none", "centre_crop_256": "centre_crop_256"}
    assert set(OnlineKnn(suite.model_copy(update={"view": "centre_crop"}))(colours(), 1)) == {"knn/wide", "knn/mean"}


def test_dense_tasks_refuse_a_view(tmp_path):
    suite = Suite(data=["scenes"], tasks={"segmentation": Entry(view="centre_crop")})
    with pytest.raises(InputError, match="'segmentation': option 'view' .* whole image"):
        evaluate_models({}, {}, suite=suite, cache=tmp_path)


def test_suites_that_measure_samples_keep_the_view_of_their_published_numbers():
    assert {name for name, suite in SUITES.items() if suite.view != "square"} == {"unic", "unic-l"}
