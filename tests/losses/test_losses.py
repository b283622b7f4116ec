"""The contract that each file in the folder of losses keeps."""

from collections.abc import Callable

import pytest
import torch

from unic import lookup
from unic.errors import InputError
from unic.losses import build_losses, mse

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


def test_dotted_path_names_foreign_code(trust: Callable[[str], None]) -> None:
    trust("unic.losses.mse")
    assert build_losses({"unic.losses.mse": 1.0}, (5, 5))["unic.losses.mse"].loss.function is mse.loss


def test_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(InputError, match="'cosin'.*'cosine'"):
        build_losses({"cosin": 1.0}, (5, 5))
