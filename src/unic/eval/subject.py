"""A subject: one model on one evaluation set, and all the features of it that a task may use."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from unic.data.sources import Source
from unic.encoders.base import Encoder
from unic.errors import InputError, NotApplicableError
from unic.eval.concat import concatenate
from unic.eval.datasets import DataPair
from unic.eval.live import Live
from unic.eval.outcome import Dense, Labelled
from unic.features import Features, extract

SetPart = Literal["train", "test"]
Vector = Literal["cls", "patch_mean", "cls+patch_mean"]
View = Literal["square", "centre_crop", "centre_crop_256"]
Say = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Subject:
    """One model on one set. Tokens are computed once, when they are first read, and kept in the feature cache.

    Attributes:
        name: name of the model, a column of the table.
        role: "student", "teacher", "concat", "pixels" or "other".
        pair: the set.
        load: function that returns the encoder on its device; None for a concatenation.
        members: the concatenated models if this one is a concatenation, else empty.
        teachers: the teachers of the same evaluation, on the same set, by name; empty for a teacher.
        heads: functions that load the student's kept heads, by teacher: encoders whose outputs are in the space of that
            teacher.
        vector: the vector of an image, unless a task sets another one.
        size: side of the square view that the encoder gets and resizes itself; None: the encoder's own input size.
        view: how this view is cut out of an image, see `Suite.view`. Dense tasks see the whole image.
        cache: folder of the feature cache.
        workers: number of processes that decode images; 0: this process.
        say: function that shows a line of progress.
    """

    name: str
    role: str
    pair: DataPair
    load: Callable[[], Encoder] | None = None
    members: Sequence[Subject] = ()
    teachers: Mapping[str, Subject] = field(default_factory=dict)
    heads: Mapping[str, Callable[[], Encoder]] = field(default_factory=dict)
    vector: Vector = "cls"
    size: int | None = None
    view: View = "square"
    cache: Path | None = None
    workers: int = 0
    say: Say = lambda _: None
    _known: dict[Any, Any] = field(default_factory=dict, init=False, repr=False)

    @cached_property
    def encoder(self) -> Encoder:
        """The encoder.

        Raises:
            NotApplicableError: the model is a concatenation, which has no encoder of its own.
        """
        if self.load is None:
            raise NotApplicableError(f"model '{self.name}' is a concatenation, but this task needs a single encoder")
        return self.load()

    def fingerprint(self) -> str:
        """Hash of everything that decides the vectors: weights and settings."""
        if self.members:
            return "+".join(member.fingerprint() for member in self.members)
        return f"{self.encoder.fingerprint()}/{self.vector}"

    def alone(self) -> Subject:
        """The subject without teachers and heads, for a task whose key does not cover them."""
        found = replace(self, teachers={}, heads={})
        object.__setattr__(found, "_known", self._known)  # both share what was derived
        return found

    def viewed(self, view: View) -> Subject:
        """The subject with another view of its images."""
        if view == self.view:
            return self
        key = ("view", view)
        if key not in self._known:  # the same object for all tasks and seeds, see `labelled`
            self._known[key] = replace(
                self,
                view=view,
                load=None if self.load is None else lambda: self.encoder,
                members=[member.viewed(view) for member in self.members],
                teachers={name: teacher.viewed(view) for name, teacher in self.teachers.items()},
            )
        return self._known[key]

    def through(self, teacher: str) -> Subject:
        """The subject read through its kept head for a teacher: its vectors and patches are in the teacher's space.

        The teacher itself is in this space and stays as it is.

        Raises:
            NotApplicableError: the model has no head for the teacher.
        """
        if self.name != teacher and teacher not in self.heads:
            raise NotApplicableError(f"model '{self.name}' has no kept head for '{teacher}'")
        key = ("through", teacher)
        if key not in self._known:
            load = self.load if self.name == teacher else self.heads[teacher]
            self._known[key] = replace(self, load=load, heads={}, vector="cls")
        return self._known[key]

    def source(self, part: SetPart | Source) -> Source:
        return (self.pair.train if part == "train" else self.pair.test) if isinstance(part, str) else part

    def features(self, part: SetPart | Source, *, encoder: Encoder | None = None) -> Features:
        """Pooled vectors of a part of the set, or of any other images such as corrupted ones.

        Args:
            part: "train" or "test", or a source of images.
            encoder: encoder in place of the model's own, for example one of `heads`.
        """
        return self._extract(part, encoder=encoder)

    def labelled(self, part: SetPart | Source, *, vector: Vector | None = None) -> Labelled:
        """Vectors with labels, which are class indices of the training part.

        Args:
            part: "train" or "test", or a source of images whose classes are those of the test part.
            vector: "cls", "patch_mean" or "cls+patch_mean"; default: the model's `vector`.

        Raises:
            InputError: some images have no label.
        """
        if not isinstance(part, str):
            return self._labelled(part, vector)
        # The same object for every task and seed: tasks may cache by it what they derive.
        key = (part, vector or self.vector)
        if key not in self._known:
            self._known[key] = self._labelled(part, vector)
        return self._known[key]

    def _labelled(self, part: SetPart | Source, vector: Vector | None) -> Labelled:
        if self.members:
            joined = [(m.labelled("train", vector=vector), m.labelled(part, vector=vector)) for m in self.members]
            return concatenate(joined)[1]
        features = self.features(part)
        if features.labels is None:
            raise InputError(f"data '{self.pair.name}': some images of {self.source(part).path} have no label")
        labels = features.labels if self.source(part) is self.pair.train else self.pair.test_labels(features.labels)
        kind = vector or self.vector
        if kind == "cls":
            return Labelled(features.cls, labels)
        if kind == "patch_mean":
            return Labelled(features.patch_mean, labels)
        return Labelled(np.concatenate([features.cls, features.patch_mean], axis=1), labels)

    def dense(self, part: SetPart, *, blocks: int | Sequence[int] = ()) -> Dense:
        """Patch tokens with a target for every pixel of the view, which is the whole image, so that every pixel counts.

        Args:
            part: "train" or "test".
            blocks: a number of last blocks, or a list of 0-based indices, whose channels are concatenated; default: the
                encoder's output.

        Raises:
            InputError: the images have no masks or depths, or the encoder has no such block.
            NotApplicableError: the encoder gives no access to its blocks, or no patches.
        """
        key = (part, "dense", blocks if isinstance(blocks, int) else tuple(blocks))
        if key not in self._known:  # the same object for all seeds, see `labelled`
            self._known[key] = self._dense(part, blocks)
        return self._known[key]

    def live(self, part: SetPart, *, blocks: int | Sequence[int] = ()) -> Live:
        """The images with a target for every pixel, and the encoder to read them. No feature is computed or cached.

        Args:
            part: "train" or "test".
            blocks: see `dense`.

        Raises:
            InputError, NotApplicableError: as of `dense`.
        """
        source = self.source(part)
        self._check_dense(source)
        return Live(source, self.encoder, self.name, self._blocks(blocks), self.workers, self.say)

    def _check_dense(self, source: Source) -> None:
        if source.pixels is None:
            raise InputError(f"data '{self.pair.name}': {source.path} has neither masks nor depths")
        if not self.encoder.patch_dim:  # of a kept head for a teacher that is matched by CLS alone
            raise NotApplicableError(f"model '{self.name}' gives a CLS alone and no patches, which this task reads")

    def _dense(self, part: SetPart, blocks: int | Sequence[int]) -> Dense:
        source = self.source(part)
        self._check_dense(source)
        features = self._extract(part, patches=True, blocks=self._blocks(blocks))
        assert features.patches is not None
        assert features.grid is not None
        height, width = (self.size, self.size) if self.size else self.encoder.input_size
        targets = _Targets(source, features.index, (height, width))
        return Dense(features.patches, features.grid, targets, list(source.classes or []))

    def _blocks(self, blocks: int | Sequence[int]) -> Sequence[int]:
        count = len(self.encoder.block_dims)
        if blocks and not count:
            raise NotApplicableError(f"model '{self.name}': only its output can be read, not its blocks")
        chosen = range(count - blocks, count) if isinstance(blocks, int) and blocks else blocks or ()
        for block in chosen:
            if not 0 <= block < count:
                raise InputError(f"model '{self.name}' has no block {block}; expected 0 to {count - 1}")
        return tuple(chosen)

    def _extract(
        self,
        part: SetPart | Source,
        *,
        encoder: Encoder | None = None,
        patches: bool = False,
        blocks: Sequence[int] = (),
    ) -> Features:
        source = self.source(part)
        what = f"{self.name}: {self.pair.name}/{part if isinstance(part, str) else source.path}"
        return extract(
            encoder or self.encoder,
            source,
            size=self.size,
            augment="whole" if patches else augmentation_of(self.view),
            patch_grid="own" if patches else None,
            blocks=blocks,
            workers=self.workers,
            cache=self.cache,
            progress=lambda done, total: self.say(f"{what} {done}/{total}"),
        )


def augmentation_of(view: View) -> str:
    """Name of the augmentation that cuts a view out of an image (`unic.data.augment`)."""
    return "none" if view == "square" else view


class _Targets(Sequence[np.ndarray]):
    """Targets, resized to the view like their images (nearest neighbour); each is read when it is used."""

    def __init__(self, source: Source, index: np.ndarray, size: tuple[int, int]) -> None:
        self._source, self._index, self._size = source, index, size

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, row: int) -> np.ndarray:  # type: ignore[override]
        target = self._source.target(int(self._index[row]))
        assert target is not None, self._source.path
        height, width = self._size
        return np.asarray(Image.fromarray(target).resize((width, height), Image.Resampling.NEAREST))
