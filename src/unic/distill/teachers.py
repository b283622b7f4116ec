"""The frozen side: every teacher's tokens on the student's grid, computed live or read from the cache."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor

from unic.config import Cache, Data
from unic.data.augment import preset
from unic.data.loader import ImageList
from unic.data.sources import Source
from unic.encoders import Encoder
from unic.encoders.base import resize
from unic.errors import InputError
from unic.features import Features, default_cache_dir, extract
from unic.tokens import Grid, Tokens


class Teachers(Protocol):
    """Targets of a batch, `{teacher: Tokens}`, on the student's grid."""

    def __call__(
        self, images: Float[Tensor, "b 3 h w"], index: Int[Tensor, "b"], view: Int[Tensor, "b"]
    ) -> dict[str, Tokens]: ...


class LiveTeachers:
    """Runs every teacher on the very view that the student sees, resized once for each size that teachers take.

    Args:
        encoders: frozen; their weights are rounded to what bf16 uses of them (`Encoder.round_weights`).
        grid: the student's.
        compile: run them through torch.compile.
    """

    def __init__(self, encoders: Mapping[str, Encoder], grid: Grid, *, compile: bool = False) -> None:
        self.encoders = {name: encoder.round_weights() for name, encoder in encoders.items()}
        self.grid = grid
        self._run = {name: torch.compile(each) if compile else each for name, each in self.encoders.items()}

    @torch.no_grad()  # not inference mode: the losses keep their targets for the backward pass
    def __call__(self, images: Tensor, index: Tensor, view: Tensor) -> dict[str, Tokens]:
        views = {size: resize(images, size) for size in {each.input_size for each in self.encoders.values()}}
        return {name: run(views[self.encoders[name].input_size]).to_grid(self.grid) for name, run in self._run.items()}


class CachedTeachers:
    """Reads targets that were computed once for some augmented views of each image.

    Args:
        features: for each teacher and view, the features of consecutive pieces of the image list.
        starts: where each piece starts in the list.
        grid: the student's.
    """

    def __init__(
        self, features: Mapping[str, list[list[Features]]], starts: Sequence[int], grid: Grid, device: torch.device
    ) -> None:
        self.features, self.grid, self.device = dict(features), grid, device
        self.starts = torch.tensor(starts)

    def __call__(self, images: Tensor, index: Tensor, view: Tensor) -> dict[str, Tokens]:
        index, view = index.cpu(), view.cpu()
        piece = torch.searchsorted(self.starts, index, right=True) - 1
        place = torch.stack([view, piece], dim=1)
        return {name: self._read(views, index - self.starts[piece], place) for name, views in self.features.items()}

    def _read(self, views: list[list[Features]], index: Tensor, place: Tensor) -> Tokens:
        cls, patches, order, grid = [], [], [], self.grid
        for view, piece in place.unique(dim=0).tolist():
            chosen = ((place[:, 0] == view) & (place[:, 1] == piece)).nonzero()[:, 0]
            tokens = views[view][piece].tokens(index[chosen])
            cls.append(tokens.cls)
            patches.append(tokens.patches)
            order.append(chosen)
            grid = tokens.grid
        back = torch.cat(order).argsort()
        tokens = Tokens(torch.cat(cls)[back].to(self.device), torch.cat(patches)[back].to(self.device), grid)
        return tokens.float().to_grid(self.grid)


def cached_grid(setting: Cache, own: Grid) -> Grid:
    """The grid that is stored: the teacher's own for `all`, `GxG` for `pooled:GxG`."""
    match = re.fullmatch(r"pooled:(\d+)x(\d+)", setting.tokens)
    return (int(match[1]), int(match[2])) if match else own


def cache_bytes(setting: Cache, encoders: Mapping[str, Encoder], grids: Mapping[str, Grid], num_images: int) -> int:
    """Size of the finished cache: patches in `dtype`; what evaluation reads (CLS, mean of patches) in float32."""
    per_view = 0
    width = 2 if setting.dtype == "fp16" else 4
    for name, encoder in encoders.items():
        rows, columns = cached_grid(setting, grids[name])
        per_view += width * rows * columns * encoder.patch_dim + 4 * (encoder.embed_dim + encoder.patch_dim)
    return per_view * num_images * setting.views


def check_budget(setting: Cache, size: int) -> None:
    """Refuses a cache that would not fit `teachers.cache.budget`, before anything is computed."""
    if setting.budget is None:
        return
    number, unit = re.fullmatch(r"([\d.]+)\s*([kMGT]?)B", setting.budget).groups()  # type: ignore[union-attr]
    if size > float(number) * 1000 ** " kMGT".index(unit or " "):
        raise InputError(
            f"recipe: teachers.cache needs {size / 1e9:.1f} GB, more than its budget of {setting.budget}; "
            "use fewer views or tokens: pooled:GxG"
        )


def build_cache(
    setting: Cache,
    encoders: Mapping[str, Encoder],
    grids: Mapping[str, Grid],
    images: ImageList,
    data: Data,
    seed: int,
    report: Callable[[str, int, int], None],
) -> tuple[dict[str, list[list[Features]]], list[int]]:
    """Teacher outputs for every view of every image; what is already in the cache is only opened.

    Args:
        grids: each teacher's own grid.
        report: called with (what, images done, images in all).

    Returns:
        What `CachedTeachers` takes. Without augmentation each source is one piece with a name of its own in the cache,
        so that an evaluation on the same images finds it; random views are keyed by the place in the whole list.
    """
    folder = Path(setting.dir) if setting.dir else default_cache_dir()
    pieces: list[Source] = [images] if preset(data.augment).is_random else list(images.sources)
    starts = [sum(len(piece) for piece in pieces[:number]) for number in range(len(pieces))]

    def compute(name: str, view: int, number: int) -> Features:
        return extract(
            encoders[name],
            pieces[number],
            size=data.size,
            augment=data.augment,
            seed=seed,
            view=view,
            patch_grid=cached_grid(setting, grids[name]),
            workers=data.workers,
            cache=folder,
            dtype=setting.dtype,
            progress=lambda done, _: report(
                f"{name}, view {view + 1} of {setting.views}", starts[number] + done, len(images)
            ),
        )

    features = {
        name: [[compute(name, view, number) for number in range(len(pieces))] for view in range(setting.views)]
        for name in encoders
    }
    return features, starts
