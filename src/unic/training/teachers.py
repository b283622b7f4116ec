"""The teachers' tokens on the student's grid, computed live. (`teacher_cache` reads stored ones.)"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from unic.data.batch import Batch
from unic.encoders import Encoder
from unic.encoders.base import resize
from unic.recipe.teachers import Matched, TeachersSection
from unic.tokens import Grid, Tokens, without_cls, without_patches
from unic.training.resolutions import Resolutions

_GRAPHS = 8  # of one teacher at the most: for sizes of views

PlainViews = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Makes views without changes of colour from crops and the view and index of each."""


@runtime_checkable
class TokenSource(Protocol):
    """The teachers' tokens of a batch, `{teacher: Tokens}`, on the student's grid."""

    def __call__(
        self,
        images: Float[Tensor, "b 3 h w"],
        index: Int[Tensor, "b"],
        view: Int[Tensor, "b"],
        crops: UInt8[Tensor, "b 3 h w"] | None = None,
    ) -> dict[str, Tokens]:
        """The tokens that each teacher is matched by.

        Args:
            images: the views that the student sees.
            index: index of the images, on the CPU.
            view: view of each image, on the CPU.
            crops: crops that the views were made of, for live teachers with plain views.
        """
        ...


def only(tokens: Tokens, matched: Matched) -> Tokens:
    """The tokens that a teacher is matched by."""
    if matched == "both":
        return tokens
    return without_patches(tokens.cls) if matched == "cls" else without_cls(tokens.patches, tokens.grid)


@runtime_checkable
class Teachers(TokenSource, Protocol):
    """The teachers as training uses them."""

    def ahead(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """The same batches; teachers may read ahead for the coming ones."""
        ...


class LiveTeachers:
    """Runs every teacher on the view that the student sees, resized once for each size that teachers take.

    Args:
        encoders: frozen; their weights are rounded to what bf16 uses of them (`Encoder.round_weights`).
        grid: the student's.
        resolutions: for views of several sizes; says which teachers see them as they are.
        setting: options of the teachers; default: all are matched by CLS and patches, and see the view of the student.
        plain: makes the views of teachers with plain ones.
        compile: run the teachers that can (`Encoder.can_compile`) through torch.compile.
    """

    def __init__(
        self,
        encoders: Mapping[str, Encoder],
        grid: Grid,
        resolutions: Resolutions | None = None,
        *,
        setting: TeachersSection | None = None,
        plain: PlainViews | None = None,
        compile: bool = False,
    ) -> None:
        if compile:
            # torch gives up on a function after so many graphs (8), and all encoders have one `forward`.
            limits = torch._dynamo.config
            limits.cache_size_limit = max(limits.cache_size_limit, _GRAPHS * len(encoders))
        self.encoders = {name: encoder.round_weights() for name, encoder in encoders.items()}
        self.grid, self.resolutions = grid, resolutions or Resolutions()
        self._matched: dict[str, Matched] = {name: setting.matched(name) if setting else "both" for name in encoders}
        self._see_plain = {name for name in encoders if setting and setting.models[name].views == "plain"}
        self._plain = plain
        self._run = {
            name: torch.compile(each) if compile and each.can_compile else each for name, each in self.encoders.items()
        }

    @torch.no_grad()  # not inference mode: the losses keep their targets for the backward pass
    def __call__(self, images: Tensor, index: Tensor, view: Tensor, crops: Tensor | None = None) -> dict[str, Tokens]:
        size, taken = (images.shape[-2], images.shape[-1]), self.resolutions.taken
        seen = {
            name: (size if size in taken.get(name, ()) else one.input_size, name in self._see_plain)
            for name, one in self.encoders.items()
        }
        views = {False: images}
        if self._see_plain:
            assert crops is not None
            assert self._plain is not None
            views[True] = self._plain(crops, view, index)
        sized = {key: resize(views[key[1]], key[0]) for key in set(seen.values())}
        grid = self.resolutions.grids.get(size, self.grid)
        return {
            name: only(run(sized[seen[name]], seen[name][0]), self._matched[name]).to_grid(grid)
            for name, run in self._run.items()
        }

    def ahead(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        return batches
