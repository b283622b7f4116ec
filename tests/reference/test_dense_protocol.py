"""The published dense protocols against loops over pixels, in double precision and without any code of the package."""

from __future__ import annotations

import colorsys
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from unic.data.sources.dense import PixelPairs
from unic.encoders.base import Encoder
from unic.eval.datasets.nyud import eigen_crop
from unic.eval.live import Live, padded_to_multiple
from unic.eval.probes import live_head
from unic.eval.probes.live_head import LiveHead, Schedule
from unic.eval.probes.photometric import Colours, Distortion, coloured, distort, draw_colours, draw_distortion
from unic.eval.probes.windows import averaged
from unic.eval.tasks import _depth_dinov2, _segmentation_dinov2
from unic.tokens import Tokens, patches_of

PIXELS = np.random.default_rng(0).random((3, 6, 7))


def naive_resize(maps: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bilinear, with pixel centres at halves."""
    _, height, width = maps.shape
    out = np.zeros((len(maps), *size))

    def ends(place: int, new: int, old: int) -> tuple[int, int, float]:
        at = min(max((place + 0.5) * old / new - 0.5, 0), old - 1)
        low = int(at)
        return low, min(low + 1, old - 1), at - low

    for row in range(size[0]):
        top, bottom, down = ends(row, size[0], height)
        for column in range(size[1]):
            left, right, across = ends(column, size[1], width)
            above = (1 - across) * maps[:, top, left] + across * maps[:, top, right]
            below = (1 - across) * maps[:, bottom, left] + across * maps[:, bottom, right]
            out[:, row, column] = (1 - down) * above + down * below
    return out


def naive_padding(image: np.ndarray, step: int, colour: float) -> np.ndarray:
    _, height, width = image.shape
    new_height, new_width = math.ceil(height / step) * step, math.ceil(width / step) * step
    out = np.full((3, new_height, new_width), colour)
    top, left = (new_height - height) // 2, (new_width - width) // 2
    for row in range(height):
        for column in range(width):
            out[:, top + row, left + column] = image[:, row, column]
    return out


def naive_cells(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """CLS and patches of the encoder of these tests: mean colours minus ½, of the image and of cells of 4 × 4."""
    padded = naive_padding(image, 4, 0.5) - 0.5
    rows, columns = padded.shape[1] // 4, padded.shape[2] // 4
    cells = np.zeros((3, rows, columns))
    for row in range(rows):
        for column in range(columns):
            cells[:, row, column] = padded[:, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4].mean((1, 2))
    return padded.mean((1, 2)), cells


# Colours


def test_draws_of_the_distortion_have_the_published_ranges() -> None:
    found = [draw_distortion(np.random.default_rng((7, number))) for number in range(4000)]
    brightness = np.array([one.brightness for one in found]) * 255
    contrast, saturation = (np.array([getattr(one, name) for one in found]) for name in ("contrast", "saturation"))
    hue = np.array([one.hue for one in found]) * 180
    for values, neutral, low, high in ((brightness, 0, -32, 32), (contrast, 1, 0.5, 1.5), (saturation, 1, 0.5, 1.5)):
        drawn = values[values != neutral]
        assert 0.46 < len(drawn) / 4000 < 0.54
        assert low <= drawn.min() < low + 0.02 * (high - low)
        assert high - 0.02 * (high - low) < drawn.max() <= high
        assert abs(drawn.mean() - (low + high) / 2) < 0.03 * (high - low)
    assert set(hue.round(6)) == set(range(-18, 18)), "whole steps, of which the last is open, as published"
    assert 0.46 < np.mean([one.is_contrast_last for one in found]) < 0.54


def test_draws_of_colours_have_the_published_ranges() -> None:
    found = [draw_colours(np.random.default_rng((8, number))) for number in range(4000)]
    drawn = [one for one in found if one is not None]
    assert 0.46 < len(drawn) / 4000 < 0.54
    columns = {"gamma": (0.9, 1.1), "brightness": (0.75, 1.25)}
    for name, (low, high) in columns.items():
        values = np.array([getattr(one, name) for one in drawn])
        assert low <= values.min() < low + 0.01 < high - 0.01 < values.max() <= high
    values = np.array([one.colours for one in drawn])
    assert 0.9 <= values.min() < 0.91 < 1.09 < values.max() <= 1.1
    assert abs(np.corrcoef(values.T)[0, 1]) < 0.1, "each colour has its own factor"


@pytest.mark.parametrize(
    "by",
    [
        Distortion(),
        Distortion(brightness=30 / 255, contrast=1.4, saturation=1.5, hue=17 / 180),
        Distortion(brightness=-0.1, contrast=0.6, is_contrast_last=True, saturation=0.5, hue=-0.1),
        Distortion(contrast=1.5, is_contrast_last=True, saturation=1.3),
    ],
)
def test_a_distortion_is_that_of_each_pixel(by: Distortion) -> None:
    image = PIXELS.copy()
    image[:, 0, 0], image[:, 0, 1] = 0.4, (1.0, 0.0, 0.0)  # grey, and a colour of full saturation
    expected = np.zeros_like(image)
    for row in range(6):
        for column in range(7):
            pixel = [min(max(value + by.brightness, 0), 1) for value in image[:, row, column]]
            if not by.is_contrast_last:
                pixel = [min(value * by.contrast, 1) for value in pixel]
            h, s, v = colorsys.rgb_to_hsv(*pixel)
            pixel = list(colorsys.hsv_to_rgb((h + by.hue) % 1, min(s * by.saturation, 1), v))
            if by.is_contrast_last:
                pixel = [min(value * by.contrast, 1) for value in pixel]
            expected[:, row, column] = pixel
    found = distort(torch.from_numpy(image).float(), by).numpy()
    np.testing.assert_allclose(found, expected, atol=2e-6)


def test_colours_are_those_of_each_pixel() -> None:
    by = Colours(1.07, 0.8, (0.9, 1.0, 1.1))
    found = coloured(torch.from_numpy(PIXELS).float(), by).numpy()
    for channel, factor in enumerate(by.colours):
        for row in range(6):
            for column in range(7):
                value = (255 * PIXELS[channel, row, column]) ** 1.07 * 0.8 * factor
                assert found[channel, row, column] == pytest.approx(min(value, 255) / 255, abs=1e-6)


# Windows


@pytest.mark.parametrize(("height", "width"), [(23, 37), (16, 16), (11, 40), (27, 38)])
def test_overlapping_windows_are_averaged(height: int, width: int) -> None:
    window, stride = 16, 11
    image = np.random.default_rng(1).random((3, height, width))

    def predict(views: torch.Tensor) -> torch.Tensor:
        return views.cumsum(3)[:, :2] + views.cumsum(2)[:, 1:]  # depends on where the window begins

    total, count = np.zeros((2, height, width)), np.zeros((height, width))
    for i in range(max(height - window + stride - 1, 0) // stride + 1):
        for j in range(max(width - window + stride - 1, 0) // stride + 1):
            bottom, right = min(i * stride + window, height), min(j * stride + window, width)
            top, left = max(bottom - window, 0), max(right - window, 0)
            for row in range(top, bottom):
                for column in range(left, right):
                    across = image[:2, row, left : column + 1].sum(1)
                    down = image[1:, top : row + 1, column].sum(1)
                    total[:, row, column] += across + down
                    count[row, column] += 1
    assert count.min() >= 1
    found = averaged(torch.from_numpy(image).float(), predict, window=window, stride=stride)
    np.testing.assert_allclose(found.numpy(), total / count, rtol=1e-5)


def test_padding_is_on_all_sides() -> None:
    found = padded_to_multiple(torch.from_numpy(PIXELS).float()[None], (4, 5), (0.1, 0.1, 0.1))[0].numpy()
    assert found.shape == (3, 8, 10)
    np.testing.assert_allclose(found[:, 1:7, 1:8], PIXELS, rtol=1e-5)
    assert np.allclose(np.delete(found, range(1, 7), 1), 0.1)
    assert np.allclose(np.delete(found, range(1, 8), 2), 0.1)


# Losses


def depths() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(2)
    target = rng.uniform(0.5, 8, (3, 13, 15))
    target[rng.random(target.shape) < 0.2] = 0  # unknown
    return rng.uniform(0.5, 8, target.shape), target


def test_the_gradient_loss_is_that_of_each_pair_of_points() -> None:
    predicted, target = depths()
    expected = 0.0
    for stride in (1, 2, 4, 6):
        differences, count = 0.0, 0
        for image in range(3):
            p, t = predicted[image][::stride, ::stride], target[image][::stride, ::stride]
            g = np.log(p + 0.001) - np.log(t + 0.001)
            for row in range(p.shape[0]):
                for column in range(p.shape[1]):
                    count += t[row, column] > 0
                    if row + 2 < p.shape[0] and t[row, column] > 0 and t[row + 2, column] > 0:
                        differences += abs(g[row, column] - g[row + 2, column])
                    if column + 2 < p.shape[1] and t[row, column] > 0 and t[row, column + 2] > 0:
                        differences += abs(g[row, column] - g[row, column + 2])
        expected += differences / count
    p, t = torch.from_numpy(predicted).requires_grad_(), torch.from_numpy(target)
    found = _depth_dinov2.gradient_loss(p, t, t > 0)
    assert found.item() == pytest.approx(expected, rel=1e-9)
    found.backward()
    assert torch.isfinite(p.grad).all()
    assert (p.grad[t == 0] == 0).all(), "unknown depths teach nothing"


def test_the_scale_loss_is_that_of_its_formula() -> None:
    predicted, target = depths()
    g = [math.log(p + 0.001) - math.log(t + 0.001) for p, t in zip(predicted.ravel(), target.ravel(), strict=True) if t]
    mean = sum(g) / len(g)
    variance = sum((value - mean) ** 2 for value in g) / (len(g) - 1)
    p, t = torch.from_numpy(predicted), torch.from_numpy(target)
    found = [float(_depth_dinov2.scale_loss(p, t, t > 0, with_variance=later)) for later in (False, True)]
    expected = [math.sqrt(0.15) * abs(mean), math.sqrt(variance + 0.15 * mean**2)]
    assert found == pytest.approx(expected, rel=1e-6)
    nothing = torch.zeros_like(t)
    assert _depth_dinov2.scale_loss(p, nothing, nothing > 0, with_variance=True) == 0
    assert _depth_dinov2.gradient_loss(p, nothing, nothing > 0) == 0


def test_cross_entropy_is_a_mean_over_all_pixels() -> None:
    rng = np.random.default_rng(3)
    maps, target = rng.normal(size=(2, 4, 3, 3)), rng.integers(0, 4, (2, 5, 6))
    target[0, :2] = 255
    total = 0.0
    for image in range(2):
        logits = naive_resize(maps[image], (5, 6))
        for row in range(5):
            for column in range(6):
                if (label := target[image, row, column]) != 255:
                    values = logits[:, row, column]
                    total += math.log(sum(math.exp(value) for value in values)) - values[label]
    found = _segmentation_dinov2.pixel_loss(torch.from_numpy(maps), torch.from_numpy(target.astype(np.uint8)), 0)
    assert found.item() == pytest.approx(total / target.size, rel=1e-6)


# Schedules


def test_rates_are_those_of_the_published_schedules() -> None:
    poly = Schedule(1000, 8, 1e-3, 0.0, (100, 1e-6), "linear")
    cosine = Schedule(900, 16, 3e-4, 0.0, (300, 1e-3), "cosine", (0.95, 0.999), 0.85)
    for step in (0, 1, 50, 99, 100, 500, 999):
        regular = 1e-3 * (1 - step / 1000)
        warm = regular * (1 - (1 - step / 100) * (1 - 1e-6)) if step < 100 else regular
        assert poly.rate(step) == pytest.approx(warm, rel=1e-12)
        assert poly.momentum(step) == 0.9
    for step in (0, 1, 299, 300, 600, 899):
        regular = 3e-4 / 2 * (1 + math.cos(math.pi * step / 900))
        warm = regular * (1 - (1 - step / 300) * (1 - 1e-3)) if step < 300 else regular
        assert cosine.rate(step) == pytest.approx(warm, rel=1e-9)
    assert [cosine.momentum(step) for step in (0, 135, 270, 585)] == pytest.approx([0.95, 0.9, 0.85, 0.9])


# Whole tasks, on small folders


def save(folder: Path, number: int, size: tuple[int, int], kind: str) -> tuple[str, str]:
    rng = np.random.default_rng(number)
    coarse = rng.integers(0, 256, (-(-size[0] // 8), -(-size[1] // 8), 3), dtype=np.uint8)
    pixels = coarse.repeat(8, 0).repeat(8, 1)[: size[0], : size[1]]
    Image.fromarray(pixels).save(folder / f"{number}.png")
    bright = pixels[..., 0].astype(np.int64) // 86  # 0, 1 or 2
    if kind == "masks":
        target = bright.astype(np.uint8)
        target[:2] = 255
    else:
        target = (1000 + 2000 * bright).astype(np.uint16)
        target[rng.random(size) < 0.1] = 0
    Image.fromarray(target).save(folder / f"{number}-target.png")
    return f"{number}.png", f"{number}-target.png"


@pytest.fixture
def heads(monkeypatch: pytest.MonkeyPatch) -> list[LiveHead]:
    """The heads that tasks train."""
    found: list[LiveHead] = []

    def train(live: Live, head: LiveHead, *args: object) -> LiveHead:
        found.append(live_head.train(live, head, *args))  # type: ignore[arg-type]
        return found[-1]

    for task in (_segmentation_dinov2, _depth_dinov2):
        monkeypatch.setattr(task, "train", train)
    return found


def weights_of(head: LiveHead) -> tuple[np.ndarray, np.ndarray]:
    return head.linear.weight.detach().double().numpy(), head.linear.bias.detach().double().numpy()


class Cells(Encoder):
    """Sees the mean colour of each cell of 4 × 4 pixels, in images of any size."""

    architecture = "cnn"

    def __init__(self) -> None:
        super().__init__((0.5, 0.5, 0.5), (1.0, 1.0, 1.0))
        self.embed_dim = self.patch_dim = 3
        self.input_size = (8, 8)

    def grid_at(self, size: tuple[int, int]) -> tuple[int, int]:
        return size[0] // 4, size[1] // 4

    def encode(self, x: torch.Tensor) -> Tokens:
        maps = F.avg_pool2d(x, 4)
        return Tokens(x.mean((2, 3)), patches_of(maps), (maps.shape[2], maps.shape[3]))


def test_segmentation_of_a_small_folder(tmp_path: Path, heads: list[LiveHead]) -> None:
    sizes = [(20, 30), (17, 24), (30, 18), (26, 26)]
    names = [save(tmp_path, number, size, "masks") for number, size in enumerate(sizes)]
    source = PixelPairs(str(tmp_path), tmp_path, names, "masks", classes=["a", "b", "c"])
    live = Live(source, Cells())
    outcome = _segmentation_dinov2.run(
        live, live, seed=0, steps=30, batch_size=3, lr=0.05, weight_decay=0.0, crop=18, stride=11
    )
    norm = heads[0].norm
    weight, bias = weights_of(heads[0])
    mean, variance = norm.running_mean.double().numpy(), norm.running_var.double().numpy()
    scale, shift = norm.weight.detach().double().numpy(), norm.bias.detach().double().numpy()
    for row, size in enumerate(sizes):
        image = np.array(Image.open(tmp_path / f"{row}.png")).transpose(2, 0, 1) / 255
        factor = 18 / min(size)
        small = naive_resize(image, (int(size[0] * factor + 0.5), int(size[1] * factor + 0.5)))
        total, count = np.zeros((3, *small.shape[1:])), np.zeros(small.shape[1:])
        for top in sorted({0, max(small.shape[1] - 18, 0), *range(0, max(small.shape[1] - 18, 0), 11)}):
            for left in sorted({0, max(small.shape[2] - 18, 0), *range(0, max(small.shape[2] - 18, 0), 11)}):
                view = small[:, top : top + 18, left : left + 18]
                patches = (naive_cells(view)[1] - mean[:, None, None]) / np.sqrt(variance + 1e-5)[:, None, None]
                patches = patches * scale[:, None, None] + shift[:, None, None]
                logits = np.einsum("kc,chw->khw", weight, patches) + bias[:, None, None]
                large = naive_resize(logits, (view.shape[1], view.shape[2]))
                total[:, top : top + 18, left : left + 18] += large
                count[top : top + 18, left : left + 18] += 1
        predicted = naive_resize(total / count, size).argmax(0)
        mask = np.array(Image.open(tmp_path / f"{row}-target.png"))
        marks = np.zeros(6)
        for label, guess in zip(mask.ravel(), predicted.ravel(), strict=True):
            if label == 255:
                continue
            marks[label] += label == guess
            for one in {int(label), int(guess)}:
                marks[3 + one] += 1
        assert np.abs(outcome.marks[row] - marks).sum() <= 2, "a pixel may lie between two classes"
    assert outcome.details["pixel_accuracy"] > 60


def test_depth_of_a_small_folder(tmp_path: Path, heads: list[LiveHead]) -> None:
    size = (48, 64)
    names = [save(tmp_path, number, size, "depth") for number in range(4)]
    source = PixelPairs(str(tmp_path), tmp_path, names, "depth", adapt=eigen_crop)
    live = Live(source, Cells())
    outcome = _depth_dinov2.run(
        live, live, seed=0, min_depth=1e-3, max_depth=10.0, num_bins=6, steps=12, batch_size=3, lr=0.02,
        weight_decay=0.0, crop=[30, 42], gradient=None,
    )  # fmt: skip
    weight, bias = weights_of(heads[0])
    bins = np.linspace(1e-3, 10, 6)

    def naive_depth(image: np.ndarray) -> np.ndarray:
        cls, patches = naive_cells(image)
        beside = np.concatenate([patches, np.broadcast_to(cls[:, None, None], patches.shape)])
        fine = naive_resize(beside, (4 * patches.shape[1], 4 * patches.shape[2]))
        logits = np.einsum("kc,chw->khw", weight, fine) + bias[:, None, None]
        shares = np.maximum(logits, 0) + 0.1
        depth = (shares * bins[:, None, None]).sum(0) / shares.sum(0)
        return naive_resize(depth[None], size)[0]

    errors = []
    for row in range(4):
        image = np.array(Image.open(tmp_path / f"{row}.png")).transpose(2, 0, 1) / 255
        predicted = (naive_depth(image) + naive_depth(image[:, :, ::-1])[:, ::-1]) / 2
        metres = np.array(Image.open(tmp_path / f"{row}-target.png")) / 1000
        differences, ratios = [], []
        for y in range(round(45 / 10), round(471 / 10)):
            for x in range(round(41 / 10), round(601 / 10)):
                if 0.001 < metres[y, x] < 10:
                    differences.append(predicted[y, x] - metres[y, x])
                    ratios.append(abs(predicted[y, x] - metres[y, x]) / metres[y, x])
        errors.append((math.sqrt(np.mean(np.square(differences))), np.mean(ratios)))
        assert outcome.marks[row] == pytest.approx([errors[-1][0], 1], rel=1e-4)
    assert outcome.score == pytest.approx(np.mean(errors, axis=0)[0], rel=1e-4)
    assert outcome.details["abs_rel"] == pytest.approx(np.mean(errors, axis=0)[1], abs=1e-4)
