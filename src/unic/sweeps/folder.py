"""The folder of a sweep: what was asked for, the run folders, and a small file for each finished training.

DIR/sweep.yaml                what was asked for; `unic sweep DIR` goes on with it
DIR/base.yaml                 the recipe of the base, with every default
DIR/VARIANT/seed-N/           an ordinary run folder
DIR/results/VARIANT-N.json    what the table is made of, also where the run folder is gone
DIR/table.md, DIR/report.html
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from unic.runs.folder import RunFolder, of_seed


@dataclass(frozen=True)
class SweepFolder:
    """The paths of everything in the folder of a sweep; none of them need exist.

    Args:
        path: the folder.
    """

    path: Path

    @property
    def asked(self) -> Path:
        return self.path / "sweep.yaml"

    @property
    def base(self) -> Path:
        return self.path / "base.yaml"

    @property
    def results(self) -> Path:
        return self.path / "results"

    @property
    def table(self) -> Path:
        return self.path / "table.md"

    @property
    def report(self) -> Path:
        return RunFolder(self.path).report

    @property
    def is_begun(self) -> bool:
        return self.asked.is_file()

    def run(self, variant: str, seed: int) -> Path:
        """The run folder of a variant, which is named as in `Variant.folder`."""
        return self.path / variant / of_seed(seed)

    def result(self, variant: str, seed: int) -> Path:
        return self.results / f"{variant}-{seed}.json"

    def has_begun(self, variant: str) -> bool:
        """Whether a training of the variant has begun, or was finished elsewhere."""
        own = re.compile(rf"{re.escape(variant)}-\d+\.json")  # not that of another variant, whose name begins alike
        names = os.listdir(self.results) if self.results.is_dir() else []
        return (self.path / variant).is_dir() or any(map(own.fullmatch, names))
