"""Segmentation against confusion matrices counted pixel by pixel, and on maps that a linear head can draw."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from unic.errors import InputError
from unic.eval.outcome import IGNORED, Dense
from unic.eval.probes import dense_head as _dense_head
from unic.eval.tasks import segmentation

CLASSES = ["sky", "sea", "land"]
GRID, SIZE, WIDTH = (3, 4), (15, 20), 6


def planted(count: int, seed: int, *, noise: float = 0.0) -> Dense:
    """Patches are a direction of their class; masks the largest of the maps that this linear mapping draws, resized."""
    rng = np.random.default_rng(seed)
    directions = np.linalg.qr(np.random.default_rng(99).normal(size=(WIDTH, WIDTH)))[0][: len(CLASSES)]
    maps = np.eye(len(CLASSES))[rng.integers(0, len(CLASSES), (count, GRID[0] * GRID[1]))]
    patches = maps @ directions + 5 + rng.normal(0, noise, (*maps.shape[:2], WIDTH))
    logits = torch.from_numpy(maps).transpose(1, 2).unflatten(2, GRID)
    masks = F.interpolate(logits, size=SIZE, mode="bilinear", align_corners=False).argmax(1).numpy().astype(np.uint8)
    return Dense(patches.astype(np.float32), GRID, list(masks), CLASSES)


def with_targets(data: Dense, targets: list[np.ndarray], classes: list[str] | None = None) -> Dense:
    return Dense(data.patches, data.grid, targets, classes or data.classes)


def confusion(predicted: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Rows: what it is, columns: what was said."""
    matrix = np.zeros((len(CLASSES), len(CLASSES)), int)
    for wanted, given in zip(target.ravel().tolist(), predicted.ravel().tolist(), strict=True):
        if wanted != IGNORED:
            matrix[wanted, given] += 1
    return matrix


@pytest.fixture(scope="module")
def train() -> Dense:
    return planted(96, 0)


@pytest.fixture(scope="module")
def test() -> Dense:
    return planted(24, 1)


def test_a_linear_map_is_learned(train, test):
    outcome = segmentation.run(train, test, steps=300, lr=1e-2)
    assert outcome.score > 95
    assert outcome.details["pixel_accuracy"] > 97
    assert set(outcome.details["iou"]) == set(CLASSES)


def test_marks_and_details_are_those_of_the_confusion_matrix(train):
    noisy = planted(10, 2, noise=1)
    rng = np.random.default_rng(3)
    targets = [np.where(rng.random(SIZE) < 0.2, IGNORED, mask).astype(np.uint8) for mask in noisy.targets]
    targets[4][:] = IGNORED
    data = with_targets(noisy, targets)
    outcome = segmentation.run(train, data, seed=1, steps=12)

    options = {"steps": 12, "batch_size": 16, "lr": 1e-3, "weight_decay": 1e-4}
    sampled = _dense_head.sampled(train)
    head = _dense_head.train_head(train, sampled, 3, segmentation._cross_entropy, seed=1, **options)
    total = np.zeros((3, 3), int)
    for row, logits in head.predictions(data, 4):
        large = F.interpolate(logits[None].cpu(), size=SIZE, mode="bilinear", align_corners=False)[0]
        matrix = confusion(large.argmax(0).numpy(), targets[row])
        right, union = np.diag(matrix), matrix.sum(0) + matrix.sum(1) - np.diag(matrix)
        assert outcome.marks[row].tolist() == [*right, *union]
        total += matrix
    right, union = np.diag(total), total.sum(0) + total.sum(1) - np.diag(total)
    assert outcome.score == pytest.approx(100 * np.mean(right / union))
    assert outcome.details["iou"]["sea"] == pytest.approx(100 * right[1] / union[1], abs=1e-3)
    assert outcome.details["pixel_accuracy"] == pytest.approx(100 * right.sum() / total.sum(), abs=1e-3)
    assert outcome.details["mean_class_accuracy"] == pytest.approx(100 * np.mean(right / total.sum(1)), abs=1e-3)


