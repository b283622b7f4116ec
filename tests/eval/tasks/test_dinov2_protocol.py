"""The protocol `dinov2` of segmentation and depth: its views, and whole evaluations on small folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from unic.errors import InputError, NotApplicableError
from unic.eval.datasets import DataPair, resolve
from unic.eval.live import Live
from unic.eval.plan import make_plan
from unic.eval.probes import pixel_views
from unic.eval.probes.photometric import Distortion
from unic.eval.probes.pixel_views import DepthView, SegmentationView, batches
from unic.eval.runner import evaluate_models
from unic.eval.subject import Subject
from unic.eval.suite import Entry, Suite
from unic.eval.task_code import versions
from unic.eval.tasks import depth, segmentation
from unic.tokens import Tokens, without_patches

GREY = (0.5, 0.5, 0.5)
FAST: dict[str, dict[str, Any]] = {
    "segmentation": {"steps": 60, "batch_size": 4, "lr": 0.05, "crop": 16},
    "depth": {"steps": 60, "batch_size": 4, "lr": 0.05, "crop": [16, 20], "num_bins": 16},
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bright blocks are class 1, or far away."""
    folder = tmp_path_factory.mktemp("pixels")
    rng = np.random.default_rng(0)
    for kind in ("masks", "depth"):
        for part, count in (("train", 12), ("test", 4)):
            for number in range(count):
                mask = rng.integers(0, 2, (3, 4), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
                image = np.stack([40 + 170 * mask] * 3, axis=2).astype(np.uint8)
                image[0, 0] = (number, part == "test", 0)  # no image is in both parts
                target = mask if kind == "masks" else (2000 + 3000 * mask.astype(np.uint16))
                for name, values in (("images", image), (kind, target)):
                    (folder / kind / part / name).mkdir(parents=True, exist_ok=True)
                    Image.fromarray(values).save(folder / kind / part / name / f"{number}.png")
        (folder / kind / "train" / kind / "3.png").write_bytes(b"damaged")
    return folder


def live_parts(folders: Path, kind: str, encoder: Any, workers: int = 0) -> list[Live]:
    subject = Subject("cells", "other", resolve(f"mine={folders / kind}"), lambda: encoder, workers=workers)
    return [subject.live("train"), subject.live("test")]


# Views


def columns_and_rows(height: int, width: int) -> tuple[Image.Image, np.ndarray]:
    """An image whose red is the column and whose green is the row, and the column plus 1 as its target."""
    across, down = np.meshgrid(np.arange(width), np.arange(height))
    image = np.stack([across, down, np.zeros_like(down)], axis=2).astype(np.uint8)
    return Image.fromarray(image), (across + 1).astype(np.float32)


def test_a_view_of_depth_is_one_crop_of_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pixel_views, "draw_colours", lambda rng: None)
    image, target = columns_and_rows(130, 250)
    view, turned, mirrored, corners = DepthView((110, 200), GREY), [], 0, []
    for number in range(300):
        pixels, found = view(image, target, np.random.default_rng(number))
        assert pixels.shape == (3, 110, 200)
        known = found > 0
        red = (255 * pixels[0]).numpy()
        apart = np.abs(red - (found - 1))[known]  # large where a turned image ends
        assert np.quantile(apart, 0.99) < 1.01, "image and target are cut, turned and mirrored alike"
        across = float(np.median(np.diff(found, axis=1)[known[:, 1:] & known[:, :-1]]))
        mirrored += across < 0
        middle = found[5:105, 100]  # a rotation may reach the first and last rows
        assert middle.min() > 0
        turned.append((middle[-1] - middle[0]) / 99)
        corners.append((255 * pixels[1, 0, 0].item(), red[0, 0]))
    assert 0.4 < mirrored / 300 < 0.6
    slopes = np.abs(turned)
    assert slopes.max() < np.tan(np.deg2rad(2.5)) + 1 / 99
    assert 0.45 < np.mean(slopes == 0) < 0.8, "half of the images are not turned, and some by too little to show"
    assert len(set(corners)) > 200


