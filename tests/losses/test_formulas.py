"""Each loss with a formula of its own against plain loops in float64."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from unic.losses import Loss, build_losses

Vector = list[float]


def built(name: str, width: int, **options: Any) -> Loss:
    return build_losses({name: options}, (width, width))[name].loss.double()


def drawn(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def cosine(a: Vector, b: Vector) -> float:
    return math.fsum(p * q for p, q in zip(a, b, strict=True)) / math.hypot(*a) / math.hypot(*b)


def mean(values: list[float]) -> float:
    return math.fsum(values) / len(values)


@pytest.mark.parametrize("images", [1, 2, 5, 6])
def test_relational(images: int) -> None:
    z, y = drawn(images, 4, seed=0), drawn(images, 4, seed=1)
    values = built("relational", 4)(z, y).tolist()
    for i in range(images):
        others = [j for j in range(images) if j != i]
        teacher = {j: 1 - cosine(y[i].tolist(), y[j].tolist()) for j in others}
        student = {j: 1 - cosine(z[i].tolist(), z[j].tolist()) for j in others}
        middle = sorted(teacher.values())[(len(others) - 1) // 2] if others else 0
        found = [
            max(0.0, student[j] - teacher[j]) ** 2 if teacher[j] <= middle else max(0.0, teacher[j] - student[j]) ** 2
            for j in others
        ]
        assert values[i] == pytest.approx(mean(found) if found else 0)


def test_relational_gradient_is_that_of_the_own_image() -> None:
    z, y = drawn(5, 4, seed=0).requires_grad_(), drawn(5, 4, seed=1)
    built("relational", 4)(z, y)[2].backward()
    assert z.grad.any(1).tolist() == [False, False, True, False, False]


def divergence(student: Vector, teacher: Vector, temperature: float) -> float:
    def softmax(values: Vector) -> Vector:
        powers = [math.exp(value / temperature) for value in values]
        return [power / math.fsum(powers) for power in powers]

    pairs = zip(softmax(teacher), softmax(student), strict=True)
    return math.fsum(p * (math.log(p) - math.log(q)) for p, q in pairs)


@pytest.mark.parametrize("length", [3, 7, 20])
def test_queue_of_the_newest_images(length: int) -> None:
    loss, z, y = built("queue_kl", 4, length=length, temperature=0.2), drawn(3, 4, seed=0), drawn(3, 4, seed=1)
    assert loss(z, y).tolist() == [0, 0, 0]  # nothing to compare with yet
    seen: list[Vector] = []
    for step in range(4):
        batch = drawn(5, 4, seed=10 + step)
        loss.end_step(batch)
        seen += batch.tolist()
        keys = seen[-length:]
        for i, value in enumerate(loss(z, y).tolist()):
            student, teacher = ([cosine(x[i].tolist(), key) for key in keys] for x in (z, y))
            assert value == pytest.approx(divergence(student, teacher, 0.2))


@pytest.mark.parametrize("temperature", [1e-1, 1e-5, 1e-9])
def test_an_empty_slot_of_the_queue_never_counts(temperature: float) -> None:
    """However far from the only key in the queue: alone it has the probability 1."""
    loss, key = built("queue_kl", 4, length=9, temperature=temperature), drawn(1, 4, seed=0)
    loss.end_step(key)
    assert loss(-key, key).tolist() == [0]


def test_similarities_between_patches() -> None:
    z, y = drawn(2, 5, 4, seed=0), drawn(2, 5, 4, seed=1)
    values = built("queue_kl", 4, temperature=0.2)(z, y).tolist()
    for image, value in enumerate(values):
        found = []
        for i in range(5):
            student, teacher = (
                [cosine(x[image, i].tolist(), x[image, j].tolist()) for j in range(5) if j != i] for x in (z, y)
            )
            found.append(divergence(student, teacher, 0.2))
        assert value == pytest.approx(mean(found))


def test_balanced_summary() -> None:
    loss, z, y = built("balanced_summary", 4, momentum=0.3), drawn(3, 4, seed=0), drawn(3, 4, seed=1)

    def angles() -> Vector:
        return [math.acos(cosine(z[i].tolist(), y[i].tolist())) ** 2 for i in range(3)]

    assert loss(z, y).tolist() == pytest.approx([angle / (math.pi / 2) ** 2 for angle in angles()])
    direction, total, weight = [0.0] * 4, 0.0, 0.0
    for step in range(4):
        batch = (drawn(5, 4, seed=10 + step) + 2).tolist()
        units = [[value / math.hypot(*row) for value in row] for row in batch]
        centre = [mean([unit[channel] for unit in units]) for channel in range(4)]
        direction = [0.7 * old + 0.3 * new for old, new in zip(direction, centre, strict=True)]
        total = 0.7 * total + 0.3 * mean([math.acos(cosine(row, direction)) ** 2 for row in batch])
        weight = 0.7 * weight + 0.3
        loss.end_step(torch.tensor(batch, dtype=torch.float64))
        assert loss(z, y).tolist() == pytest.approx([angle * weight / total for angle in angles()])


def test_a_narrow_teacher_counts_as_much_as_a_wide_one() -> None:
    values = []
    for spread in (0.01, 0.1):
        loss, noise = built("balanced_summary", 8), drawn(4, 200, 8, seed=0)
        images = torch.ones(8, dtype=torch.float64) + spread * noise
        for batch in images[:3]:
            loss.end_step(batch)
        values.append(loss(images[2], images[3]).mean().item())
    assert values[0] == pytest.approx(values[1], rel=0.05)


def test_shift_equivariant_is_a_mean_square() -> None:
    z, y = drawn(2, 3, 4, seed=0), drawn(2, 3, 4, seed=1)
    values = built("shift_equivariant", 4)(z, y).tolist()
    for image, value in enumerate(values):
        pairs = zip(z[image].flatten().tolist(), y[image].flatten().tolist(), strict=True)
        assert value == pytest.approx(mean([(p - q) ** 2 for p, q in pairs]))
