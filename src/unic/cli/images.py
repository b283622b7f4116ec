"""`unic encode`, `unic shard` and `unic synthesise`"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from unic import _completion
from unic._text import printable
from unic.cli.screen import echo, stderr
from unic.cli.words import uris_in
from unic.synthesis.settings import Settings


def encode(
    model: Annotated[str, typer.Argument(help="An encoder URI or a run folder.")],
    data: Annotated[str, typer.Option(help="Images: a folder, Parquet file or hub name.")],
    out: Annotated[Path, typer.Option(help="The .safetensors file to write.")],
    split: Annotated[str | None, typer.Option(help="Part of a set that has train and test [default: train].")] = None,
    patches: Annotated[bool, typer.Option("--patches", help="Also write every patch token.")] = False,
    limit: Annotated[int | None, typer.Option(help="Number of images to take, as a fixed random subset.")] = None,
    precision: Annotated[str, typer.Option(help="Precision of the encoder: auto, bf16 or fp32.")] = "auto",
    batch_size: Annotated[int, typer.Option(help="Number of images in a batch.")] = 64,
) -> None:
    """Write an encoder's features of a set of images, with their names."""
    from unic import api

    target = api.encode(
        model,
        data,
        out,
        split=split,
        patches=patches,
        limit=limit,
        precision=precision,
        batch_size=batch_size,
        console=stderr(),
    )
    echo(target)


def shard(
    data: Annotated[
        str, typer.Argument(metavar="PATH", help="Images: a folder, Parquet file, list, shards or hub name.")
    ],
    out: Annotated[Path, typer.Option(help="Output folder. An interrupted run is resumed.")],
    split: Annotated[str | None, typer.Option(help="Part of a set that has train and test [default: train].")] = None,
    size: Annotated[str, typer.Option(help="Maximum size of a shard.")] = "1GB",
    samples: Annotated[int | None, typer.Option(min=1, help="Maximum number of images in a shard.")] = None,
    keep_order: Annotated[bool, typer.Option("--keep-order", help="Do not shuffle the images.")] = False,
) -> None:
    """Write images as WebDataset shards: unchanged bytes, with an index, their names and a manifest."""
    from unic import api

    found = api.shard(data, out, split=split, size=size, samples=samples, keep_order=keep_order, console=stderr())
    for name, reason in found["skipped"][:5]:
        echo(f"skipped: {printable(name)}: {printable(reason)}", err=True)
    echo(f"{out}: {found['images']} images in {len(found['shards'])} shards, {len(found['skipped'])} skipped")


def synthesise(
    teachers: Annotated[
        list[str],
        typer.Option(
            help="Teachers as URIs or NAME=URI, separated by commas; repeatable. Each must be a torch model.",
            autocompletion=_completion.encoders,
        ),
    ],
    out: Annotated[Path, typer.Option(help="Output folder. An interrupted run is resumed.")],
    images: Annotated[int, typer.Option(help="Number of images to make.")] = Settings.images,
    size: Annotated[int, typer.Option(help="Side of an image in pixels.")] = Settings.size,
    start: Annotated[str, typer.Option(help="Path of the images to start from.")] = Settings.start,
    pool: Annotated[
        int, typer.Option(help="Number of images that are made to differ from one another.")
    ] = Settings.pool,
    subset: Annotated[int, typer.Option(help="Number of images of a pool that one step compares.")] = Settings.subset,
    redraw: Annotated[int, typer.Option(help="Number of steps with the same subset.")] = Settings.redraw,
    steps: Annotated[int, typer.Option(help="Number of steps for a pool; the paper takes 4000.")] = Settings.steps,
    lr: Annotated[float, typer.Option(help="Learning rate of Adam, on pixels between 0 and 1.")] = Settings.lr,
    variation: Annotated[float, typer.Option(help="Weight of the total variation; more is smoother.")] = (
        Settings.variation
    ),
    seed: Annotated[int, typer.Option(help="Seed of the images.")] = Settings.seed,
    precision: Annotated[str, typer.Option(help="Precision of the encoder: auto, bf16 or fp32.")] = "auto",
) -> None:
    """Make training images without any: optimise pixels until the teachers tell the images apart; write shards."""
    from unic import api

    uris = uris_in(teachers)
    found = api.synthesise(
        uris, out, images=images, size=size, start=start, pool=pool, subset=subset, redraw=redraw, steps=steps, lr=lr,
        variation=variation, seed=seed, precision=precision, console=stderr(),
    )  # fmt: skip
    for name, reason in found["skipped"][:5]:
        echo(f"skipped: {printable(name)}: {printable(reason)}", err=True)
    echo(f"{out}: {found['images']} images in {len(found['shards'])} shards, {len(found['skipped'])} skipped")
    echo(f"next: data.train: [{{path: {shlex.quote(str(out))}}}] in a recipe trains on them")
