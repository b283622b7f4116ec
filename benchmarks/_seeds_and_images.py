"""Statistics of a mean difference that varies with the seeds of trainings and with the test images.

The error of the mean over n paired seeds is that of Student's t with n − 1 degrees of freedom; the error by other test
images is normal, and known far better, as there are hundreds of images. The interval of `unic sweep` is that of their
sum, which is computed here by quadrature in place of resampling: p values need more digits than 1,000 resamples have.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import t as student_t

LEVEL = 0.05
POWER = 0.8
MOST = 40  # seeds, when it is asked how many would show a difference
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(31)
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()
_GRID = 80  # sample deviations for which the interval is computed; between them it is interpolated
_DRAWS = 100_000


def p_value(difference: float, seeds: int, deviation: float, image_error: float) -> float:
    """Two-sided p value of a mean difference.

    Args:
        difference: the mean over the seeds.
        seeds: their number, at least 2.
        deviation: sample deviation of the differences of the seeds, above 0.
        image_error: standard error of the mean by other test images.
    """
    return float(2 * _above(np.array([abs(difference)]), seeds, np.array([deviation / np.sqrt(seeds)]), image_error)[0])


def holm(p_values: Sequence[float]) -> list[bool]:
    """Which of several comparisons hold together at `LEVEL` (Holm 1979)."""
    holds = [False] * len(p_values)
    for place, index in enumerate(np.argsort(p_values)):
        if p_values[index] > LEVEL / (len(p_values) - place):
            break
        holds[index] = True
    return holds


def can_show(seeds: int, deviation: float, image_error: float) -> float:
    """The difference whose interval is above 0 in a share `POWER` of sweeps with so many paired seeds.

    Args:
        seeds: number of seeds.
        deviation: true deviation of the difference of two trainings with one seed.
        image_error: standard error of the mean by other test images.
    """
    draw = np.random.default_rng(0)
    sampled = deviation * np.sqrt(draw.chisquare(seeds - 1, _DRAWS) / (seeds - 1) / seeds)
    errors = np.hypot(deviation / np.sqrt(seeds), image_error) * draw.standard_normal(_DRAWS)
    grid = np.linspace(sampled.min(), sampled.max(), _GRID)
    reach = np.interp(sampled, grid, _half_interval(seeds, grid, image_error))
    return float(np.quantile(reach - errors, POWER))


def needed(difference: float, deviation: float, image_error: float) -> int | None:
    """The number of seeds that show a difference; None: more than `MOST`. The other arguments are as in `can_show`."""
    counts = range(2, MOST + 1)
    return next((seeds for seeds in counts if can_show(seeds, deviation, image_error) <= difference), None)


def _half_interval(seeds: int, seed_errors: np.ndarray, image_error: float) -> np.ndarray:
    """Half of the interval at each standard error of the mean over seeds, by bisection."""
    low = np.zeros_like(seed_errors)
    high = (student_t.isf(LEVEL / 4, seeds - 1) * seed_errors) + 4 * image_error
    for _ in range(24):
        middle = (low + high) / 2
        is_inside = _above(middle, seeds, seed_errors, image_error) > LEVEL / 2
        low, high = np.where(is_inside, middle, low), np.where(is_inside, high, middle)
    return high


def _above(x: np.ndarray, seeds: int, seed_errors: np.ndarray, image_error: float) -> np.ndarray:
    """Probability that the sum of both errors is above x."""
    rest = (x[:, None] - image_error * _NODES) / seed_errors[:, None]
    return np.asarray(student_t.sf(rest, seeds - 1) @ _WEIGHTS)
