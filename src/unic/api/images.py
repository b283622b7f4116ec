"""`unic.encode`, `unic.shard` and `unic.synthesise`: features of images, and images written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from unic.arguments import argument
from unic.data.shards.writing import write_shards
from unic.data.sources import Source, open_source
from unic.data.sources._split_names import splits_of
from unic.device import default_device
from unic.encoders import Encoder, load_encoder
from unic.errors import InputError
from unic.eval.named import Given, by_name
from unic.features import default_cache_dir, extract
from unic.features.files import write_features
from unic.outputs import check_writable
from unic.synthesis.progress import SynthesisProgress
from unic.synthesis.settings import Settings
from unic.synthesis.source import Synthesised
from unic.terminal import stderr_console, tell
from unic.trust import trusting
from unic.typed import code_in_path


def shard(
    data: str,
    out: str | Path,
    *,
    split: str | None = None,
    size: str = "1GB",
    samples: int | None = None,
    keep_order: bool = False,
    console: Console | None = None,
) -> dict[str, Any]:
    """Writes a set of images as WebDataset shards.

    Args:
        data: a path or a name, as of `open_source`.
        out: the folder of the shards: absent, empty, or begun by the same call.
        split: of a set that has several; default: "train", and a line says so where there are others.
        size: of a shard at most, unless one image alone is larger; with a unit (kB, MB, GB).
        samples: the number of images in a shard at most.
        keep_order: keep the order of the set; without, images are shuffled.
        console: where progress is shown (default: stderr).

    Returns:
        The manifest of the shards, as of `unic.data.shards.writing.write_shards`.

    Raises:
        InputError: an unknown set or split, a folder that holds something else, or a size that is none.
        StoppedError: a full disk.
    """
    console = console or stderr_console()
    with trusting(code_in_path(data)), console.status("sharding") as status:
        source, _ = _open_split(data, split, None, console)

        def report(done: int, total: int) -> None:
            status.update(f"sharding: {done}/{total} images")

        return write_shards(source, Path(out), size=size, samples=samples, keep_order=keep_order, report=report)


def synthesise(
    teachers: Given | Sequence[Given] | Mapping[str, Given],
    out: str | Path,
    *,
    images: int = Settings.images,
    size: int = Settings.size,
    start: str = Settings.start,
    pool: int = Settings.pool,
    subset: int = Settings.subset,
    redraw: int = Settings.redraw,
    steps: int = Settings.steps,
    lr: float = Settings.lr,
    variation: float = Settings.variation,
    seed: int = Settings.seed,
    precision: str = "auto",
    console: Console | None = None,
) -> dict[str, Any]:
    """Makes images by optimising pixels until frozen teachers tell them apart, and writes them as shards.

    A shard holds one pool. A folder in which the same call was stopped is gone on with, from its last whole pool, and
    gets the bytes that it would have had.

    Args:
        teachers: one or several, or several by name, as of `evaluate`. Their gradients must reach the pixels: a graph
            that runs outside of torch (`onnx:`) cannot take part.
        out: the folder of the shards: absent, empty, or begun by the same call.
        images: the number of images to make.
        size: their side in pixels.
        start: path of the images that the optimisation starts from, of which the first `images` are taken.
        pool: how many images are kept apart from one another; one pool is made at a time, and each is a shard.
        subset: how many images of a pool one step compares and changes.
        redraw: the number of steps with one subset.
        steps: the number of steps for a whole pool.
        lr: Adam's learning rate on pixels in [0, 1].
        variation: weight of the total variation, which keeps noise away.
        seed: of all draws.
        precision: "auto", "bf16" or "fp32".
        console: where progress is shown (default: stderr).

    Returns:
        The manifest of the shards, as of `shard`.

    Raises:
        InputError: no teacher, one without gradients, a number out of its range, or a folder that holds something else.
        StoppedError: a full disk, or an objective that is not finite.
    """
    named = by_name(teachers)
    if not named:
        raise InputError(f"{argument('teachers')}: expected at least one encoder")
    settings = Settings(images, size, start, pool, subset, redraw, steps, lr, variation, seed)
    check_writable(Path(out), named=argument("out"), kind="folder")
    with trusting(code_in_path(start)), SynthesisProgress(console or stderr_console()) as progress:
        encoders = {
            name: load_encoder(model, device=default_device(), precision=precision) for name, model in named.items()
        }
        source = Synthesised(encoders, settings, progress.show)
        return write_shards(source, Path(out), samples=settings.pool, keep_order=True)


def encode(
    model: str | Path | Encoder,
    data: str | Path,
    out: str | Path,
    *,
    split: str | None = None,
    patches: bool = False,
    limit: int | None = None,
    precision: str = "auto",
    batch_size: int = 64,
    workers: int = 0,
    console: Console | None = None,
) -> Path:
    """Writes an encoder's features of a set of images as safetensors.

    The file holds `cls (n, D)`, `patch_mean (n, E)`, `index (n,)`, `labels (n,)` if the images are labelled and, on
    request, `patches (n, N, E)` in float16. Damaged images are left out; `index` says which images of the whole set
    are there. Its metadata hold the model's URI, the set, and the names of images and classes (docs/data.md).

    Args:
        model: as of `load_encoder`; an encoder is used where it is.
        data: a path or a name, as of `open_source`.
        out: a file that ends in .safetensors.
        split: of a set that has several; default: "train", and a line says so where there are others.
        patches: also keep every patch token.
        limit: a fixed random subset of so many images.
        precision: "auto", "bf16" or "fp32".
        batch_size: images at a time.
        workers: processes that decode images.
        console: where progress is shown (default: stderr).

    Returns:
        The file.

    Raises:
        InputError: an unknown model, set or split, or another ending of the file.
    """
    target = Path(out)
    if target.suffix != ".safetensors":
        raise InputError(f"{argument('out')} {target}: expected a file that ends in .safetensors")
    check_writable(target, named=argument("out"))
    console = console or stderr_console()
    is_loaded = isinstance(model, Encoder)
    encoder = load_encoder(model, device=None if is_loaded else default_device(), precision=precision)
    with trusting(code_in_path(str(data))), console.status("encoding") as status:
        source, taken = _open_split(str(data), split, limit, console)
        features = extract(
            encoder,
            source,
            patch_grid="own" if patches else None,
            batch_size=batch_size,
            workers=workers,
            cache=default_cache_dir(),
            progress=lambda done, total: status.update(f"encoding {done}/{total} images"),
        )
    write_features(features, encoder, source, target, split=taken)
    return target


def _open_split(data: str, split: str | None, limit: int | None, console: Console) -> tuple[Source, str | None]:
    """A set, and which split of it that is, where it has several. A default that leaves images out is said."""
    source = open_source(data, limit) if split is None else open_source(data, limit, split)
    splits = splits_of(data)
    taken = split or ("train" if len(splits) > 1 or "{split}" in data else None)
    if split is None and taken:
        others = f" of {', '.join(splits)}" if splits else ""
        text = f"data '{data}': only its split '{taken}'{others} is read; {argument('split')} names another"
        tell(console, text)
    if source.classes is None and source.why_unlabelled:
        tell(console, f"data '{data}': no labels: {source.why_unlabelled}")
    return source, taken
