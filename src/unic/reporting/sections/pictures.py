"""Pictures of what the encoders see: patch tokens as colours, and the nearest training images of a few test images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from unic.data.sources import DamagedImageError, Source, open_source
from unic.device import default_device
from unic.encoders import Encoder, open_encoder
from unic.eval.columns import teacher_column
from unic.eval.datasets import resolve
from unic.eval.results.schema import Protocol
from unic.features import default_cache_dir, extract
from unic.recipe.schema import Recipe
from unic.reporting.draw.patch_colours import patch_rows
from unic.reporting.draw.thumbnails import thumbnail
from unic.reporting.notes import reason
from unic.reporting.read.sets import measured_sets
from unic.training.recorded import in_run

LIMIT = 300  # images of a split
SHOWN = 6  # images whose patches are shown
QUERIES = 4
NEIGHBOURS = 5
_SETS = 2  # evaluation sets with queries; for each of them every encoder runs on LIMIT images


@dataclass
class Pictures:
    """Content of both sections; `patch_notes` and `neighbour_notes` say what could not be shown and why."""

    inputs: list[dict[str, str]] = field(default_factory=list)
    patches: list[dict[str, Any]] = field(default_factory=list)
    queries: list[dict[str, Any]] = field(default_factory=list)
    patch_notes: list[str] = field(default_factory=list)
    neighbour_notes: list[str] = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=dict)
    origin: str = ""


@dataclass(frozen=True)
class _Set:
    """Query images, and a gallery in which neighbours are found; `labelled` if both have labels."""

    name: str
    gallery: Source
    queries: Source
    labelled: bool


class Picked(Source):
    """Some images of a source, by index."""

    def __init__(self, base: Source, picks: Sequence[int]) -> None:
        self.base, self.picks = base, list(picks)
        self.path, self.classes = base.path, base.classes

    def __len__(self) -> int:
        return len(self.picks)

    def read(self, index: int) -> Image.Image:
        return self.base.read(self.picks[index])

    def label(self, index: int) -> int | None:
        return self.base.label(self.picks[index])

    def name(self, index: int) -> str:
        return self.base.name(self.picks[index])

    def fingerprint(self) -> str:
        return f"{self.base.fingerprint()}{self.picks}"


def draw_pictures(run: Path, recipe: Recipe, protocol: Protocol) -> Pictures:
    """The pictures of both sections of a run. Never raises: a failure becomes a note, and the rest is drawn."""
    pictures = Pictures()
    encoders = _encoders(run, recipe, pictures)
    try:
        sets, size = _sets(in_run(recipe, run), protocol)
        pictures.origin = _origin(sets, bool(protocol.data))
    except Exception as error:
        pictures.patch_notes.append(f"images: {reason(error)}")
        pictures.neighbour_notes.append(f"images: {reason(error)}")
        return pictures
    try:
        shares = [SHOWN // len(sets) + (index < SHOWN % len(sets)) for index in range(len(sets))]
        shown = [(chosen.name, Picked(chosen.queries, _choose(chosen.queries, share)))
                 for chosen, share in zip(sets, shares, strict=True) if share]  # fmt: skip
        for name, part in shown:
            pictures.inputs += [
                {"src": thumbnail(part.read(index)), "label": f"{name}: {_label(part, index)}"}
                for index in range(len(part))
            ]
        pictures.patches, notes = patch_rows(encoders, [part for _, part in shown])
        pictures.patch_notes += notes
    except Exception as error:
        pictures.patch_notes.append(reason(error))
    for chosen in sets[:_SETS]:
        try:
            count = max(1, QUERIES // len(sets[:_SETS]))
            pictures.queries += _nearest(encoders, chosen, size, count, pictures.neighbour_notes)
        except Exception as error:
            pictures.neighbour_notes.append(f"{chosen.name}: {reason(error)}")
    return pictures


def _encoders(run: Path, recipe: Recipe, pictures: Pictures) -> dict[str, Encoder]:
    device = default_device()
    found = {}
    recorded = in_run(recipe, run).teachers.uris
    teachers = {teacher_column(name, run.resolve().name): uri for name, uri in recorded.items()}
    for name, uri in {"student": f"run:{run}", **teachers}.items():
        try:
            found[name] = open_encoder(uri, device=device)
            pictures.sizes[name] = found[name].num_parameters()
        except Exception as error:
            for notes in (pictures.patch_notes, pictures.neighbour_notes):
                notes.append(f"{name}: {reason(error)}")
    return found


def _sets(recipe: Recipe, protocol: Protocol) -> tuple[list[_Set], int | None]:
    """The evaluation sets, or else some training images; and the side of the views."""
    if protocol.data:
        specs, _ = measured_sets(protocol)
        pairs = [resolve(spec, max_train=LIMIT, max_test=LIMIT) for spec in specs]
        sets = [_Set(pair.name, pair.train, pair.test, pair.kind == "labels") for pair in pairs]
        # Labelled sets first, because neighbours are shown of the first ones.
        return sorted(sets, key=lambda chosen: not chosen.labelled), protocol.size
    found = []
    for entry in recipe.data.train:
        source = open_source(entry.path, limit=LIMIT)
        order = np.random.default_rng(0).permutation(len(source)).tolist()
        cut = max(1, min(30, len(source) // 5))
        name = Path(entry.path).parent.name if Path(entry.path).suffix else Path(entry.path).name
        found.append(_Set(name, Picked(source, order[cut:]), Picked(source, order[:cut]), bool(source.classes)))
    return found, recipe.data.size


def _origin(sets: Sequence[_Set], measured: bool) -> str:
    names = ", ".join(dict.fromkeys(chosen.name for chosen in sets))
    return f"test images of {names}" if measured else f"training images ({names})"


def _choose(source: Source, count: int) -> list[int]:
    """A fixed random choice of readable images, of different classes if possible."""
    order = np.random.default_rng(1).permutation(len(source)).tolist()
    seen: set[int | None] = set()
    first: list[int] = []
    later: list[int] = []
    for index in order:
        if len(first) == count:
            break
        label = source.label(index)
        kind = first if label is None or label not in seen else later
        if len(kind) == count:
            continue
        try:
            source.read(index)
        except DamagedImageError:
            continue
        kind.append(index)
        seen.add(label)
    return (first + later)[:count]


def _nearest(
    encoders: Mapping[str, Encoder], chosen: _Set, size: int | None, count: int, notes: list[str]
) -> list[dict[str, Any]]:
    picked = Picked(chosen.queries, _choose(chosen.queries, count))
    queries: list[dict[str, Any]] = [
        {"src": thumbnail(picked.read(index)), "label": _label(picked, index), "set": chosen.name, "rows": []}
        for index in range(len(picked))
    ]
    for name, encoder in encoders.items():
        try:
            asked = extract(encoder, picked, size=size, cache=default_cache_dir())
            known = extract(encoder, chosen.gallery, size=size, cache=default_cache_dir())
            similarity = _unit(asked.cls) @ _unit(known.cls).T
            for row, index in enumerate(asked.index.tolist()):
                order = np.argsort(-similarity[row], kind="stable")[:NEIGHBOURS]
                hits = [_hit(chosen, picked, index, int(known.index[place]), similarity[row, place]) for place in order]
                queries[index]["rows"].append({"name": name, "hits": hits})
        except Exception as error:
            notes.append(f"{chosen.name}, {name}: {reason(error)}")
    return [query for query in queries if query["rows"]]


def _hit(chosen: _Set, picked: Picked, query: int, index: int, similarity: float) -> dict[str, Any]:
    label = _label(chosen.gallery, index)
    return {
        "src": thumbnail(chosen.gallery.read(index)),
        "label": label,
        "same": label == _label(picked, query) if chosen.labelled else None,
        "similarity": f"{similarity:.2f}",
    }


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def _label(source: Source, index: int) -> str:
    label = source.label(index)
    return source.classes[label] if source.classes and label is not None else source.name(index)
