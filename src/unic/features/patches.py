"""Storage formats of patch tokens: fp32, fp16, or 8-bit levels of each image and channel.

int8 stores x ≈ low + q · step with q = 0 … 255, where `low` and `step` belong to one channel of one image. They are per
channel because targets are standardised per channel: a channel with large values then costs the others no precision.
They are per image because that needs no statistics of the set, so a batch can be written at once. Both are fp16,
rounded outwards so that the range covers every value: |error| ≤ step / 2, and step is (max − min) / 255 up to the
rounding of fp16.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

Dtype = Literal["fp16", "fp32", "int8"]

_LARGEST = float(np.finfo(np.float16).max)
_SMALLEST = np.float16(2**-24)
_LEVELS = 255
BYTES: dict[str, int] = {"fp16": 2, "fp32": 4, "int8": 1}  # of one value; int8 adds 4 for each image and channel


def store(patches: Float[Tensor, "b n e"], dtype: Dtype) -> dict[str, np.ndarray]:
    """The arrays to store: `patches` `(b, n, e)`, and for int8 also `ranges` `(b, 2, e)`, low and step.

    For fp16 and int8, values beyond the range of fp16 are clipped to it; `overflows` counts them.
    """
    values = patches.float()
    if dtype == "fp32":
        return {"patches": values.cpu().numpy()}
    values = values.clamp(-_LARGEST, _LARGEST)
    if dtype == "fp16":  # rounded on the device, so that half as many bytes are read
        return {"patches": values.half().cpu().numpy()}
    values = values.cpu()
    low = _rounded(values.amin(dim=1).numpy(), -np.inf)
    span = values.amax(dim=1).numpy() - low.astype(np.float32)
    step = np.maximum(_rounded(span / _LEVELS, np.inf), _SMALLEST)
    levels = (values - torch.from_numpy(low).float()[:, None]) / torch.from_numpy(step).float()[:, None]
    return {
        "patches": levels.round_().clamp_(0, _LEVELS).to(torch.uint8).numpy(),
        "ranges": np.stack([low, step], axis=1),
    }


def overflows(patches: Float[Tensor, "b n e"], dtype: Dtype) -> int:
    """Number of values that `store` clips."""
    return 0 if dtype == "fp32" else int((patches.abs() > _LARGEST).sum())


def restore(patches: Tensor, ranges: Float[Tensor, "b 2 e"] | None = None) -> Float[Tensor, "b n e"]:
    """The float32 tokens of what `store` has returned, on the device of `patches`."""
    if ranges is None:
        return patches.float()
    low, step = ranges.float().unbind(1)
    return torch.addcmul(low[:, None], patches.float(), step[:, None])


def _rounded(values: np.ndarray, towards: float) -> np.ndarray:
    """The nearest fp16 values that are not larger (`towards` -inf) or not smaller (`towards` inf)."""
    near = values.astype(np.float16)
    wrong = near.astype(np.float32) > values if towards < 0 else near.astype(np.float32) < values
    with np.errstate(over="ignore"):  # from the largest fp16, whose result is not used
        return np.where(wrong, np.nextafter(near, np.float16(towards)), near)
