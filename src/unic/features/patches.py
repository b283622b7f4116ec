"""How patch tokens are kept on the disk: as fp32, as fp16, or as 8-bit levels of each image and channel.

int8: x ≈ low + q · step with q = 0 … 255, where `low` and `step` belong to one channel of one image. Per channel, for
that is how targets are standardised: a step per token would cost quiet channels what a loud one needs. Per image, which
needs no statistics of the set: a batch is written as it comes. Both numbers are fp16, rounded outwards, so that the
range covers every value: |error| ≤ step / 2, and step is (max − min) / 255 up to the rounding of fp16.
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
BYTES: dict[str, int] = {"fp16": 2, "fp32": 4, "int8": 1}  # of one value; int8 has 4 more for an image and channel


def store(patches: Float[Tensor, "b n e"], dtype: Dtype) -> dict[str, np.ndarray]:
    """`patches`, and for int8 `ranges` `(b, 2, e)`: low and step.

    Values beyond fp16 become its largest, but for fp32; `overflows` counts them.
    """
    values = patches.float().cpu()
    if dtype == "fp32":
        return {"patches": values.numpy()}
    values = values.clamp(-_LARGEST, _LARGEST)
    if dtype == "fp16":
        return {"patches": values.half().numpy()}
    low = _rounded(values.amin(dim=1).numpy(), -np.inf)
    span = values.amax(dim=1).numpy() - low.astype(np.float32)
    step = np.maximum(_rounded(span / _LEVELS, np.inf), _SMALLEST)
    levels = (values - torch.from_numpy(low).float()[:, None]) / torch.from_numpy(step).float()[:, None]
    return {
        "patches": levels.round_().clamp_(0, _LEVELS).to(torch.uint8).numpy(),
        "ranges": np.stack([low, step], axis=1),
    }


def overflows(patches: Float[Tensor, "b n e"], dtype: Dtype) -> int:
    """How many values `store` has to cut off."""
    return 0 if dtype == "fp32" else int((patches.abs() > _LARGEST).sum())


def restore(patches: Tensor, ranges: Float[Tensor, "b 2 e"] | None = None) -> Float[Tensor, "b n e"]:
    """What `store` was given, in float32, on the device where the stored values are."""
    if ranges is None:
        return patches.float()
    low, step = ranges.float().unbind(1)
    return torch.addcmul(low[:, None], patches.float(), step[:, None])


def _rounded(values: np.ndarray, towards: float) -> np.ndarray:
    """The nearest fp16 on that side."""
    near = values.astype(np.float16)
    wrong = near.astype(np.float32) > values if towards < 0 else near.astype(np.float32) < values
    with np.errstate(over="ignore"):  # of the largest, which are not wrong
        return np.where(wrong, np.nextafter(near, np.float16(towards)), near)
