"""`unic` of which each process writes the statistics it has after every step: $STATISTICS/RANK-STEP.safetensors."""

from __future__ import annotations

import os
from pathlib import Path

from safetensors.torch import save_file

from unic import cli
from unic.standardizers.ema import Standardizer as EmaStandardizer

original, calls = EmaStandardizer.update, [0]


def telling(self: EmaStandardizer, progress: float) -> None:
    original(self, progress)
    calls[0] += 1
    save_file(self.state_dict(), Path(os.environ["STATISTICS"]) / f"{os.environ.get('RANK', 0)}-{calls[0]}.safetensors")


if __name__ == "__main__":
    EmaStandardizer.update = telling  # type: ignore[method-assign]
    cli.main()
