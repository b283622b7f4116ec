"""Noise with the amplitude spectrum of photographs: 1 / f^a in each direction, random phases, correlated colours.

After "Learning to see by looking at noise" (Baradad et al., NeurIPS 2021), which draws the two exponents from 0.5 to
3.5. Photographs have about 1 (Field 1987; Torralba and Oliva 2003).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, UInt8
from scipy import fft

# Rows: luminance, blue against yellow, green against red. Photographs vary mostly in the first (Ruderman et al. 1998).
_AXES = np.array([[0.577, 0.577, 0.577], [0.408, 0.408, -0.816], [0.707, -0.707, 0.0]], dtype=np.float32)


def draw(
    random: np.random.Generator, size: int, *, min_exponent: float = 0.5, max_exponent: float = 2.5
) -> UInt8[np.ndarray, "s s 3"]:
    """One image of noise.

    Args:
        random: every number is drawn from it.
        size: side in pixels.
        min_exponent: smallest exponent of the horizontal and of the vertical frequency; 0 is white noise.
        max_exponent: largest exponent of them; 3 is a few soft clouds.
    """
    exponents = random.uniform(min_exponent, max_exponent, 2)
    spread = random.uniform(25, 75), random.uniform(2, 30), random.uniform(2, 20)
    noise = field(random, size, exponents) @ (np.array(spread, dtype=np.float32)[:, None] * _AXES)
    middle = random.uniform(70, 185) + random.normal(0, 15, 3)
    return np.clip(noise + middle.astype(np.float32), 0, 255).astype(np.uint8)


def field(
    random: np.random.Generator, size: int, exponents: Float[np.ndarray, " 2"], channels: int = 3
) -> Float[np.ndarray, "s s c"]:
    """Noise of mean 0 and deviation 1 in each channel, `(size, size, channels)`, float32.

    Args:
        random: the phases are drawn from it.
        size: side in pixels.
        exponents: of the horizontal and of the vertical frequency.
        channels: of independent noise.
    """
    horizontal, vertical = np.abs(np.fft.rfftfreq(size)), np.abs(np.fft.fftfreq(size))
    steps = 1 / size  # keeps the constant finite; it is removed below
    amplitude = 1 / ((horizontal[None] + steps) ** exponents[0] + (vertical[:, None] + steps) ** exponents[1])
    amplitude = amplitude.astype(np.float32)
    angles = random.random((channels, *amplitude.shape), dtype=np.float32) * np.float32(2 * np.pi)
    spectrum = np.empty(angles.shape, np.complex64)
    spectrum.real, spectrum.imag = amplitude * np.cos(angles), amplitude * np.sin(angles)
    noise = fft.irfft2(spectrum, s=(size, size))  # in single precision, as what it is given
    noise -= noise.mean((1, 2), keepdims=True)
    noise /= noise.std((1, 2), keepdims=True) + np.float32(1e-6)
    return noise.transpose(1, 2, 0)
