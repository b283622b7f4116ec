"""iNaturalist 2019, 1,010 species in 72 genera, long-tailed (Van Horn et al., arXiv 1707.06642)."""

from __future__ import annotations

from pathlib import Path

from unic.eval.datasets._inat import open_year
from unic.eval.datasets.base import DataPair

COUNTS = (265_213, 3030, 1010)
_MD5 = ("c60a6e2962c9b8ccbd458d12c8582644", "b06a6683537867c0d5c7a45f407a306d", "5cc5509b0fe495f1c8c1362612448497")


def load(root: Path, *, download: bool = False) -> DataPair:
    return open_year(2019, _MD5, "74 GB", root, download)
