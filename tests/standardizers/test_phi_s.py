"""PHI-S: equal variances by one scale and a rotation, Hadamard matrices, its first steps and a resume within them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from unic.errors import InputError
from unic.standardizers import build_standardizer, phi_s
from unic.standardizers._hadamard import hadamard
from unic.tokens import without_patches

WIDTHS = (1, 2, 5, 12, 20, 52)  # a Hadamard matrix of 52 is not among the constructions


def vectors(seed: int, width: int, count: int = 300) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(width, width, generator=torch.Generator().manual_seed(width)) * torch.logspace(-2, 1, width)
    return torch.randn(count, width, generator=generator) @ mix + 100


def fixed(width: int, steps: int = 3) -> phi_s.Standardizer:
    standardizer = phi_s.Standardizer({"t": (width, 0)}, steps=steps)
    for step in range(steps):
        standardizer({"t": without_patches(vectors(step, width))})
        standardizer.update(0.0)
    return standardizer


@pytest.mark.parametrize("width", WIDTHS)
def test_against_the_formula_in_float64(width: int) -> None:
    x = torch.cat([vectors(step, width) for step in range(3)]).double().numpy()
    centred = x - x.mean(0)
    covariance = centred.T @ centred / len(x)
    phi = np.sqrt(np.trace(covariance) / width)
    targets = fixed(width).eval()({"t": without_patches(torch.from_numpy(x).float())})["t"].cls.double().numpy()
    # All channels have variance 1, and distances are those of the tokens divided by φ: a rotation and one scale.
    np.testing.assert_allclose(targets.mean(0), 0, atol=1e-3)
    np.testing.assert_allclose(targets.var(0), 1, rtol=1e-3)
    gram = centred @ centred.T / phi**2
    np.testing.assert_allclose(targets @ targets.T, gram, atol=2e-3 * np.abs(gram).max())


@pytest.mark.parametrize("width", [2, 12, 20])
def test_every_principal_component_is_spread_evenly_over_the_channels(width: int) -> None:
    standardizer = fixed(width)
    rotation = standardizer.teachers["t"]["cls"]
    _, components = np.linalg.eigh(rotation.scatter.numpy())
    shares = rotation.matrix.double().numpy() @ components * rotation.deviation.item()
    np.testing.assert_allclose(np.abs(shares), 1 / np.sqrt(width), rtol=1e-3)


@pytest.mark.parametrize("order", [1, 2, 4, 12, 20, 28, 36, 44, 192, 320, 384, 768])
def test_hadamard(order: int) -> None:
    matrix = hadamard(order)
    assert matrix is not None
    assert set(np.unique(matrix)) <= {-1.0, 1.0}
    np.testing.assert_array_equal(matrix @ matrix.T, order * np.eye(order))


@pytest.mark.parametrize("order", [640, 1024, 1152, 1280, 1408, 1536, 1664, 1792, 2048])
def test_usual_widths_have_one(order: int) -> None:
    assert hadamard(order) is not None


def test_orders_without_one() -> None:
    assert [hadamard(order) for order in (3, 6, 10, 49, 52)] == [None] * 5


def test_rounding_does_not_turn_the_rotation_of_few_tokens() -> None:
    """Eight tokens of 20 channels: the space that they leave empty has no directions of its own."""
    x, later = vectors(0, 20, count=8), vectors(1, 20)
    targets = []
    for noise in (0.0, 1e-7):
        standardizer = phi_s.Standardizer({"t": (20, 0)}, steps=1)
        standardizer({"t": without_patches(x * (1 + noise * torch.randn(8, 20)))})
        standardizer.update(0.0)
        targets.append(standardizer.eval()({"t": without_patches(later)})["t"].cls)
    torch.testing.assert_close(targets[0], targets[1], atol=1e-2 * targets[0].abs().max().item(), rtol=0)


def test_a_resume_within_the_first_steps_goes_on() -> None:
    whole = fixed(5, steps=4)
    begun, resumed = (phi_s.Standardizer({"t": (5, 0)}, steps=4) for _ in range(2))
    for step in range(4):
        if step == 2:
            resumed.load_state_dict(begun.state_dict())
            begun = resumed
        begun({"t": without_patches(vectors(step, 5))})
        begun.update(0.0)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, begun.state_dict()[name]), name


def test_the_rotation_stays_after_the_first_steps() -> None:
    standardizer = fixed(12)
    before = {name: value.clone() for name, value in standardizer.state_dict().items()}
    standardizer({"t": without_patches(vectors(9, 12) * 7)})
    standardizer.update(0.5)
    assert all(torch.equal(value, before[name]) for name, value in standardizer.state_dict().items())


def test_a_batch_that_is_not_finite_is_left_out() -> None:
    standardizer = phi_s.Standardizer({"t": (4, 0)}, steps=2)
    standardizer({"t": without_patches(torch.full((3, 4), torch.inf))})
    standardizer.update(0.0)
    standardizer({"t": without_patches(vectors(0, 4))})
    standardizer.update(0.0)
    targets = standardizer.eval()({"t": without_patches(vectors(0, 4))})["t"].cls
    torch.testing.assert_close(targets.var(0, correction=0), torch.ones(4), rtol=1e-3, atol=0)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("steps", [0, 2.5, True])
def test_wrong_steps(steps: object) -> None:
    with pytest.raises(InputError, match=r"(standardize\.|option ')steps'"):
        build_standardizer("phi_s", {"t": (4, 0)}, {"steps": steps})
