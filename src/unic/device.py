"""The default device of a process."""

from __future__ import annotations

import torch


def default_device() -> torch.device:
    """The GPU of this process if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
