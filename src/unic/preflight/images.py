"""The training images: how many, whether they can be read, and whether the evaluation would meet them again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from statistics import median

import numpy as np
from PIL import Image

from unic import rng
from unic.data._bounds import pixels_up_to
from unic.data.image_list import ImageList
from unic.data.sources import DamagedImageError, Source
from unic.eval.plan import Plan
from unic.preflight.findings import Report
from unic.recipe.schema import Recipe

_SAMPLE = 64  # images of each source to decode
_SECONDS = 20.0  # for the search for duplicates
_SIDE = 16  # side of the thumbnails that are compared, in pixels
_CLOSE = 2.0  # mean difference of grey levels (0 to 255) below which two thumbnails show the same image


def look_at(images: ImageList, recipe: Recipe, report: Report) -> None:
    """Adds a row for each source: the number and size of its images, and the damaged ones of a fixed sample."""
    visits = [len(source) * weight for source, weight in zip(images.sources, images.weights, strict=True)]
    for source, entry, visited in zip(images.sources, recipe.data.train, visits, strict=True):
        sizes, damaged = [], []
        for index in _some(source, _SAMPLE):
            try:
                with pixels_up_to(source.max_pixels):
                    sizes.append(min(source.read(index).size))
            except DamagedImageError as error:
                damaged.append(f"{source.name(index)}: {error}")
        side = int(median(sizes)) if sizes else 0
        report.images.append(
            {"path": entry.path, "images": len(source), "weight": entry.weight,
             "share": round(visited / sum(visits), 4), "anchor": entry.anchor, "short_side": side,
             "looked_at": len(sizes) + len(damaged), "damaged": damaged}
        )  # fmt: skip
        share = len(damaged) / max(1, len(sizes) + len(damaged))
        if damaged:
            too_many = share > recipe.data.max_damaged and len(damaged) > 1
            text = f"{len(damaged)} of {len(sizes) + len(damaged)} images of a sample are damaged ({damaged[0]})"
            report.add(
                "error" if too_many else "warning",
                entry.path,
                f"{text}; data.max_damaged is {recipe.data.max_damaged:.1%}",
            )
        if sizes and side < recipe.data.size / 2:
            report.add("note", entry.path, f"images of {side} px are enlarged to views of {recipe.data.size} px")


def find_duplicates(images: ImageList, plan: Plan, report: Report) -> None:
    """Adds a warning where training images look like test images, or like any images of unseen sets.

    Images are compared by thumbnails. The search stops after `_SECONDS`; the report says how many it has compared.
    """
    until = time.monotonic() + _SECONDS
    unseen = [pair.name for pair in plan.unseen]
    known: dict[bytes, list[tuple[str, np.ndarray]]] = {}
    compared = 0
    for pair in plan.pairs:
        for part in (pair.test, *([pair.train] if pair.name in unseen else [])):
            for thumbnail in _thumbnails(part, until):
                known.setdefault(_coarse(thumbnail), []).append((pair.name, thumbnail))
                compared += 1
    found: dict[str, int] = {}
    seen = 0
    for thumbnail in _thumbnails(images, until):
        seen += 1
        alike = {name for name, other in known.get(_coarse(thumbnail), []) if _is_same(thumbnail, other)}
        for name in sorted(alike):
            found[name] = found.get(name, 0) + 1
    others = "test images and images of unseen sets" if unseen else "test images"
    looked = f"{seen} of {len(images)} training images compared with {compared} {others}"
    report.facts["duplicates"] = {"found": found, "looked_at": looked}
    for name, count in found.items():
        others = "an image of this unseen set" if name in unseen else "one of its test images"
        report.add("warning", f"data {name}", f"{count} training images look the same as {others} ({looked})")


def _thumbnails(source: Source, until: float) -> Iterator[np.ndarray]:
    for index in _some(source, len(source)):
        if time.monotonic() > until:
            return
        try:
            grey = source.read(index).convert("L").resize((_SIDE, _SIDE), Image.Resampling.BOX)
        except DamagedImageError:
            continue
        yield np.asarray(grey)


def _is_same(thumbnail: np.ndarray, other: np.ndarray) -> bool:
    return bool(np.abs(thumbnail.astype(np.int16) - other).mean() < _CLOSE)


def _coarse(thumbnail: np.ndarray) -> bytes:
    """A key that near duplicates mostly share: which of 4 × 4 cells are brighter than the mean, and the mean."""
    small = thumbnail.reshape(4, 4, 4, 4).mean((1, 3))
    return bytes(np.concatenate([(small > small.mean()).ravel(), [small.mean() // 32]]).astype(np.uint8))


def _some(source: Source, count: int) -> list[int]:
    """Indices of a random sample that is fixed."""
    return source.order(rng.stream("check"))[:count].tolist()
