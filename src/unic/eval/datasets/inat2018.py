"""iNaturalist 2018, 8,142 species of plants, animals and fungi, long-tailed (Van Horn et al., arXiv 1707.06642)."""

from __future__ import annotations

from pathlib import Path

from unic.eval.datasets._inat import open_year
from unic.eval.datasets.base import DataPair

COUNTS = (437_513, 24_426, 8142)
_MD5 = ("b1c6952ce38f31868cc50ea72d066cc3", "bfa29d89d629cbf04d826a720c0a68b0", "f2ed8bfe3e9901cdefceb4e53cd3775d")


def load(root: Path, *, download: bool = False) -> DataPair:
    return open_year(2018, _MD5, "120 GB", root, download)
