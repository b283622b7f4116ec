"""Streamed sets, of which only some pieces are on the disk: tar shards by URL, and sets of the Hugging Face hub.

The number of images of every piece is known before any is fetched (`catalogue`). So this is an ordinary `Source`: the
order of a pass is a hash, and a resume or another number of processes or workers changes nothing.

But a pass is not any permutation. Pieces follow one another in hashed order. In this row of images, place p is given
the key `p + u · span`, with u uniform in [0, 1) and `span` the images of `window` pieces, and the images are sorted by
their keys. This mixes images as a shuffle buffer of that size does, without a state.
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
    """Opens shards by URL, or a set of the Hugging Face hub (`stream:ORG/NAME[:CONFIG]`).

    Args:
        path: as the user wrote it.
        urls: the URLs that it stands for.
        split: name of a split, for a set of the hub only; None: the training split, or all that the URLs name.
        window: pieces that are mixed at a time, see `Streamed`.
        limit: number of images to use, from as few pieces as hold them; None: all images.
        named: columns of Parquet files that the user has named.

    Raises:
        InputError: a URL that cannot be read, no such split, or a scheme that is not supported.
    """
    from unic.data.streaming.catalogue import catalogue

    if split is not None and not path.startswith("stream:"):
        check_url(path, path)
        raise InputError(
            f"data '{path}': no split '{split}'; write {{split}} in the URL where the URLs of the splits differ"
        )

    asked = f"{path} {tuple(named)}" if any(named) else path  # pieces hold labels, so other columns are other pieces
    shelf = Shelf(path, default_cache_dir() / "stream" / sha256(asked)[:32], 2 * window + 4)
    pieces, columns = catalogue(path, urls, split or _splits.TRAIN, shelf, named)
    shelf.columns = columns
    source = Streamed(path, _limited(pieces, limit), shelf, columns.classes, window, whole=pieces)
    source.why_unlabelled = columns.why_unlabelled
    return source


class Streamed(Source):
    """The images of some pieces, of which about `2 · window + 4` at most are on the disk at a time.

    Args:
        path: as the user wrote it.
        pieces: in the order of the set.
        shelf: the local folder of the pieces.
        classes: names of the classes; None: the set has no labels.
        window: pieces that are mixed at a time.
        whole: the pieces of the whole set, if `pieces` are only some of them, or hold fewer images; None: `pieces`.
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
        piece, local = self._find(index)
        for _ in range(_TRIES):
            try:
                return self._open(piece).encoded(local)
            except FileNotFoundError:  # another process has evicted the piece
                self._opened.pop(piece, None)
        raise InputError(
            f"data '{self.path}': its shards are evicted from the local cache before they are read; set a larger window"
        )

    def label(self, index: int) -> int | None:
        piece, local = self._find(index)
        return None if self.classes is None else self._open(piece).stored_label(local)

    def name(self, index: int) -> str:
        piece, local = self._find(index)
        return f"{self._pieces[piece].name}[{local}]"

    def number(self, index: int) -> int:
        piece, local = self._find(index)
        return int(self._starts[piece]) + local

    def fingerprint(self) -> str:
        """Hash of the pieces' URLs, numbers of images and, if a manifest has them, hashes of their contents."""
        return sha256_of_value([tuple(piece) for piece in self._pieces])[:16]

    def portable_fingerprint(self) -> str:
        return sha256_of_value([(piece.name, piece.images, piece.sha256) for piece in self._pieces])[:16]

    def order(self, *keys: int) -> Tensor:
        pieces = permutation(len(self._pieces), *keys, rng.stream("piece"))
        counts = self._counts[pieces]
        before = counts.cumsum(0) - counts
        starts = (self._ends - self._counts)[pieces]
        place = torch.arange(len(self))
        row = torch.repeat_interleave(starts - before, counts).add_(place)  # indices of all images, piece after piece
        span = self.window * len(self) / len(self._pieces)
        return row[torch.argsort(draws(len(self), *keys).double().mul_(span).add_(place), stable=True)]

    def expect(self, indices: Tensor) -> None:
        if self._ahead is None:
            self._ahead = _Ahead(self._shelf)
        places = dict.fromkeys(torch.searchsorted(self._ends, indices, right=True).tolist())
        # More pieces would evict those that are being read.
        self._ahead.ask([self._pieces[place] for place in list(places)[: self.window + 2]])

    def _find(self, index: int) -> tuple[int, int]:
        """Index of an image's piece, and index of the image in it."""
        place = int(torch.searchsorted(self._ends, index, right=True))
        return place, index - int(self._ends[place] - self._counts[place])

    def _open(self, place: int) -> WebDataset:
        if place not in self._opened:
            piece = self._pieces[place]
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
            self._opened[place] = shard
        return self._opened[place]


class _Ahead:
    """A thread that fetches pieces before they are needed. It ignores failures: reading the piece will report them."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf, self._wanted = shelf, list[Piece]()
        self._told = threading.Condition()
        threading.Thread(target=self._work, daemon=True).start()

    def ask(self, pieces: list[Piece]) -> None:
        """Replaces the list of the pieces to fetch: earlier ones that are still missing would come too late."""
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
    """Draws as few pieces as hold `limit` images, with a fixed key, and cuts the last one. None: all pieces."""
    chosen: list[Piece] = []
    for place in permutation(len(pieces), rng.stream("subset")).tolist() if limit else ():
        left = limit - sum(piece.images for piece in chosen) if limit else 0
        if left > 0:
            chosen.append(pieces[place]._replace(images=min(left, pieces[place].images)))
    return chosen or pieces
