"""`unic.open_source` opens images, `unic.encode` writes features, `unic.shard` and `unic.synthesise` images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from unic.arguments import argument
from unic.data import sources
from unic.data.shards.writing import write_shards
from unic.data.sources import Source
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


def open_source(path: str | Path, limit: int | None = None, split: str | None = None, window: int = 16) -> Source:
    """Opens images by path, URL or name on the Hugging Face hub.

    The path may be:

    - a folder of images, alone or with masks, depths or a list of labels beside them;
    - a Parquet file, a WebDataset shard (.tar), or a folder or pattern of these (`*`, `{000..012}`);
    - a list of images, or a folder that `save_to_disk` of `datasets` has written;
    - `ORG/NAME[:CONFIG]`, a set of the hub, which is downloaded;
    - `stream:ORG/NAME[:CONFIG]`, or URLs of shards, of which only some are on the disk at a time;
    - `generated:FAMILY`, images that are drawn when they are read;
    - `py:PACKAGE.MODULE:FACTORY`, a source made by code of your own (`unic.data.sources.own`).

    `{split}` in a path stands for the name of the split. `?test=0.2&seed=0` at its end draws a random test split, and
    `?image=COLUMN&label=COLUMN` names the columns of a table. `samples/…` that is not in the working folder is looked
    for where `UNIC_SAMPLES` says, or in the checkout.

    Args:
        path: as above. Code that it names is trusted.
        limit: number of images of a fixed random subset; None: all images.
        split: name of a split (`train/` and `test/` in a folder, `train-*.parquet`, a split of the hub). None: the
            training split; if the set has no splits, or the path names one file or a pattern of files, all images.
        window: number of shards of a streamed set that are mixed at a time. About twice as many are on the disk.

    Raises:
        InputError: the path does not exist, holds no image, or has no such split.
    """
    with trusting(code_in_path(str(path))):
        return sources.open_source(str(path), limit, split, window)


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
        split: the split to take of a set that has several; default: "train", which a line on the console says.
        size: largest size of a shard, with a unit (kB, MB, GB). A single larger image gets a shard of its own.
        samples: largest number of images in a shard.
        keep_order: keep the order of the set instead of shuffling the images.
        console: shows the progress; default: stderr.

    Returns:
        The manifest of the shards, as of `unic.data.shards.writing.write_shards`.

    Raises:
        InputError: an unknown set or split, a folder that holds something else, or an invalid size.
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

    A shard holds one pool. A repeated call continues an interrupted one after its last complete pool, and gives the
    same bytes.

    Args:
        teachers: one or several, or several by name, as of `evaluate`. Gradients must pass through them, so a graph
            that runs outside torch (`onnx:`) is refused.
        out: the folder of the shards: absent, empty, or begun by the same call.
        images: number of images to make.
        size: side of the images in pixels.
        start: path of the images to start from; the first `images` of them are taken.
        pool: number of images that are made to differ from one another. Pools are made one by one, each as a shard.
        subset: number of images of a pool that one step compares and changes.
        redraw: number of steps with the same subset.
        steps: number of steps for a pool.
        lr: learning rate of Adam, on pixels in [0, 1].
        variation: weight of the total variation, which suppresses noise.
        seed: seed of all random draws.
        precision: precision of the teachers: "auto", "bf16" or "fp32".
        console: shows the progress; default: stderr.

    Returns:
        The manifest of the shards, as of `shard`.

    Raises:
        InputError: no teacher, a teacher without gradients, a value out of its range, or a folder that holds something
            else.
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
    request, `patches (n, N, E)` in float16. Damaged images are left out; `index` has the indices of the others in the
    set. The metadata have the model's URI, the set, and the names of images and classes (docs/data.md).

    Args:
        model: as of `load_encoder`; an encoder is used where it is.
        data: a path or a name, as of `open_source`.
        out: a file that ends in .safetensors.
        split: the split to take of a set that has several; default: "train", which a line on the console says.
        patches: also write every patch token.
        limit: number of images to take, as a fixed random subset.
        precision: precision of the encoder: "auto", "bf16" or "fp32".
        batch_size: number of images in a batch.
        workers: number of processes that decode images.
        console: shows the progress; default: stderr.

    Returns:
        The file.

    Raises:
        InputError: an unknown model, set or split, or a file with another suffix.
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
    """A set, and the name of its split if it has several. Reports a default split, which leaves images out."""
    source = sources.open_source(data, limit, split)
    splits = splits_of(data)
    taken = split or ("train" if len(splits) > 1 or "{split}" in data else None)
    if split is None and taken:
        others = f" of {', '.join(splits)}" if splits else ""
        text = f"data '{data}': only its split '{taken}'{others} is read; {argument('split')} names another"
        tell(console, text)
    if source.classes is None and source.why_unlabelled:
        tell(console, f"data '{data}': no labels: {source.why_unlabelled}")
    return source, taken
