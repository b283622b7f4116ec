"""Generated images: the same for the same keys, different otherwise; statistics that each family promises."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

from unic import lookup, trust
from unic.data.generated import dead_leaves, spectral
from unic.data.loader import view_batches
from unic.data.shards.writing import write_shards
from unic.data.sources import open_source
from unic.errors import InputError

FAMILIES = lookup.names("unic.data.generated")


def pixels(path: str, index: int = 0) -> np.ndarray:
    return np.asarray(open_source(path).read(index))


def _in_a_process(path: str) -> bytes:
    return pixels(path, 3).tobytes()


@pytest.mark.parametrize("family", FAMILIES)
def test_an_image_is_a_function_of_seed_and_index(family: str) -> None:
    path = f"generated:{family}?images=10&size=48"
    source = open_source(path)
    assert len(source) == 10
    assert source.classes is None
    image = source.read(3)
    assert (image.mode, image.size) == ("RGB", (48, 48))
    source.read(7)
    assert source.read(3).tobytes() == image.tobytes()
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(_in_a_process, (path,)) == image.tobytes()
    others = [source.read(4), open_source(f"{path}&seed=1").read(3)]
    assert all(other.tobytes() != image.tobytes() for other in others)
    assert open_source(f"generated:{family}?images=20&size=48").read(3).tobytes() == image.tobytes()  # a longer set
    assert np.asarray(image).std() > 1  # it is not one colour


def test_fingerprints_tell_what_decides_an_image() -> None:
    base = "generated:dead_leaves?images=10&size=48"
    paths = [
        base, f"{base}&seed=1", "generated:dead_leaves?images=11&size=48", "generated:dead_leaves?images=10&size=64",
        f"{base}&leaves=50", f"{base}&shapes=circles", "generated:strokes?images=10&size=48",
    ]  # fmt: skip
    sources = [open_source(path) for path in paths]
    assert len({source.fingerprint() for source in sources}) == len(paths)
    assert len({source.portable_fingerprint() for source in sources}) == len(paths)
    assert open_source(base).fingerprint() == sources[0].fingerprint()
    reordered = open_source("generated:dead_leaves?size=48&shapes=circles&images=10")
    assert reordered.fingerprint() == sources[5].fingerprint()


def test_radii_of_dead_leaves_follow_the_power_law() -> None:
    least, largest = 2.0, 100.0
    found = dead_leaves._radii(np.random.default_rng(0).random(20_000), least, largest, 3.0)

    def distribution(radius: np.ndarray) -> np.ndarray:  # the integral of r^-3, by hand
        return (least**-2 - radius**-2) / (least**-2 - largest**-2)

    assert stats.kstest(found, distribution).pvalue > 0.01
    wrong = stats.kstest(found, lambda radius: (1 / least - 1 / radius) / (1 / least - 1 / largest))
    assert wrong.pvalue < 1e-6


@pytest.mark.parametrize("exponent", [0.5, 1.0, 2.0])
def test_spectral_noise_has_the_exponent_it_is_given(exponent: float) -> None:
    size = 128
    noise = spectral.field(np.random.default_rng(0), size, np.array([exponent, exponent]))
    assert np.abs(noise.mean((0, 1))).max() < 1e-3
    np.testing.assert_allclose(noise.std((0, 1)), 1, atol=1e-3)
    amplitude = np.abs(np.fft.fft2(noise[..., 0]))
    frequencies = np.arange(4, size // 3)
    along = amplitude[frequencies, frequencies]  # on the diagonal both frequencies are equal: 1 / (2 f^a)
    slope = np.polyfit(np.log(frequencies + 1), np.log(along), 1)[0]
    assert slope == pytest.approx(-exponent, abs=0.05)


def test_batches_subsets_and_shards_take_generated_images(tmp_path: Path) -> None:
    source = open_source("generated:strokes?images=6&size=40", limit=4)
    batches = list(view_batches(source, size=32, batch_size=4, workers=0))
    assert batches[0].images.shape == (4, 3, 32, 32)
    assert not batches[0].damaged
    again = next(iter(view_batches(source, size=32, batch_size=4, workers=1)))
    assert torch.equal(again.images, batches[0].images)
    write_shards(source, tmp_path / "shards")
    shards = open_source(str(tmp_path / "shards"))
    assert len(shards) == 4


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("generated:dead_leafs", "dead_leaves"),
        ("generated:", "unknown generated ''"),
        ("generated:dead_leaves?image=10", "'images'"),
        ("generated:dead_leaves?leafs=10", "'leaves'"),
        ("generated:dead_leaves?images=0", "images=0;.*from 1"),
        ("generated:dead_leaves?images=1e5", "images=1e5"),
        ("generated:dead_leaves?size=100000", "size=100000"),
        ("generated:dead_leaves?leaves=many", "leaves=many;.* 300"),
        ("generated:dead_leaves?leaves=0", "leaves >= 1"),
        ("generated:dead_leaves?shapes=stars", "shapes=stars;.*mixed, circles"),
        ("generated:dead_leaves?images=5&images=6", "twice"),
    ],
)
def test_a_wrong_path_is_one_line(path: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        open_source(path)
    assert "\n" not in str(error.value)


def test_generated_images_have_no_test_part() -> None:
    with pytest.raises(InputError, match="no split 'test'"):
        open_source("generated:strokes?images=4", split="test")


def test_a_family_of_ones_own_must_be_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_family.py").write_text(
        "import numpy as np\n\n\ndef draw(random, size, *, grey):\n"
        "    return np.full((size, size, 3), int(grey) * random.integers(1, 9), np.uint8)\n"
    )
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/family.py").write_text((tmp_path / "my_family.py").read_text())
    monkeypatch.syspath_prepend(tmp_path)
    path = "generated:mine.family?images=3&size=8&grey=20"
    with pytest.raises(InputError, match=r"mine\.family"):
        open_source(path)
    with trust.trusting(["mine.family"]):
        image = np.asarray(open_source(path).read(0))
        with pytest.raises(InputError, match="needs the option 'grey', which has no default"):
            open_source("generated:mine.family?images=3")
    assert image.shape == (8, 8, 3)
    assert image[0, 0, 0] % 20 == 0
