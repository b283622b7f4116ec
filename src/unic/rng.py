"""Counter-based random numbers: each is a hash of its keys, so there is no generator state to save or share.

Every random draw of a run (augmentation, teacher dropping, drop path) is `uniform(seed, step, image, …)`. A resumed run
therefore repeats it bit for bit, and neither the number of processes nor the order of a batch changes it.
The mixing function is the 64-bit finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
"""

from __future__ import annotations

import zlib

import torch
from torch import Tensor

_MASK = (1 << 64) - 1


def _signed(value: int) -> int:
    value &= _MASK
    return value - (1 << 64) if value >> 63 else value


_GOLDEN, _MIX1, _MIX2 = map(_signed, (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


def _logical_shift(x: Tensor, bits: int) -> Tensor:
    return (x >> bits) & ((1 << (64 - bits)) - 1)  # torch shifts int64 arithmetically


def _mix(x: Tensor) -> Tensor:
    x = (x ^ _logical_shift(x, 30)) * _MIX1
    x = (x ^ _logical_shift(x, 27)) * _MIX2
    return x ^ _logical_shift(x, 31)


def stream(name: str) -> int:
    """A stable integer key for a named stream of draws, so that two streams never share random numbers."""
    return zlib.crc32(name.encode())


def uniform(*keys: int | Tensor, device: torch.device | str | None = None) -> Tensor:
    """Uniform numbers in [0, 1), float32, one per element of the broadcast keys.

    Args:
        keys: integers or int64 tensors; tensors broadcast against each other.
        device: where to compute if all keys are plain integers (tensors bring their own device).
    """
    tensors = [key for key in keys if isinstance(key, Tensor)]
    device = tensors[0].device if tensors else device
    state = torch.zeros((), dtype=torch.int64, device=device)
    for key in keys:
        state = _mix((state ^ key) + _GOLDEN)
    return _logical_shift(state, 40).to(torch.float32) * 2.0**-24


def number(*keys: int) -> float:
    """`uniform` of plain integers without a tensor: the same value in a tenth of the time."""
    state = 0
    for key in keys:
        state = ((state ^ key) + _GOLDEN) & _MASK
        state = ((state ^ (state >> 30)) * _MIX1) & _MASK
        state = ((state ^ (state >> 27)) * _MIX2) & _MASK
        state ^= state >> 31
    return (state >> 40) * 2.0**-24


def seed_of(*keys: int) -> int:
    """A 63-bit seed for a library generator (torch, numpy), from the same hash."""
    state = torch.zeros((), dtype=torch.int64)
    for key in keys:
        state = _mix((state ^ key) + _GOLDEN)
    return int(state) & ((1 << 63) - 1)
