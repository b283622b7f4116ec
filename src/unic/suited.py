"""Values of a new recipe that suit its images, student and teachers. The schema's defaults are made for many images.

An existing recipe keeps its values; `unic.training.advice` warns of unsuitable ones.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from unic.data.image_list import ImageList
from unic.data.sources import TEST, Source
from unic.data.sources._path_options import split_off
from unic.data.sources._split_names import splits_of
from unic.data.sources._splits import kind_of
from unic.data.sources.contents import content_numbers
from unic.encoders import build_encoder, open_encoder, without_weights
from unic.errors import InputError
from unic.eval.datasets import open_pair
from unic.eval.plan import make_plan
from unic.eval.suite import load_suite
from unic.projectors._widths import suited_width
from unic.recipe.schema import Recipe, load_recipe
from unic.training.advice import FEWEST_STEPS
from unic.training.places import found_from
from unic.trust import trusting
from unic.typed import code_in

_EPOCHS = 10  # default of the schema
_BATCH = (32, 128)  # least and most images of a step
_STEPS_AN_EPOCH = 8  # at least; with fewer images the batches are smaller, down to the least
_SHORT = 10_000  # steps; a longer run has the schema's learning rate, which is the paper's
_RATE = 2e-3  # learning rate of a short run for 256 images: 1e-3 with batches of 128, as in the recipes of the samples
_SAVES = 4  # checkpoints of a run
_MOST_COMPARED = 100_000  # images of several sources whose bytes are compared; more take minutes
_EVALUATION: Mapping[str, Any] = {
    "tasks": {"knn": {"k": 20}, "logistic": {"C": 0.01}}, "seeds": [0], "max_train": 5000, "max_test": 2000,
}  # fmt: skip


def suited(tree: Mapping[str, Any], overrides: Sequence[str] = ()) -> tuple[dict[str, Any], list[str]]:
    """The tree of a recipe (see `compose`) with suitable values, and notes for the user.

    - `train.batch_size`: a power of two, 32 to 128, of which an epoch has eight or more; fewer where there are fewer
      images. `train.epochs`: ten, or as many as make `FEWEST_STEPS` steps; none beside `train.steps`. `train.lr`: 2e-3
      up to 10,000 steps.
    - `projector.hidden_dim`: see `suited_width`; `last_hidden_dim` is four times as much.
    - `checkpoint.every`: four saves.
    - `eval.suite`: k-NN and logistic regression on each set of `data.train` that has a labelled test part without
      training images.

    Args:
        tree: the user's input. Code that it names is trusted.
        overrides: `key=value` of the same command. The other values suit what they set.

    Raises:
        InputError: the images, the student or a teacher cannot be opened; they are tried in this order.
    """
    with trusting(code_in(tree)):
        recipe = found_from(load_recipe(dict(tree), overrides))
        images = ImageList.from_config(recipe.data.train, recipe.data.max_pixels)
        data, notes = _measured(recipe, images)
        projector = _projector(recipe)
    typed = OmegaConf.to_container(OmegaConf.from_dotlist(list(overrides)), resolve=False)
    said = {**(tree.get("train") or {}), **(typed.get("train") or {} if isinstance(typed, dict) else {})}
    train = _train(images.epoch_length(), {key: getattr(recipe.train, key) for key in said})
    steps = train.get("steps") or math.ceil(train["epochs"] * (images.epoch_length() // train["batch_size"]))
    checkpoint = {"every": max(1, math.ceil(steps / _SAVES))}
    evaluation = {"eval": {"suite": {"data": data, **_EVALUATION}}} if data else {}
    return {**tree, "projector": projector, "train": train, "checkpoint": checkpoint, **evaluation}, notes


def _train(num_images: int, given: Mapping[str, Any]) -> dict[str, Any]:
    least, most = _BATCH
    batch = min(most, max(least, num_images // _STEPS_AN_EPOCH), max(num_images, 1))
    batch = given.get("batch_size", 1 << (batch.bit_length() - 1))
    an_epoch = max(num_images // batch, 1)
    epochs = given.get("epochs", max(_EPOCHS, math.ceil(FEWEST_STEPS / an_epoch)))
    steps = given.get("steps")
    length = {"steps": steps} if steps else {"epochs": epochs}  # where both are given, steps count
    is_short = (steps or epochs * an_epoch) <= _SHORT
    rest = {key: value for key, value in given.items() if key not in ("steps", "epochs")}
    return {**length, "batch_size": batch, **({"lr": _RATE} if is_short else {}), **rest}


def _projector(recipe: Recipe) -> dict[str, Any]:
    if recipe.projector.type != "ladder":  # whose default widths suit any student
        return recipe.projector.model_dump()
    student = build_encoder(without_weights(recipe.student.model))
    if not student.block_dims:
        raise InputError(f"student '{recipe.student.model}': only timm models and what is built on them can be trained")
    opened = {name: open_encoder(without_weights(uri)) for name, uri in recipe.teachers.uris.items()}
    dims = [recipe.teachers.widths(name, each.embed_dim, each.patch_dim) for name, each in opened.items()]
    hidden = suited_width(student.block_dims, dims, student.embed_dim, student.num_parameters())
    return {"type": "ladder", "hidden_dim": hidden, "last_hidden_dim": 4 * hidden}


def _measured(recipe: Recipe, images: ImageList) -> tuple[list[str], list[str]]:
    """Evaluation sets as a suite names them, and a note for each test part that cannot be used."""
    data, notes = [], []
    for name, path in _with_test_part(recipe, images):
        spec = f"{name}={path}"
        try:
            make_plan(load_suite({"data": [spec], **_EVALUATION}))
            if len(images.sources) > 1:
                _refuse_shared(images, open_pair(name, path).test)
        except InputError as error:
            notes.append(f"{path}: its test part is not evaluated: {error}")
            continue
        data.append(spec)
    return data, notes


def _refuse_shared(images: ImageList, test: Source) -> None:
    """Refuses a test part that shares images with the training: one source may contain the test part of another."""
    if len(images) + len(test) > _MOST_COMPARED:
        raise InputError(
            f"more than {_MOST_COMPARED:,} images are too many to look for duplicates; name the set in eval.suite"
        )
    train, other = content_numbers(images, test)
    if set(train.tolist()) & set(other.tolist()):
        raise InputError("one of its images is also a training image")


def _with_test_part(recipe: Recipe, images: ImageList) -> Iterator[tuple[str, str]]:
    """Names and paths of the training sources with a test part. Streamed sources are left out."""
    names: list[str] = []
    for entry, source in zip(recipe.data.train, images.sources, strict=True):
        if source.in_pieces or not any(kind_of(split) in TEST for split in splits_of(entry.path)):
            continue
        stem = Path(split_off(entry.path)[0]).name.partition(":")[0]
        name = re.sub(r"\W+", "_", stem).strip("_") or "images"
        name += f"_{names.count(name) + 1}" if name in names else ""
        names.append(name)
        yield name, entry.path
