"""How well an encoder answers for the teachers on images that nobody trained on, without labels or projectors.

R² of a ridge regression from its CLS to each teacher's standardised CLS, leave-one-out (scikit-learn's `RidgeCV`).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float

from unic.data.image_list import ImageList
from unic.data.sources import Source, open_source
from unic.data.sources.subset import Subset
from unic.encoders import Encoder
from unic.errors import InputError
from unic.features import Features, default_cache_dir, extract
from unic.recipe.schema import Recipe
from unic.tokens import Tokens
from unic.training.job import Job

FEWEST = 20  # images of a source that a regression is worth anything for
_MOST = 500  # of each source: more cost time and change little
_PENALTIES = np.logspace(-5, 2, 8)  # for each image, of vectors whose mean squared length is 1


class Part(NamedTuple):
    """Images that were not trained on, and the teachers that answer for them."""

    source: Source
    teachers: list[str]


class Row(NamedTuple):
    """R² of one teacher on one source: 1 where its answers can be read off exactly, 0 where their mean is as good."""

    source: str
    teacher: str
    r2: float


def parts_of(images: ImageList, recipe: Recipe) -> list[Part]:
    """What each training source holds out, for the teachers that own it, and the sources of `data.validation`, for all.

    Raises:
        InputError: there is none, one cannot be opened, or has too few images.
    """
    everyone, data = list(recipe.teachers.models), recipe.data
    parts = [
        Part(_limited(source), entry.teachers or everyone)
        for entry, source in zip(data.train, images.held_out, strict=bool(images.held_out))
    ]
    for part in parts:
        if len(part.source) < FEWEST:
            raise InputError(
                f"recipe: 'train.interpolate: auto' asks for {FEWEST} images of each source that were not trained on; "
                f"data.holdout={data.holdout:g} holds out {len(part.source)} of '{part.source.path}'; raise it, or set "
                "data.holdout=0 and name other images as data.validation"
            )
    for path in data.validation:
        source = open_source(path, _MOST)
        source.max_pixels = data.max_pixels
        if len(source) < FEWEST:
            raise InputError(f"data.validation '{path}': expected at least {FEWEST} images, found {len(source)}")
        parts.append(Part(source, everyone))
    if not parts:
        raise InputError(
            "recipe: 'train.interpolate: auto' needs images that were not trained on; set data.holdout, for example to "
            "0.05, or name some as data.validation"
        )
    return parts


def _limited(source: Source) -> Source:
    limited = source if len(source) <= _MOST else Subset(source, _MOST)
    limited.max_pixels = source.max_pixels
    return limited


class Ridge:
    """Asks the teachers of a job once; called with an encoder, it tells how well that one answers for them.

    Args:
        job: trained; its standardiser has the statistics of the end.
        report: is told now and then what is under way.
    """

    def __init__(self, job: Job, report: Callable[[str], object]) -> None:
        self._job, self._report = job, report
        setting = job.recipe.teachers.cache
        self._cache = Path(setting.dir) if setting and setting.dir else default_cache_dir()
        self._parts = [(part, self._asked(part)) for part in parts_of(job.images, job.recipe)]

    def __call__(self, encoder: Encoder) -> list[Row]:
        rows = []
        for part, asked in self._parts:
            found = self._features("student", encoder, part)
            for teacher, (index, targets) in asked.items():
                both, own, theirs = np.intersect1d(found.index, index, return_indices=True)
                assert len(both), part.source.path
                rows.append(Row(part.source.path, teacher, r_squared(found.cls[own], targets[theirs])))
        return rows

    def _asked(self, part: Part) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Numbers of the images and the standardised CLS, by teacher."""
        asked = {}
        for name in part.teachers:
            found = self._features(f"teacher {name}", self._job.encoders[name], part, self._cache)
            asked[name] = (found.index, self._standardised(name, found.cls))
        return asked

    def _features(self, name: str, encoder: Encoder, part: Part, cache: Path | None = None) -> Features:
        data = self._job.recipe.data

        def progress(done: int, total: int) -> None:
            self._report(f"interpolation: {name} on {part.source.path}: {done}/{total} images")

        return extract(encoder, part.source, size=data.size, workers=data.workers, cache=cache, progress=progress)

    @torch.no_grad()
    def _standardised(self, teacher: str, cls: np.ndarray) -> Float[np.ndarray, "n d"]:
        vectors = torch.from_numpy(np.array(cls)).to(self._job.device)
        nothing = vectors.new_empty(len(vectors), 0, self._job.encoders[teacher].patch_dim)
        standardizer = self._job.standardizer
        is_training = standardizer.training
        found = standardizer.eval()({teacher: Tokens(vectors, nothing, (0, 0))})[teacher].cls
        standardizer.train(is_training)
        return np.asarray(found.cpu().numpy())


def r_squared(vectors: Float[np.ndarray, "n d"], targets: Float[np.ndarray, "n e"]) -> float:
    """Share of the variance of the targets, all channels together, that a ridge regression explains, leave-one-out.

    The penalty is the best of a grid for each channel. `vectors` are centred and scaled to a mean squared length of 1,
    so that the same grid serves every encoder.
    """
    from sklearn.linear_model import RidgeCV

    centred = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    length = np.sqrt((centred**2).sum(axis=1).mean())
    fitted: Any = RidgeCV(alphas=_PENALTIES * len(centred), alpha_per_target=True)
    fitted.fit(centred / max(length, np.finfo(float).tiny), targets.astype(np.float64))
    return float(1 + np.sum(fitted.best_score_) / targets.var(axis=0, dtype=np.float64).sum())
