"""Sets that lie elsewhere and stay there: tar shards by URL, and Parquet or tar files of the Hugging Face hub.

The number of images of every piece is known before the first is fetched (manifest, footers, or counted once). So this
is an ordinary `Source`: the order of a pass is a hash, a step knows its images, and a resumed run, another number of
processes or of workers changes nothing. Only the order is not any permutation: pieces come one after another in hashed
order, and an image of place p of this row goes to the rank of `p + u · span`, u uniform in [0, 1), span the images of
`window` pieces: what a shuffle buffer of that size does, without its state.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from unic import rng
from unic.data.cache_dir import default_cache_dir
from unic.data.decode import decode
from unic.data.sources import _splits
from unic.data.sources._path_options import UNNAMED, ColumnNames
from unic.data.sources.base import Source, draws, permutation
from unic.data.sources.webdataset import WebDataset
from unic.data.streaming.pieces import Piece, Shelf
from unic.data.streaming.remote import check_url
from unic.digest import sha256, sha256_of_value
from unic.errors import InputError

_TRIES = 10


def open_streamed(
    path: str,
    urls: list[str],
    split: str | None,
    window: int,
    limit: int | None = None,
    named: ColumnNames = UNNAMED,
) -> Streamed:
    """Opens shards by URL or a set of the hub (`stream:ORG/NAME[:CONFIG]`).

    Args:
        path: as the user wrote it.
        urls: what it stands for.
        split: a part, which only a set of the hub has; None: the training part, or all that the URLs name.
        window: see `Streamed`.
        limit: so many images out of as few pieces as hold them.
        named: columns of Parquet that the user has named.

    Raises:
        InputError: nothing there, no such part, or a scheme that is not fetched.
    """
    from unic.data.streaming.catalogue import catalogue

    if split is not None and not path.startswith("stream:"):
        check_url(path, path)
        raise InputError(f"data '{path}': no split '{split}': URLs are one set; write {{split}} where its parts differ")

    asked = f"{path} {tuple(named)}" if any(named) else path  # other labels, other pieces
    shelf = Shelf(path, default_cache_dir() / "stream" / sha256(asked)[:32], 2 * window + 4)
    pieces, found = catalogue(path, urls, split or _splits.TRAIN, shelf, named)
    shelf.columns = found
    source = Streamed(path, _limited(pieces, limit), shelf, found.classes, window, whole=pieces)
    source.why_unlabelled = found.why_unlabelled
    return source


class Streamed(Source):
    """Pieces in a row; at most about `2 · window + 4` of them lie on the disk.

    Args:
        path: as the user wrote it.
        pieces: with the number of images of each.
        shelf: where they are kept.
        classes: their names, if known.
        window: pieces that are mixed at a time.
        whole: the pieces of the whole set, where `pieces` are some of them, or parts of some.
    """

    in_pieces = True

    def __init__(
        self,
        path: str,
        pieces: Sequence[Piece],
        shelf: Shelf,
        classes: list[str] | None = None,
        window: int = 16,
        *,
        whole: Sequence[Piece] | None = None,
    ) -> None:
        self.path, self.classes, self.window = path, classes, window
        self._pieces, self._shelf = list(pieces), shelf
        self._counts = torch.tensor([piece.images for piece in pieces])
        self._ends = self._counts.cumsum(0)
        starts = itertools.accumulate((piece.images for piece in whole or pieces), initial=0)
        known = {(piece.url, piece.group): start for piece, start in zip(whole or pieces, starts, strict=False)}
        self._starts = torch.tensor([known[piece.url, piece.group] for piece in pieces])
        self._opened: dict[int, WebDataset] = {}
        self._ahead: _Ahead | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": {}, "_ahead": None}

    def __len__(self) -> int:
        return int(self._ends[-1])

    def read(self, index: int) -> Image.Image:
        return decode(self.encoded(index))

    def encoded(self, index: int) -> bytes:
        number, local = self._find(index)
        for _ in range(_TRIES):
            try:
                return self._open(number).encoded(local)
            except FileNotFoundError:  # another process made room
                self._opened.pop(number, None)
        raise InputError(f"data '{self.path}': its pieces leave the disk before they are read; use a larger window")

    def label(self, index: int) -> int | None:
        number, local = self._find(index)
        return None if self.classes is None else self._open(number).stored_label(local)

    def name(self, index: int) -> str:
        number, local = self._find(index)
        return f"{self._pieces[number].name}[{local}]"

    def number(self, index: int) -> int:
        number, local = self._find(index)
        return int(self._starts[number]) + local

    def fingerprint(self) -> str:
        """Hash of the pieces' names, counts and, where a manifest says them, contents."""
        return sha256_of_value([tuple(piece) for piece in self._pieces])[:16]

    def portable_fingerprint(self) -> str:
        return sha256_of_value([(piece.name, piece.images, piece.sha256) for piece in self._pieces])[:16]

    def order(self, *keys: int) -> Tensor:
        pieces = permutation(len(self._pieces), *keys, rng.stream("piece"))
        counts = self._counts[pieces]
        before = counts.cumsum(0) - counts
        starts = (self._ends - self._counts)[pieces]
        place = torch.arange(len(self))
        row = torch.repeat_interleave(starts - before, counts).add_(place)  # all images, piece after piece
        span = self.window * len(self) / len(self._pieces)
        return row[torch.argsort(draws(len(self), *keys).double().mul_(span).add_(place), stable=True)]

    def expect(self, indices: Tensor) -> None:
        if self._ahead is None:
            self._ahead = _Ahead(self._shelf)
        numbers = dict.fromkeys(torch.searchsorted(self._ends, indices, right=True).tolist())
        # More than that would push out what is being read.
        self._ahead.ask([self._pieces[number] for number in list(numbers)[: self.window + 2]])

    def _find(self, index: int) -> tuple[int, int]:
        number = int(torch.searchsorted(self._ends, index, right=True))
        return number, index - int(self._ends[number] - self._counts[number])

    def _open(self, number: int) -> WebDataset:
        if number not in self._opened:
            piece = self._pieces[number]
            file = self._shelf.get(piece)
            try:
                shard = WebDataset(self.path, [file])
            except InputError:
                if not file.exists():
                    raise FileNotFoundError(str(file)) from None
                raise
            if len(shard) < piece.images:
                raise InputError(f"data '{self.path}': {piece.name} holds {len(shard)} images, not {piece.images}")
            if len(self._opened) > 2 * self.window:
                self._opened.pop(next(iter(self._opened)))
            self._opened[number] = shard
        return self._opened[number]


class _Ahead:
    """A thread that fetches pieces before they are needed. What fails here is met, and told, by who reads it."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf, self._wanted = shelf, list[Piece]()
        self._told = threading.Condition()
        threading.Thread(target=self._work, daemon=True).start()

    def ask(self, pieces: list[Piece]) -> None:
        """What is needed next, in place of all that was asked for before: a late piece is no longer worth fetching."""
        with self._told:
            self._wanted = pieces
            self._told.notify()

    def _work(self) -> None:
        while True:
            with self._told:
                self._told.wait_for(lambda: self._wanted)
                piece = self._wanted.pop(0)
            try:
                self._shelf.get(piece)
            except (InputError, OSError):
                continue


def _limited(pieces: list[Piece], limit: int | None) -> list[Piece]:
    """So many images out of as few pieces as hold them; the pieces are drawn with a fixed key."""
    chosen: list[Piece] = []
    for number in permutation(len(pieces), rng.stream("subset")).tolist() if limit else ():
        left = limit - sum(piece.images for piece in chosen) if limit else 0
        if left > 0:
            chosen.append(pieces[number]._replace(images=min(left, pieces[number].images)))
    return chosen or pieces
