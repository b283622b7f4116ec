import os
import pickle

import numpy as np
import pytest
from PIL import Image

from unic.data.sources import DamagedImageError, open_source
from unic.data.sources.arrays import Arrays
from unic.data.sources.listed import Listed
from unic.errors import InputError

NAMES = ["b/1.png", "a/ä 日.png", "b/deep/2.png"]


@pytest.fixture
def root(tmp_path):
    for shade, name in enumerate(NAMES):
        file = tmp_path / "set" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (3, 2), shade).save(file)
    return tmp_path / "set"


def test_images_come_in_the_order_of_the_list(root):
    source = pickle.loads(pickle.dumps(Listed("x", root, NAMES, [1, 0, 1], ["one", "two"])))
    assert [source.name(index) for index in range(len(source))] == NAMES
    assert [source.label(index) for index in range(3)] == [1, 0, 1]
    assert [source.read(index).getpixel((0, 0)) for index in range(3)] == [(shade,) * 3 for shade in range(3)]
    (root / NAMES[1]).write_bytes(b"no image")
    with pytest.raises(DamagedImageError):
        source.read(1)


def test_fingerprint_is_that_of_a_folder_and_follows_the_files(root):
    def fingerprint(names):
        return Listed("x", root, names, [0] * len(names), ["one"]).fingerprint()

    before = fingerprint(sorted(NAMES))
    assert before == open_source(str(root)).fingerprint()
    assert before != fingerprint(NAMES)
    os.utime(root / NAMES[0], (1, 1))
    assert before != fingerprint(sorted(NAMES))


@pytest.mark.parametrize("name", ["../secret.png", "a/../../secret.png", "/etc/hostname"])
def test_names_that_leave_the_root_are_refused(root, name):
    Image.new("L", (2, 2)).save(root.parent / "secret.png")
    with pytest.raises(InputError, match=f"outside.* {name}"):
        Listed("x", root, [*NAMES, name], [0] * 4, ["one"])


def test_links_that_leave_the_root_count_as_missing(root):
    outside = root.parent / "outside"
    outside.mkdir()
    Image.new("L", (2, 2)).save(outside / "3.png")
    (root / "file.png").symlink_to(outside / "3.png")
    (root / "folder").symlink_to(outside)
    (root / "inside.png").symlink_to(root / NAMES[0])
    for name in ("file.png", "folder/3.png", "none/3.png", "a/\0/3.png", ""):
        with pytest.raises(InputError, match="1 of 2 images"):
            Listed("x", root, [NAMES[0], name], [0, 0], ["one"])
    link = root.parent / "link"
    link.symlink_to(root)
    assert len(Listed("x", link, ["inside.png", NAMES[0]], [0, 0], ["one"])) == 2


def test_lists_that_make_no_set(root):
    with pytest.raises(InputError, match="no images"):
        Listed("x", root, [], [], ["one"])
    with pytest.raises(InputError, match="labels from 0 to 2,.* 2 classes"):
        Listed("x", root, NAMES, [0, 1, 2], ["one", "two"])


@pytest.mark.parametrize("shape", [(4, 3, 2), (4, 3, 2, 3)])
def test_arrays(shape):
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    source = pickle.loads(pickle.dumps(Arrays("x", images, np.array([0, 1, 1, 0]), ["a", "b"])))
    assert (len(source), source.classes, source.label(2), source.name(2)) == (4, ["a", "b"], 1, "x[2]")
    read = np.asarray(source.read(2))
    assert (read == images[2].reshape(3, 2, -1)).all()
    assert read.shape == (3, 2, 3)
    assert source.fingerprint() == Arrays("y", images.copy(), np.zeros(4, np.int64), ["a"]).fingerprint()
    images[3, 2, 1] += 1
    assert source.fingerprint() != Arrays("x", images, np.zeros(4, np.int64), ["a"]).fingerprint()
