import pickle

import numpy as np
import pytest
from PIL import Image

from unic.data.augment import preset
from unic.data.sources import open_source
from unic.errors import InputError
from unic.eval.corruptions import CORRUPTIONS, SEVERITIES, Corrupted, Square, corrupt
from unic.features import extract


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Soft coloured spots and a sharp rectangle, in two sizes; two classes."""
    folder = tmp_path_factory.mktemp("pictures")
    draw = np.random.default_rng(0)
    for number in range(6):
        small = Image.fromarray(draw.integers(30, 200, (19, 23, 3), dtype=np.uint8))
        image = small.resize((157 + 20 * (number % 2), 143), Image.Resampling.BICUBIC)
        image.paste((200, 40, 60), (20, 24, 66, 80))
        (folder / "ab"[number % 2]).mkdir(exist_ok=True)
        image.save(folder / "ab"[number % 2] / f"{number}.png")
    return open_source(str(folder))


def difference(left, right):
    return float(np.mean((np.asarray(left, np.float64) - np.asarray(right, np.float64)) ** 2))


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_severities_change_more_and_more_and_keep_size_mode_and_label(pictures, name):
    changes = []
    for severity in SEVERITIES:
        source = Corrupted(pictures, name, severity)
        assert len(source) == len(pictures)
        assert [source.label(i) for i in range(6)] == [pictures.label(i) for i in range(6)] == [0, 0, 0, 1, 1, 1]
        images = [(source.read(i), pictures.read(i)) for i in range(6)]
        assert all((changed.size, changed.mode) == (clean.size, "RGB") for changed, clean in images)
        changes.append([difference(*pair) for pair in images])
    means = np.mean(changes, axis=1)
    assert means[0] > 1
    assert (np.diff(means) > 0).all(), means
    assert np.min(changes[-1]) > np.max(means[0]) / 2, "no image is spared at the highest severity"


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_pixels_are_a_function_of_corruption_severity_and_index(pictures, name):
    source = Corrupted(pictures, name, 3)
    again = pickle.loads(pickle.dumps(source))
    assert again.fingerprint() == source.fingerprint()
    assert all(difference(source.read(i), again.read(i)) == 0 for i in (4, 1, 1))
    grey = Image.new("RGB", (40, 40), (128, 128, 128))
    noisy = [corrupt(grey, name, 3, np.random.default_rng(seed)) for seed in (0, 1)]
    assert (difference(*noisy) > 0) == (name in {"gaussian_noise", "shot_noise", "impulse_noise", "fog"})


def test_noise_differs_between_images_and_severities(tmp_path):
    for number in range(2):
        Image.new("RGB", (20, 20), (128, 128, 128)).save(tmp_path / f"{number}.png")
    flat = open_source(str(tmp_path))
    hit = {
        (level, i): np.asarray(Corrupted(flat, "impulse_noise", level).read(i)) != 128
        for level in (4, 5)
        for i in (0, 1)
    }
    assert (hit[5, 0] != hit[5, 1]).any()
    assert (hit[4, 0] & ~hit[5, 0]).any(), "the milder one is not a part of the stronger one"


def test_noise_has_the_strength_it_says():
    grey = Image.new("RGB", (300, 300), (128, 128, 128))
    for severity, deviation in ((1, 0.08), (3, 0.18)):
        changed = np.asarray(corrupt(grey, "gaussian_noise", severity, np.random.default_rng(0)), float) / 255
        assert changed.std() == pytest.approx(deviation, rel=0.05)
    changed = np.asarray(corrupt(grey, "shot_noise", 1, np.random.default_rng(0)), float) / 255
    assert changed.std() == pytest.approx(0.13 * np.sqrt(0.5), rel=0.05)
    changed = np.asarray(corrupt(grey, "impulse_noise", 5, np.random.default_rng(0)))
    assert np.isin(changed, (0, 255)).mean() == pytest.approx(0.27, rel=0.05)


@pytest.mark.parametrize("name", ["defocus_blur", "motion_blur"])
def test_a_blur_spreads_a_point_without_moving_or_losing_it(name):
    black = np.zeros((61, 81, 3), np.uint8)
    black[30, 40] = 255
    spread = np.asarray(corrupt(Image.fromarray(black), name, 1, np.random.default_rng(3)), float)[..., 0]
    rows, columns = np.mgrid[:61, :81]
    centre = np.array([(spread * rows).sum(), (spread * columns).sum()]) / spread.sum()
    assert centre == pytest.approx([30, 40], abs=0.05)
    assert spread.sum() == pytest.approx(255, rel=0.05)
    assert spread.max() < 200


@pytest.mark.parametrize("name", ["defocus_blur", "motion_blur", "zoom_blur", "pixelate", "fog"])
def test_lengths_are_shares_of_the_side(pictures, name):
    """A picture and four times its size are changed alike."""
    image = pictures.read(0).resize((96, 96), Image.Resampling.BICUBIC)
    large = image.resize((384, 384), Image.Resampling.BICUBIC)
    small, changed = (corrupt(i, name, 5, np.random.default_rng(0)) for i in (image, large))
    assert difference(small, changed.resize((96, 96), Image.Resampling.BOX)) < 0.35 * difference(small, image)


def test_the_square_is_the_view_of_an_encoder_of_that_size(pictures, colours):
    wide = pictures.read(4)
    assert wide.size == (177, 143)
    square = Square(pictures, 24)
    expected = preset("none").crop(wide, 0, 0, 4, 24).permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(np.asarray(square.read(4)), expected)
    plain = extract(colours(), pictures, size=24)
    same = extract(colours(), square, size=24)
    np.testing.assert_array_equal(plain.cls, same.cls)
    assert same.labels.tolist() == plain.labels.tolist()


def test_fingerprints_name_what_was_done(pictures):
    kinds = [Corrupted(pictures, name, level) for name in ("fog", "contrast") for level in (1, 2)]
    kinds += [Square(pictures, 24), Square(pictures, 32), Corrupted(Square(pictures, 24), "fog", 1), pictures]
    assert len({source.fingerprint() for source in kinds}) == len(kinds)


def test_wrong_input_is_one_line(pictures):
    with pytest.raises(InputError, match="'foggy'.*'fog'"):
        Corrupted(pictures, "foggy", 1)
    with pytest.raises(InputError, match="'fog'.* 1 to 5.* 6"):
        Corrupted(pictures, "fog", 6)
