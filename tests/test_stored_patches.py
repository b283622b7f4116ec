"""What is read back is what was stored, up to the error that each type promises; nothing becomes infinite."""

import numpy as np
import pytest
import torch

from unic.features.patches import overflows, restore, store

LARGEST = 65504.0


def back(stored: dict[str, np.ndarray]) -> torch.Tensor:
    ranges = torch.from_numpy(stored["ranges"]) if "ranges" in stored else None
    return restore(torch.from_numpy(stored["patches"]), ranges)


def patches(*, offset: float = 0.0, loud: float = 1.0) -> torch.Tensor:
    """Channels of very different loudness and means, as a ViT's are."""
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(6, 16, 8, generator=generator) * torch.logspace(-3, 1, 8) + offset
    values[..., 0] = values[..., 0] * loud
    return values


def test_fp32_is_exact_and_fp16_rounds() -> None:
    values = patches(offset=3.0)
    assert torch.equal(back(store(values, "fp32")), values)
    assert torch.equal(back(store(values, "fp16")), values.half().float())


@pytest.mark.parametrize("offset", [0.0, 3.0, -100.0, 30000.0])
def test_int8_error_is_at_most_half_a_step(offset: float) -> None:
    values = patches(offset=offset)
    stored = store(values, "int8")
    step = torch.from_numpy(stored["ranges"][:, 1]).float()
    error = (back(stored) - values).abs().amax(dim=1)
    rounding = values.abs().amax(dim=1) * 2**-23  # of the float32 arithmetic
    assert (error <= step / 2 + 2 * rounding).all()
    spacing = torch.from_numpy(np.abs(np.spacing(stored["ranges"][:, 0]).astype(np.float32)))
    promised = (values.amax(dim=1) - values.amin(dim=1) + spacing) / 255
    assert (step <= promised * (1 + 2**-10) + 2**-24).all()
    assert stored["patches"].dtype == np.uint8


def test_int8_keeps_quiet_channels_beside_loud_ones() -> None:
    """A step per token would round the quiet channel to nothing; here its error is the same with and without."""
    quiet, beside = patches()[..., 1:], patches(loud=1e6)[..., 1:]
    errors = [(back(store(values, "int8")) - values).abs().max() for values in (quiet, beside)]
    assert errors[0] == errors[1]
    relative = (back(store(quiet, "int8")) - quiet).std(dim=(0, 1)) / quiet.std(dim=(0, 1))
    assert relative.max() < 0.01


def test_constant_channels() -> None:
    for value in (0.0, 0.1, -7.3, 65504.0, -65504.0):
        values = torch.full((1, 4, 2), value)
        torch.testing.assert_close(back(store(values, "int8")), values, rtol=2e-5, atol=1e-7)


@pytest.mark.parametrize("dtype", ["fp16", "int8"])
def test_values_beyond_fp16_are_cut_off_not_infinite(dtype: str) -> None:
    values = patches()
    values[0, 0, 0], values[1, 2, 3] = 1e6, -7e4
    assert overflows(values, dtype) == 2
    restored = back(store(values, dtype))
    assert torch.isfinite(restored).all()
    assert (restored[0, 0, 0], restored[1, 2, 3]) == (
        pytest.approx(LARGEST, rel=2e-3),
        pytest.approx(-LARGEST, rel=2e-3),
    )
    assert overflows(values, "fp32") == 0
    assert overflows(patches(), dtype) == 0