def test_a_view_of_masks_is_one_crop_of_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pixel_views, "draw_distortion", lambda rng: Distortion())
    stripes = (np.arange(64) // 8 % 2).astype(np.uint8)
    mask = np.broadcast_to(stripes, (48, 64)).copy()
    image = Image.fromarray(np.stack([255 * mask] * 3, axis=2))
    view, widths, ignored = SegmentationView(48, GREY), [], 0
    for number in range(300):
        pixels, found = view(image, mask, np.random.default_rng(number))
        assert (pixels.shape, found.shape, found.dtype) == ((3, 48, 48), (48, 48), np.uint8)
        inside = found != 255
        assert (np.abs(pixels[0].numpy() - found)[inside] < 0.55).mean() > 0.85, "borders alone are blurred"
        assert np.allclose(pixels[0].numpy()[~inside], 0.5)
        row = found[0][inside[0]]
        edges = np.flatnonzero(np.diff(row))
        widths += np.diff(edges).tolist()
        ignored += not inside.all()
    assert 3 <= min(widths) <= 5, "half of 8"
    assert 14 <= max(widths) <= 17, "twice 8"
    assert 0.2 < ignored / 300 < 0.5, "a third of the scales is smaller than the crop"


def test_a_crop_of_one_class_is_drawn_again() -> None:
    mask = np.zeros((40, 200), np.uint8)
    mask[:, :40], mask[:, 40:44] = 1, 255
    image = Image.fromarray(np.zeros((40, 200, 3), np.uint8))
    found = [SegmentationView(40, GREY)(image, mask, np.random.default_rng(number))[1] for number in range(60)]
    shares = [np.bincount(one.ravel(), minlength=256)[:2] for one in found]
    mixed = np.mean([count.min() > 0 and count.max() < 0.75 * count.sum() for count in shares])
    plain = np.mean([count.min() > 0 for count in shares])
    assert mixed > 0.4, "one draw would give about an eighth"
    assert plain < 1, "after ten draws the last is taken"


def test_steps_go_over_all_images_and_damaged_ones_are_replaced(folders: Path, cells: Any) -> None:
    train, _ = live_parts(folders, "masks", cells)
    numbers: list[int] = []

    def view(image: Image.Image, target: np.ndarray, rng: np.random.Generator) -> tuple[torch.Tensor, np.ndarray]:
        numbers.append(image.getpixel((0, 0))[0])  # type: ignore[index]
        return torch.zeros(3, 4, 4), np.zeros((4, 4), np.uint8)

    found = list(batches(train, view, steps=6, batch_size=4, seed=0))
    assert [images.shape[0] for images, _ in found] == [4] * 6
    readable = sorted({0, 1, 2, 4, 5, 6, 7, 8, 9, 10, 11})
    for epoch in (numbers[:12], numbers[12:]):
        assert sorted(set(epoch)) == readable
        assert epoch.count(4) == 1 + (len(epoch) - len(set(epoch))), "the next image stands for image 3"
    assert numbers[:12] != numbers[12:]


def test_worker_processes_change_nothing(folders: Path, cells: Any) -> None:
    view = SegmentationView(16, GREY)
    here, there = (
        list(batches(live_parts(folders, "masks", cells, workers)[0], view, steps=3, batch_size=4, seed=1))
        for workers in (0, 2)
    )
    for one, two in zip(here, there, strict=True):
        assert torch.equal(one[0], two[0])
        assert torch.equal(one[1], two[1])


# Tasks


@pytest.mark.parametrize("task", ["segmentation", "depth"])
def test_planted_targets_are_learned(task: str, folders: Path, cells: Any) -> None:
    module = {"segmentation": segmentation, "depth": depth}[task]
    parts = live_parts(folders, "masks" if task == "segmentation" else "depth", cells)
    first, again, other = (module.run(*parts, seed=seed, protocol="dinov2", **FAST[task]) for seed in (0, 0, 1))
    assert np.array_equal(first.marks, again.marks)
    assert not np.array_equal(first.marks, other.marks)
    assert len(first.marks) == 4
    if task == "segmentation":
        assert first.score > 80
    else:
        assert first.score < 1.2, "a constant has 1.5"


def test_an_encoder_of_one_size_cannot_be_measured(folders: Path, colours: Any) -> None:
    train, test = live_parts(folders, "masks", colours())
    with pytest.raises(NotApplicableError, match="'cells' takes images of 8 × 8 pixels, not of 16 × 16"):
        segmentation.run(train, test, protocol="dinov2", **FAST["segmentation"])


@pytest.mark.parametrize(
    ("task", "options", "says"),
    [
        ("segmentation", {"stride": 17}, "expected a stride of 1 to 16"),
        ("segmentation", {"steps": 0}, "expected at least 1 step"),
        ("depth", {"crop": [4]}, r"expected crop=\[HEIGHT, WIDTH\]"),
        ("depth", {"gradient": -1.0}, "gradient of 0 or more"),
        ("depth", {"num_bins": 1}, "at least 2 bins"),
    ],
)
def test_wrong_options_are_one_line(folders: Path, cells: Any, task: str, options: dict[str, Any], says: str) -> None:
    module = {"segmentation": segmentation, "depth": depth}[task]
    parts = live_parts(folders, "masks" if task == "segmentation" else "depth", cells)
    with pytest.raises(InputError, match=says):
        module.run(*parts, protocol="dinov2", **FAST[task] | options)


@pytest.mark.parametrize(
    ("task", "says"),
    [
        ("segmentation(crop=64)", "option 'crop' is for 'protocol: dinov2' only"),
        ("segmentation(protocol=dinov3)", "option 'protocol': Input should be 'dinov2'"),
        ("segmentation(protocol=dinov2, crop=[1, 2])", "option 'crop'"),
    ],
)
def test_options_are_checked_before_anything_is_measured(folders: Path, task: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        make_plan(None, task, {"mine": str(folders / "masks")})


def test_damaged_images_alone_are_an_error(tmp_path: Path, folders: Path, cells: Any) -> None:
    for part in ("train", "test"):
        for name in ("images", "masks"):
            (tmp_path / part / name).mkdir(parents=True)
        (tmp_path / part / "images" / "a.png").write_bytes(b"damaged " + part.encode())
        (tmp_path / part / "masks" / "a.png").write_bytes(b"damaged")
        (tmp_path / "classes.txt").write_text("a\nb\n")
    train, _ = live_parts(tmp_path.parent, tmp_path.name, cells)
    with pytest.raises(InputError, match=r"no image can be read; .*a\.png"):
        list(batches(train, SegmentationView(16, GREY), steps=1, batch_size=1, seed=0))
    with pytest.raises(InputError, match=r"no image can be read; .*a\.png"):
        list(train.readable())


def test_the_table_has_both_protocols_and_the_cache_no_feature_of_crops(
    folders: Path, cells: Any, tmp_path: Path
) -> None:
    own, published = Entry(steps=20), Entry(task="segmentation", protocol="dinov2", **FAST["segmentation"])
    suite = Suite(data=[f"mine={folders / 'masks'}"], tasks={"published": published}, seeds=[0])
    found = evaluate_models({"cells": cells}, {}, suite=suite, cache=tmp_path).as_dict()
    assert found["tasks"]["mine/published"]["cells"]["score"] > 80
    assert {file.parent.name for file in tmp_path.rglob("*") if file.is_file()} == {"cells"}
    both = suite.model_copy(update={"tasks": {"segmentation": own, "published": published}})
    again = evaluate_models({"cells": cells}, {}, suite=both, cache=tmp_path).as_dict()
    assert again["tasks"]["mine/published"] == found["tasks"]["mine/published"]
    assert again["protocol"]["tasks"]["published"]["protocol"] == "dinov2"


@pytest.mark.parametrize("task", ["segmentation", "depth"])
@pytest.mark.parametrize("protocol", [None, "dinov2"])
def test_a_head_without_patches_has_no_cell(
    task: str, protocol: str | None, folders: Path, cells: Any, tmp_path: Path
) -> None:
    """As that of a teacher which is matched by CLS alone."""

    class Summary(type(cells)):
        patch_dim = 0

        def encode(self, x: torch.Tensor) -> Tokens:
            return without_patches(x.mean((2, 3)))

    head = Summary()
    head.patch_dim = 0
    options = {"protocol": protocol, **FAST[task]} if protocol else {"steps": 20}
    suite = Suite(
        data=[f"mine={folders / ('masks' if task == 'segmentation' else 'depth')}"],
        tasks={"read": Entry(task=task, tokens="head:t", **options)}, seeds=[0],
    )  # fmt: skip
    results = evaluate_models(
        {"cells": cells, "t": cells}, {"cells": "student", "t": "teacher"}, suite=suite,
        heads={"cells": {"t": lambda: head}}, cache=tmp_path,
    )  # fmt: skip
    assert set(results.as_dict()["tasks"]["mine/read"]) == {"t"}, "an empty cell, and no failure"
    subject = Subject("cells", "student", resolve(suite.data[0]), lambda: cells, heads={"t": lambda: head}).through("t")
    with pytest.raises(NotApplicableError, match="model 'cells' gives a CLS alone and no patches"):
        subject.dense("train") if protocol is None else subject.live("train")


def test_a_cell_is_named_by_the_version_of_its_protocol() -> None:
    assert [name for name, _ in versions("depth", {})] == ["shared", "depth"]
    assert [name for name, _ in versions("depth", {"protocol": "dinov2"})] == ["shared", "depth", "depth/dinov2"]


def test_sets_of_another_kind_are_refused(folders: Path, cells: Any) -> None:
    pair: DataPair = resolve(f"mine={folders / 'depth'}")
    assert Subject("cells", "other", pair, lambda: cells).live("train").classes == []
