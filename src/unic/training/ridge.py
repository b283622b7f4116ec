"""How well an encoder's CLS predicts that of the teachers on images that were not trained on.

The score is R² of a ridge regression to each teacher's standardised CLS, leave-one-out (scikit-learn's `RidgeCV`). It
needs neither labels nor projectors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
from unic.losses import Weighted, matched_by
from unic.recipe.schema import Recipe
from unic.tokens import Tokens
from unic.training.job import Job

FEWEST = 20  # images that a source needs for a regression
_MOST = 500  # images of a source that are used; more cost time and change little
_PENALTIES = np.logspace(-5, 2, 8)  # for each image, of vectors whose mean squared length is 1


class ValidationSet(NamedTuple):
    """Images that were not trained on, and the teachers whose CLS is predicted on them."""

    source: Source
    teachers: list[str]


class RidgeScore(NamedTuple):
    """R² of one teacher on one source: 1 if its CLS is predicted exactly, 0 if no better than by its mean."""

    source: str
    teacher: str
    r2: float


def validation_sets(
    images: ImageList, recipe: Recipe, losses: Mapping[str, Mapping[str, Weighted]]
) -> list[ValidationSet]:
    """The held-out images of each source, for the teachers that own it; those of `data.validation`, for all teachers.

    Teachers whose CLS no loss compares are left out, and so are sources that they alone own.

    Args:
        images: those of the recipe.
        recipe: the recipe of a stage.
        losses: to each teacher, by name.

    Raises:
        InputError: no such images or teachers, or a source that cannot be opened or has too few images.
    """
    everyone, data = [name for name, own in losses.items() if matched_by(own) != "patches"], recipe.data
    if not everyone:
        raise InputError(
            "recipe: 'train.interpolate: auto' needs CLS, which no loss compares with a teacher's; set a number up to 1"
        )
    owners = [[name for name in entry.teachers or everyone if name in everyone] for entry in data.train]
    sets = [
        ValidationSet(_limited(source), names)
        for names, source in zip(owners, images.held_out, strict=bool(images.held_out))
        if names
    ]
    for held_out, _ in sets:
        if len(held_out) < FEWEST:
            raise InputError(
                f"recipe: 'train.interpolate: auto' needs {FEWEST} held-out images of each source, and "
                f"data.holdout={data.holdout:g} holds out {len(held_out)} of '{held_out.path}'; raise data.holdout, or "
                "set data.holdout=0 and name other images as data.validation"
            )
    for path in data.validation:
        source = open_source(path, _MOST)
        source.max_pixels = data.max_pixels
        if len(source) < FEWEST:
            raise InputError(f"data.validation '{path}': expected at least {FEWEST} images, found {len(source)}")
        sets.append(ValidationSet(source, everyone))
    if not sets:
        raise InputError(
            "recipe: 'train.interpolate: auto' needs images that are not trained on; set data.holdout, for example to "
            "0.05, or name some as data.validation"
        )
    return sets


def _limited(source: Source) -> Source:
    limited = source if len(source) <= _MOST else Subset(source, _MOST)
    limited.max_pixels = source.max_pixels
    return limited


class Ridge:
    """Measures how well encoders predict the teachers of a job. The teachers run once, at the start.

    Args:
        job: trained; its standardiser has the final statistics.
        report: called now and then with a line about the work in progress.
    """

    def __init__(self, job: Job, report: Callable[[str], object]) -> None:
        self._job, self._report = job, report
        setting = job.recipe.teachers.cache
        self._cache = Path(setting.dir) if setting and setting.dir else default_cache_dir()
        sets = validation_sets(job.images, job.recipe, job.distiller.losses)
        self._targets = [(held_out.source, self._targets_on(held_out)) for held_out in sets]

    def __call__(self, encoder: Encoder) -> list[RidgeScore]:
        scores = []
        for source, targets in self._targets:
            features = self._features("student", encoder, source)
            for teacher, (index, target) in targets.items():
                both, own, theirs = np.intersect1d(features.index, index, return_indices=True)
                assert len(both), source.path
                scores.append(RidgeScore(source.path, teacher, r_squared(features.cls[own], target[theirs])))
        return scores

    def _targets_on(self, held_out: ValidationSet) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Indices of the images and the standardised CLS, by teacher."""
        targets = {}
        for name in held_out.teachers:
            features = self._features(f"teacher {name}", self._job.encoders[name], held_out.source, self._cache)
            targets[name] = (features.index, self._standardised(name, features.cls))
        return targets

    def _features(self, name: str, encoder: Encoder, source: Source, cache: Path | None = None) -> Features:
        data = self._job.recipe.data

        def progress(done: int, total: int) -> None:
            self._report(f"interpolation: {name} on {source.path}: {done}/{total} images")

        return extract(encoder, source, size=data.size, workers=data.workers, cache=cache, progress=progress)

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
