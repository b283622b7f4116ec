"""Mean IoU and accuracies of segmentation against torchmetrics."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torchmetrics.classification import MulticlassAccuracy, MulticlassJaccardIndex

from unic.eval.outcome import IGNORED, Dense
from unic.eval.tasks import segmentation

CLASSES, GRID, SIZE = ["sky", "sea", "land", "ice"], (3, 4), (15, 20)


class Head:
    """Gives known maps in place of trained ones."""

    def __init__(self, maps: torch.Tensor) -> None:
        self.maps = maps

    def predictions(self, data: Dense, batch_size: int) -> Iterator[tuple[int, torch.Tensor]]:
        yield from enumerate(self.maps)


@pytest.mark.parametrize("absent", [False, True])
def test_scores_over_all_pixels(absent: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """`absent`: a class that no pixel has and none is given; it counts for nothing."""
    rng = np.random.default_rng(0)
    masks = rng.integers(0, 3 if absent else 4, (6, *SIZE)).astype(np.uint8)
    masks[rng.random(masks.shape) < 0.2] = IGNORED
    masks[2] = IGNORED
    maps = torch.randn(6, 4, *GRID, generator=torch.Generator().manual_seed(0))
    maps[:, 3] += -100 if absent else 0
    data = Dense(np.zeros((6, 12, 2), np.float32), GRID, list(masks), CLASSES)
    monkeypatch.setattr(segmentation, "train_head", lambda *_, **__: Head(maps))
    outcome = segmentation.run(data, data)

    given = F.interpolate(maps.double(), size=SIZE, mode="bilinear", align_corners=False).argmax(1)
    wanted = torch.from_numpy(masks).long()
    expected = {
        name: 100 * metric(given, wanted).numpy()
        for name, metric in {
            "mean": MulticlassJaccardIndex(4, ignore_index=IGNORED),
            "each": MulticlassJaccardIndex(4, average="none", ignore_index=IGNORED),
            "pixels": MulticlassAccuracy(4, average="micro", ignore_index=IGNORED),
            "classes": MulticlassAccuracy(4, average="macro", ignore_index=IGNORED),
        }.items()
    }
    assert outcome.score == pytest.approx(expected["mean"], rel=1e-5)
    each = dict(zip(CLASSES[: 3 if absent else 4], expected["each"].tolist(), strict=False))
    assert outcome.details["iou"] == {name: pytest.approx(value, abs=1e-3) for name, value in each.items()}
    assert outcome.details["pixel_accuracy"] == pytest.approx(expected["pixels"], abs=1e-3)
    assert outcome.details["mean_class_accuracy"] == pytest.approx(expected["classes"], abs=1e-3)
