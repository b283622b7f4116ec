"""Every loss against its formula in a naive float64 loop, and the contract that each file in the folder keeps."""

import math

import pytest
import torch

from unic import lookup
from unic.errors import InputError
from unic.losses import build_losses, cosine, mse, smooth_l1

NAMES = lookup.names("unic.losses")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(3, 5), (3, 4, 5)])
def test_one_value_per_image_zero_at_the_target_with_gradient(name: str, shape: tuple[int, ...]) -> None:
    loss = lookup.entry("unic.losses", name, "loss")
    target = torch.randn(shape, dtype=torch.float64)
    prediction = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    values = loss(prediction, target)
    assert values.shape == (3,)
    values.sum().backward()
    assert (prediction.grad != 0).any()
    torch.testing.assert_close(loss(target, target), torch.zeros(3, dtype=torch.float64), atol=1e-12, rtol=0)
    assert lookup.first_line(lookup.module("unic.losses", name))


def test_formulas_in_a_naive_loop() -> None:
    z, y = torch.randn(2, 3, 4, dtype=torch.float64) * 2, torch.randn(2, 3, 4, dtype=torch.float64)
    for image in range(2):
        cosines, huber, squares = [], [], []
        for token in range(3):
            a, b = z[image, token].tolist(), y[image, token].tolist()
            dot = sum(p * q for p, q in zip(a, b, strict=True))
            cosines.append(1 - dot / math.hypot(*a) / math.hypot(*b))
            deltas = [abs(p - q) for p, q in zip(a, b, strict=True)]
            huber.append(sum(d * d / 2 if d < 1 else d - 0.5 for d in deltas) / 4)
            squares.append(sum(d * d for d in deltas) / 4)
        assert cosine.loss(z, y)[image].item() == pytest.approx(sum(cosines) / 3, abs=1e-12)
        assert smooth_l1.loss(z, y)[image].item() == pytest.approx(sum(huber) / 3, abs=1e-12)
        assert mse.loss(z, y)[image].item() == pytest.approx(sum(squares) / 3, abs=1e-12)


def test_dotted_path_names_foreign_code() -> None:
    assert build_losses({"unic.losses.mse": 1.0})["unic.losses.mse"][1] is mse.loss


def test_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(InputError, match="unknown loss 'cosin'; did you mean 'cosine'?"):
        build_losses({"cosin": 1.0})
