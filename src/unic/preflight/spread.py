"""The spread of the training images: the number of directions in which the teachers' features vary on them.

It is measured by the effective rank (Roy and Vetterli, EUSIPCO 2007) of their covariance: exp of the entropy of its
eigenvalues, divided by their sum. The rank grows with the number of images and depends on the teacher. So it is
compared with the rank on as many generated dead leaves, which are the same for everyone. Several families of generated
images would not serve: differences between families outweigh those within one, so the rank of all is lower than that of
each.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float

from unic.data.image_list import ImageList
from unic.data.sources import Source, open_source
from unic.data.sources.generated import PREFIX
from unic.data.sources.selection import Selection
from unic.errors import InputError
from unic.features import default_cache_dir, extract
from unic.preflight.findings import Report
from unic.preflight.rows import Ranks
from unic.training.job import Job

_IMAGES, _FEWEST = 256, 64  # images to look at, and the fewest that tell something
_REFERENCE = "dead_leaves"
_LARGEST = 256  # side of the generated images, in pixels
_NARROW = 1.2  # ratio of the ranks: letters 1.0, clothes 1.15, emoji 1.4, photographs 1.5, clip art 1.6
_SECONDS = 60.0  # for one teacher at most


def look_at_spread(job: Job, report: Report) -> None:
    """Adds the effective ranks to the facts, and a warning where they are low and no source is generated.

    Generated images are not measured themselves. Features are kept in the user's cache.

    Args:
        job: the run.
        report: the report to add to. Its rows have the speed of each teacher; slow ones are left out.
    """
    own = first_seen(job.images, job.recipe.seed, _IMAGES)
    if own is None or len(own) < _FEWEST:
        return
    other = open_source(f"{PREFIX}{_REFERENCE}?images={len(own)}&size={min(job.recipe.data.size, _LARGEST)}")
    speeds = {row["name"]: row["images_per_s"] for row in report.models}
    found: dict[str, Ranks] = {}
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
    times = mean_times(found)
    report.facts["spread"] = {"images": len(own), "teachers": found, "times": round(times, 2)}
    if times < _NARROW and not any(map(_is_generated, job.images.sources)):
        text = f"narrow images: the effective rank of the teachers' features is {times:.2f} times that on generated "
        text += "dead leaves (photographs: 1.5 times), and a student forgets what it does not see; add photographs or "
        text += "generated images, with anchor: 0.3 to keep the start's features on them (docs/generalise.md)"
        report.add("warning", "data.train", text)


def first_seen(images: ImageList, seed: int, count: int) -> Source | None:
    """The images that a run sees first, a sample of all sources by their weights; None if all are generated."""
    pairs = [
        (source, weight)
        for source, weight in zip(images.sources, images.weights, strict=True)
        if not _is_generated(source)
    ]
    if not pairs:
        return None
    given = ImageList([source for source, _ in pairs], [weight for _, weight in pairs])
    found = Selection(given.path, given, np.unique(given.epoch_order(seed, 0)[:count].numpy()))
    found.max_pixels = images.max_pixels
    return found


def effective_rank(features: Float[np.ndarray, "n d"]) -> float:
    """Effective rank of the covariance of features: 1 where all lie on a line, at most min(n − 1, d); 0 where all
    are the same."""
    x = torch.from_numpy(np.array(features, dtype=np.float64))
    x = x - x.mean(0)
    eigenvalues = torch.linalg.eigvalsh(x @ x.T if len(x) < x.shape[1] else x.T @ x).clamp(min=0)
    total = eigenvalues.sum()
    return float(torch.special.entr(eigenvalues / total).sum().exp()) if total > 0 else 0.0


def mean_times(found: Mapping[str, Ranks]) -> float:
    """Geometric mean, over the teachers, of the rank on the training images divided by that on generated ones."""
    ratios = [max(ranks["own"], 1e-3) / max(ranks["generated"], 1e-3) for ranks in found.values()]
    return math.exp(sum(map(math.log, ratios)) / len(ratios))


def _is_generated(source: Source) -> bool:
    return source.path.startswith(PREFIX)
