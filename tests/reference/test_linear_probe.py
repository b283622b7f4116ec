"""Linear heads, many trained at once, against one `torch.optim.SGD` with a cosine for each, in float64."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from unic.eval.probes.linear_heads import Schedule, Setting, train_heads
from unic.eval.probes.unit_vectors import UnitVectors

SETTINGS = [Setting(0.3, 0.0), Setting(5.0, 1e-4), Setting(100.0, 1e-5), Setting(30.0, 1e-2), Setting(1.0, 1e-12)]
EPOCHS, WIDTH, CLASSES = 4, 12, 5


def test_weights_of_every_head() -> None:
    rng = np.random.default_rng(0)
    y = np.concatenate([np.arange(CLASSES), rng.integers(0, CLASSES, 85)])
    x = rng.normal(size=(CLASSES, WIDTH))[y] + 1.3 * rng.normal(size=(90, WIDTH))
    x = (x * rng.uniform(0.1, 10, (90, 1))).astype(np.float32)
    rows, schedule = np.arange(5, 85), Schedule(EPOCHS, 32, seed=1)
    found = train_heads(UnitVectors(x), y, rows, CLASSES, SETTINGS, schedule).weights
    for head, setting in zip(found, SETTINGS, strict=True):
        expected = trained(x[rows].astype(np.float64), y[rows], setting, schedule)
        scale = float(expected.abs().max())
        torch.testing.assert_close(head.double(), expected, rtol=1e-5, atol=1e-5 * scale)


def trained(x: np.ndarray, y: np.ndarray, setting: Setting, schedule: Schedule) -> torch.Tensor:
    """Weights and, as the last column, intercepts."""
    model = torch.nn.Linear(WIDTH, CLASSES, dtype=torch.float64)
    torch.nn.init.zeros_(model.weight)
    torch.nn.init.zeros_(model.bias)
    sgd = torch.optim.SGD(model.parameters(), lr=setting.lr, momentum=0.9, weight_decay=setting.weight_decay)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(sgd, T_max=EPOCHS * schedule.num_batches(len(x)))
    unit, labels = torch.from_numpy(x / np.linalg.norm(x, axis=1, keepdims=True)), torch.from_numpy(y)
    for epoch in range(EPOCHS):
        for pool in schedule.order(len(x), epoch):
            for batch in pool:
                sgd.zero_grad()
                F.cross_entropy(model(unit[batch]), labels[batch]).backward()
                sgd.step()
                cosine.step()
    return torch.cat([model.weight, model.bias[:, None]], dim=1).detach()