def test_the_score_of_resamples_is_that_of_the_chosen_images():
    rng = np.random.default_rng(0)
    union = rng.integers(0, 50, (12, 3))
    union[:, 2] = 0  # a class that no image has and none was given
    marks = np.concatenate([rng.integers(0, union + 1), union], axis=1).astype(float)
    chosen = rng.integers(0, 12, (5, 12))
    scores = segmentation.MEASURE.reduce(np.stack([marks[rows].mean(0) for rows in chosen]))
    for rows, score in zip(chosen, scores, strict=True):
        right, joined = marks[rows, :2].sum(0), marks[rows, 3:5].sum(0)
        assert score == pytest.approx(100 * np.mean(right / joined))


def test_a_resample_of_ignored_images_has_no_score():
    assert np.isnan(segmentation.MEASURE.reduce(np.zeros((1, 6)))).all()


def test_a_seed_repeats_itself(train, test):
    first, again, other = (segmentation.run(train, test, seed=seed, steps=12) for seed in (0, 0, 1))
    assert np.array_equal(first.marks, again.marks)
    assert not np.array_equal(first.marks, other.marks)


def test_ignored_pixels_teach_nothing(train, test):
    """Two thirds of the pixels are wrong; ignored, they do no harm."""
    wrong, ignored = [], []
    for mask in train.targets:
        beside = np.arange(mask.size).reshape(mask.shape) % 3 > 0
        wrong.append(np.where(beside, (mask + 1) % 3, mask).astype(np.uint8))
        ignored.append(np.where(beside, IGNORED, mask).astype(np.uint8))
    scores = [
        segmentation.run(with_targets(train, masks), test, lr=1e-2, steps=120).score for masks in (wrong, ignored)
    ]
    assert scores[0] < 30
    assert scores[1] > 90


def test_the_loss_of_ignored_pixels_is_nothing():
    maps = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    target = torch.randint(0, 3, (2, 4, 4), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    target[0, :2] = IGNORED
    kept = target != IGNORED
    expected = -maps.log_softmax(1).gather(1, target.where(kept, 0).long()[:, None])[:, 0][kept].mean()
    assert segmentation._cross_entropy(maps, target).item() == pytest.approx(expected.item())
    nothing = segmentation._cross_entropy(maps, torch.full_like(target, IGNORED))
    nothing.backward()
    assert nothing.item() == 0
    assert maps.grad.abs().sum() == 0


def test_classes_of_the_test_part_may_stand_in_another_order(train, test):
    order = ["land", "sky", "sea"]
    renumbered = np.array([order.index(name) for name in CLASSES], np.uint8)
    other = with_targets(test, [renumbered[mask] for mask in test.targets], order)
    assert np.array_equal(segmentation.run(train, other, steps=12).marks, segmentation.run(train, test, steps=12).marks)


def test_resizing_is_bilinear():
    maps = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    for size in ((16, 20), (9, 31), (3, 4), (4, 5)):
        expected = F.interpolate(maps, size=size, mode="bilinear", align_corners=False)
        torch.testing.assert_close(_dense_head.resize(maps, size), expected)


def test_targets_are_sampled_in_the_middle_of_cells():
    mask = np.arange(24 * 16).reshape(24, 16).astype(np.float32)
    data = Dense(np.zeros((1, 2, 1), np.float32), (2, 1), [mask])
    assert _dense_head.points(data) == (8, 4)
    assert np.array_equal(_dense_head.sampled(data)[0].numpy(), mask[1::3, 2::4])
    small = Dense(np.zeros((1, 12, 1), np.float32), (3, 4), [mask[:5, :5]])
    assert np.array_equal(_dense_head.sampled(small)[0].numpy(), mask[:5, :5])


def test_wrong_input_is_one_line(train, test):
    for options in ({"steps": 0}, {"batch_size": 1}, {"lr": 0}, {"weight_decay": -1}):
        with pytest.raises(InputError, match=next(iter(options))):
            segmentation.run(train, test, **options)
    with pytest.raises(InputError, match="two classes.* 1"):
        segmentation.run(with_targets(train, train.targets, ["sky"]), test)
    nothing = [np.full(SIZE, IGNORED, np.uint8)] * 96
    with pytest.raises(InputError, match="no pixel.*training"):
        segmentation.run(with_targets(train, nothing), test, steps=6)
    with pytest.raises(InputError, match="no pixel.*test"):
        segmentation.run(train, with_targets(test, nothing[:24]), steps=6)
    with pytest.raises(InputError, match="two training images.* 1"):
        segmentation.run(Dense(train.patches[:1], GRID, train.targets[:1], CLASSES), test)
