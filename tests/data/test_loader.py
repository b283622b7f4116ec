"""The order of images: exact under resume, processes, workers and weights; damaged images never end it."""

import io
from collections import Counter

import pytest
import torch
from PIL import Image

from unic.data.batch import Batch
from unic.data.image_list import ImageList
from unic.data.loader import steps_per_epoch, training_batches, view_batches
from unic.data.sources import DamagedImageError, Source
from unic.errors import InputError


class Colours(Source):
    """Image i is plain with red = i; counts what is read."""

    def __init__(self, length: int, damaged: tuple[int, ...] = (), path: str = "colours") -> None:
        self.length, self.damaged, self.path = length, damaged, path
        self.reads: list[int] = []

    def __len__(self) -> int:
        return self.length

    def read(self, index: int) -> Image.Image:
        self.reads.append(index)
        if index in self.damaged:
            raise DamagedImageError("torn")
        return Image.new("RGB", (6, 5), (index, 10, 20))

    def label(self, index: int) -> int | None:
        return None

    def name(self, index: int) -> str:
        return f"{index}.png"

    def fingerprint(self) -> str:
        return f"{self.path}{self.length}"


OPTIONS = {"size": 4, "augment": "none", "seed": 3, "batch_size": 8, "first_step": 1, "num_steps": 9}


def batches(images: ImageList, **options) -> list[Batch]:
    return list(training_batches(images, **{**OPTIONS, **options}))


def joined(found: list[Batch], name: str) -> torch.Tensor:
    return torch.cat([getattr(batch, name) for batch in found])


def test_each_step_draws_a_size_the_same_on_every_process_and_after_a_resume():
    images, sizes = ImageList([Colours(40)]), (4, 6, 4)
    options = {"size": sizes, "num_steps": 60}
    sides = [batch.images.shape[-1] for batch in batches(images, **options)]
    assert [batch.images.shape[-1] for batch in batches(images, **options, first_step=31)] == sides[30:]
    for rank in (0, 1):
        found = batches(images, **options, rank=rank, world_size=2, micro_batches=2)
        assert [batch.images.shape[-2:] for batch in found] == [(side, side) for side in sides for _ in range(2)]
    assert 30 <= sides.count(4) <= 50  # listed twice, so about two of three
    assert [batch.images.shape[-1] for batch in batches(images, **options, seed=4)] != sides
    plain = joined(batches(images, size=4, num_steps=60), "index")
    assert torch.equal(plain, joined(batches(images, **options), "index"))  # the order of images stays as it is


def test_an_epoch_sees_every_image_once_and_the_rest_is_dropped():
    images = ImageList([Colours(20), Colours(10)])
    assert steps_per_epoch(images, 8) == 3
    found = batches(images)
    assert [len(batch) for batch in found] == [8] * 9
    for epoch in range(3):
        part = found[3 * epoch : 3 * epoch + 3]
        assert len(set(joined(part, "index").tolist())) == 24
        assert set(joined(part, "view").tolist()) == {epoch}
        assert torch.equal(joined(part, "index"), images.epoch_order(3, epoch)[:24])
    red = joined(found, "images")[:, 0, 0, 0].long()
    index = joined(found, "index")
    assert torch.equal(red, torch.where(index < 20, index, index - 20))
    assert images.name(25) == "colours: 5.png"


def test_orders_differ_by_seed_and_epoch():
    images = ImageList([Colours(50)])
    orders = [images.epoch_order(seed, epoch).tolist() for seed, epoch in ((0, 0), (0, 1), (1, 0))]
    assert all(sorted(order) == list(range(50)) for order in orders)
    assert orders[0] != orders[1] != orders[2] != orders[0]
    assert images.epoch_order(0, 0).dtype == torch.int64


def test_resume_repeats_without_reading_what_was_skipped():
    source = Colours(30)
    images = ImageList([source])
    whole = batches(images, augment="unic")
    source.reads.clear()
    resumed = batches(images, augment="unic", first_step=6)
    assert len(resumed) == 4
    assert len(source.reads) == 32
    for before, after in zip(whole[5:], resumed, strict=True):
        assert torch.equal(before.images, after.images)
        assert torch.equal(before.index, after.index)
        assert torch.equal(before.view, after.view)


@pytest.mark.parametrize(("world_size", "micro_batches"), [(2, 1), (1, 2), (2, 2), (4, 2), (3, 1), (3, 2), (1, 5)])
def test_processes_and_micro_batches_share_one_global_batch(world_size, micro_batches):
    images = ImageList([Colours(30)])
    whole = batches(images)
    ranks = [
        batches(images, rank=rank, world_size=world_size, micro_batches=micro_batches) for rank in range(world_size)
    ]
    for step, expected in enumerate(whole):
        parts = [rank[step * micro_batches : (step + 1) * micro_batches] for rank in ranks]
        assert torch.equal(torch.cat([joined(part, "index") for part in parts]), expected.index)
        assert torch.equal(torch.cat([joined(part, "images") for part in parts]), expected.images)


