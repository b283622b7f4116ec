import shutil

import numpy as np
import pytest
from PIL import Image

from unic.errors import InputError
from unic.eval.online import OnlineKnn, queries
from unic.eval.suite import Suite


def suite(**sets):
    return Suite(data=[f"{name}={path}" for name, path in sets.items()], size=8)


def test_scores_each_set_and_leaves_the_student_as_it_was(coloured, colours):
    student = colours().train()
    callback = OnlineKnn(suite(a=coloured, b=coloured), limit=25)
    scores = callback(student, 10)
    assert set(scores) == {"knn/a", "knn/b", "knn/mean"}
    assert scores["knn/a"] == scores["knn/b"] == scores["knn/mean"] > 60
    assert student.training


def test_unseen_sets_are_looked_at_and_are_in_no_mean_of_the_seen_ones(coloured, colours, tmp_path):
    """The images of the unseen one are of the wrong class, three times in four."""
    for number, (kind, image) in enumerate((image.parent.name, image) for image in sorted(coloured.glob("train/*/*"))):
        place = tmp_path / "mixed" / "train" / f"{number % 4}" / f"{kind}-{image.name}"
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(image, place)
    both = Suite(data=[f"a={coloured}"], unseen=[f"b={tmp_path / 'mixed'}"], size=8)
    scores = OnlineKnn(both)(colours(), 10)
    assert set(scores) == {"knn/a", "knn/mean", "knn_unseen/b", "knn_unseen/mean"}
    assert scores["knn/mean"] == scores["knn/a"] == OnlineKnn(suite(a=coloured))(colours(), 10)["knn/mean"]
    assert scores["knn_unseen/mean"] == scores["knn_unseen/b"] < 50 < scores["knn/a"]


def test_a_seen_and_an_unseen_set_of_one_name_are_refused(coloured, tmp_path):
    shutil.copytree(coloured, tmp_path / "copy")
    with pytest.raises(InputError, match="suite: .*'a'.* 2 times"):
        OnlineKnn(Suite(data=[f"a={coloured}"], unseen=[f"a={tmp_path}/copy"]))


def test_a_look_that_fails_is_a_warning(coloured, colours, monkeypatch, caplog):
    callback = OnlineKnn(suite(a=coloured), limit=25)
    monkeypatch.setattr("unic.eval.online.extract", lambda *_, **__: 1 / 0)
    assert callback(colours(), 10) == {}
    assert "k-NN at step 10 failed: ZeroDivisionError" in caplog.text


def test_every_fifth_image_of_each_class_is_a_query():
    labels = np.arange(200) % 4
    chosen = queries(labels)
    assert np.bincount(labels[chosen]).tolist() == [10, 10, 10, 10]
    assert (queries(labels) == chosen).all()
    assert not np.array_equal(np.flatnonzero(chosen), np.arange(len(labels))[4::5])  # drawn, not counted off


def test_classes_of_uneven_size_give_their_share_and_keep_a_voter():
    sizes = [1, 2, 3, 7, 1, 50, 2, 2, 2, 2]
    labels = np.repeat(np.arange(10), sizes)
    asked = np.bincount(labels[queries(labels)], minlength=10)
    assert asked.sum() == 70 // 5  # the two images that are alone in their class do not count
    assert asked[[0, 4]].tolist() == [0, 0]
    assert all(abs(count - size / 5) < 1 for count, size in zip(asked, sizes, strict=True) if size > 1)


def test_nothing_but_the_training_part_is_looked_at(coloured, colours, tmp_path):
    shutil.copytree(coloured / "train", tmp_path / "alone" / "train")
    whole, alone = (OnlineKnn(suite(a=path))(colours(), 10) for path in (coloured, tmp_path / "alone"))
    assert alone == whole
    assert alone["knn/a"] > 60


def test_a_shipped_set_without_its_test_file(colours, tmp_path, monkeypatch):
    """Of samples the file of the test part is not opened either: here there is none."""
    from datasets import ClassLabel, Dataset, Features
    from datasets import Image as ImageFeature

    images = [Image.fromarray(np.full((8, 8, 3), 200 * (number % 2), np.uint8)) for number in range(20)]
    features = Features({"image": ImageFeature(), "label": ClassLabel(names=["dark", "light"])})
    content = {"image": images, "label": [number % 2 for number in range(20)]}
    (tmp_path / "emoji").mkdir()
    Dataset.from_dict(content, features).to_parquet(tmp_path / "emoji" / "train.parquet")
    monkeypatch.setenv("UNIC_SAMPLES", str(tmp_path))
    assert set(OnlineKnn(Suite(data=["emoji"], size=8))(colours(), 1)) == {"knn/emoji", "knn/mean"}


def test_a_test_part_with_wrong_labels_changes_nothing(coloured, colours, tmp_path):
    shutil.copytree(coloured / "train", tmp_path / "train")
    for label, other in (("red", "green"), ("green", "blue"), ("blue", "red")):
        shutil.copytree(coloured / "val" / label, tmp_path / "val" / other)
    assert OnlineKnn(suite(a=tmp_path))(colours(), 1)["knn/a"] > 60


def test_a_set_that_cannot_be_divided_is_refused_in_one_line(coloured, tmp_path):
    for label in ("red", "green"):
        (tmp_path / "train" / label).mkdir(parents=True)
        for number in range(2):
            shutil.copy(coloured / "train" / label / f"{number}.png", tmp_path / "train" / label)
    with pytest.raises(InputError, match="data 'tiny'.* 4 training images"):
        OnlineKnn(suite(tiny=tmp_path))


def test_two_sets_of_one_name_are_refused(coloured, tmp_path):
    shutil.copytree(coloured, tmp_path / "copy")
    with pytest.raises(InputError, match="suite: .*'a'.* 2 times"):
        OnlineKnn(Suite(data=[f"a={coloured}", f"a={tmp_path}/copy"]))


def test_sets_without_classes_of_images_are_left_out(coloured, tmp_path):
    for part in ("images", "masks"):
        (tmp_path / part / "train").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(tmp_path / "images" / "train" / "0.png")
    Image.new("L", (8, 8)).save(tmp_path / "masks" / "train" / "0.png")
    (tmp_path / "classes.txt").write_text("ground\nsky\n")
    with pytest.raises(InputError, match=r"eval\.every: .*class"):
        OnlineKnn(suite(dense=tmp_path))
