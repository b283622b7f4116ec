"""Whether the training images are narrow: in how many directions the teachers' features vary on them.

Effective rank (Roy and Vetterli, EUSIPCO 2007), here of the covariance: exp of the entropy of its eigenvalues, divided
by their sum. It grows with the number of images, so it is compared with that of as many generated images, which are
the same for everybody.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float

from unic.data.loader import ImageList
from unic.data.sources import Source, open_source
from unic.data.sources.selection import Selection
from unic.distill.job import Job
from unic.errors import InputError
from unic.features import default_cache_dir, extract
from unic.preflight.findings import Report

_IMAGES, _FEWEST = 256, 64  # that are looked at, and with which there is nothing to tell
_FAMILIES = ("dead_leaves", "spectral", "drawings", "strokes")
_LARGEST = 256  # side of the generated images
_NARROW = 0.6  # of the rank on generated images, mean over teachers; see docs/generalise.md for what sets have
_SECONDS = 60.0  # that one teacher may take


def look_at_spread(job: Job, report: Report) -> None:
    """Adds the effective ranks to the facts, and a warning where they are low. Features are kept in the user's cache.

    Args:
        report: has the speed of each teacher in its rows.
    """
    own = first_seen(job.images, job.recipe.seed, _IMAGES)
    if len(own) < _FEWEST:
        return
    other = reference(len(own), min(job.recipe.data.size, _LARGEST))
    speeds = {row["name"]: row["images_per_s"] for row in report.models}
    found: dict[str, dict[str, float]] = {}
    for name, encoder in job.encoders.items():
        if 2 * len(own) > _SECONDS * speeds[name]:
            continue
        try:
            own_rank, rank = (
                effective_rank(extract(encoder, images, size=job.recipe.data.size, cache=default_cache_dir()).cls)
                for images in (own, other)
            )
        except InputError as error:
            report.add("error", f"teacher {name}", str(error))
            continue
        found[name] = {"own": round(own_rank, 1), "generated": round(rank, 1)}
    if not found:
        return
    share = mean_share(found)
    report.facts["spread"] = {"images": len(own), "teachers": found, "share": round(share, 2)}
    if share < _NARROW:
        text = f"narrow: the teachers' features spread over {share:.0%} of the directions that they take on generated"
        report.add(
            "warning",
            "data.train",
            f"{text} images; on others the student forgets what it knew: see docs/generalise.md",
        )


def first_seen(images: ImageList, seed: int, count: int) -> Source:
    """The images that a run sees first: a sample of all sources by their weights."""
    order = images.epoch_order(seed, 0)[:count]
    found = Selection(images.path, images, np.unique(order.numpy()))
    found.max_pixels = images.max_pixels
    return found


def reference(count: int, size: int) -> Source:
    """As many generated images, of each family alike."""
    shares = [count // len(_FAMILIES) + (place < count % len(_FAMILIES)) for place in range(len(_FAMILIES))]
    paths = (
        f"generated:{name}?images={share}&size={size}" for name, share in zip(_FAMILIES, shares, strict=True) if share
    )
    return ImageList([open_source(path) for path in paths])


def effective_rank(features: Float[np.ndarray, "n d"]) -> float:
    """Of the covariance of features: 1 where all lie on a line, at most min(n − 1, d); 0 where all are the same."""
    x = torch.from_numpy(np.array(features, dtype=np.float64))
    x = x - x.mean(0)
    eigenvalues = torch.linalg.eigvalsh(x @ x.T if len(x) < x.shape[1] else x.T @ x).clamp(min=0)
    total = eigenvalues.sum()
    return float(torch.special.entr(eigenvalues / total).sum().exp()) if total > 0 else 0.0


def mean_share(found: Mapping[str, Mapping[str, float]]) -> float:
    """Geometric mean over the teachers of the rank on one's own images, divided by that on generated ones."""
    shares = [max(ranks["own"], 1e-3) / max(ranks["generated"], 1e-3) for ranks in found.values()]
    return math.exp(sum(map(math.log, shares)) / len(shares))