def test_weights():
    images = ImageList([Colours(20), Colours(10), Colours(12)], [0.5, 2, 1.5])
    assert images.epoch_length() == 10 + 20 + 18
    first, second = (Counter(images.epoch_order(0, epoch).tolist()) for epoch in (0, 1))
    assert {first[i] + second[i] for i in range(20)} == {1}  # two halves
    assert {first[i] for i in range(20, 30)} == {2}
    assert {first[i] for i in range(30, 42)} == {1, 2}
    assert {first[i] + second[i] for i in range(30, 42)} == {3}


def test_views_of_one_image_differ_within_an_epoch_and_halves_get_every_cached_view():
    index, visit = ImageList([Colours(10)], [2]).epoch_visits(0, 3)
    assert {(i, v) for i, v in zip(index.tolist(), visit.tolist(), strict=True)} == {
        (i, v) for i in range(10) for v in (6, 7)
    }
    images = ImageList([Colours(16)], [0.5])
    found = batches(images, num_views=2, num_steps=4)
    pairs = set(zip(joined(found, "index").tolist(), joined(found, "view").tolist(), strict=True))
    assert pairs == {(i, v) for i in range(16) for v in (0, 1)}


def test_damaged_images_are_replaced_and_reported():
    images = ImageList([Colours(15), Colours(1, damaged=(0,), path="other")])
    damaged = ImageList([Colours(15, damaged=(4, 5, 14)), Colours(1, damaged=(0,), path="other")])
    reference, found = batches(images, num_steps=2), batches(damaged, num_steps=2)
    assert [len(batch) for batch in found] == [8, 8]
    replaced = {4: 6, 5: 6, 14: 0, 15: 0}
    for before, after in zip(reference, found, strict=True):
        asked = joined([before], "index").tolist()
        assert after.index.tolist() == [replaced.get(i, i) if i != 15 else 0 for i in asked]
        assert torch.equal(after.images[:, 0, 0, 0].long(), after.index)
    reported = {entry for batch in found for entry in batch.damaged}
    assert (4, "colours: 4.png", "torn") in reported
    assert (15, "other: 0.png", "torn") in reported


def test_nothing_readable_is_one_line():
    with pytest.raises(InputError, match=r"colours: \d+.png \(torn\)$"):
        batches(ImageList([Colours(9, damaged=tuple(range(9)))]))


def test_wrong_sizes_are_refused():
    images = ImageList([Colours(30)])
    with pytest.raises(InputError, match="batch_size=64.* 30 images"):
        batches(images, batch_size=64)
    with pytest.raises(InputError, match="batch_size=8.* 3 processes.* 3 micro-batches"):
        batches(images, world_size=3, micro_batches=3)
    with pytest.raises(InputError, match="unknown augmentation"):
        batches(images, augment="nonne")


def test_view_batches_leave_damaged_images_out():
    found = list(view_batches(Colours(10, damaged=(0, 1, 2, 3, 7)), size=(3, 5), batch_size=4))
    assert [batch.index.tolist() for batch in found] == [[], [4, 5, 6], [8, 9]]
    assert [tuple(batch.images.shape) for batch in found] == [(0, 3, 3, 5), (3, 3, 3, 5), (2, 3, 3, 5)]
    assert found[1].damaged == [(7, "7.png", "torn")]


def test_view_key_is_the_one_training_uses():
    images = ImageList([Colours(16)])
    trained = batches(images, augment="unic", num_views=2, num_steps=4)
    viewed = {
        view: joined(list(view_batches(images, size=4, augment="unic", seed=3, key=view)), "images") for view in (0, 1)
    }
    for batch in trained:
        for image, index, key in zip(batch.images, batch.index.tolist(), batch.view.tolist(), strict=True):
            assert torch.equal(image, viewed[key][index])


def test_workers_change_nothing(tmp_path):
    for number in range(12):
        buffer = io.BytesIO()
        Image.new("RGB", (9, 9), (number * 20, 0, 0)).save(buffer, "PNG")
        (tmp_path / f"{number:02}.png").write_bytes(buffer.getvalue() if number != 5 else b"torn")
    from unic.data.sources import open_source

    images = ImageList([open_source(str(tmp_path))])
    options = {"augment": "unic", "batch_size": 4, "num_steps": 6}
    alone, helped = batches(images, **options), batches(images, **options, workers=2)
    assert sum(len(batch.damaged) for batch in alone) >= 2
    for before, after in zip(alone, helped, strict=True):
        assert torch.equal(before.images, after.images)
        assert torch.equal(before.index, after.index)
        assert before.damaged == after.damaged
