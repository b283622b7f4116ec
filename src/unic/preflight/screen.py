"""The report of a check as one screen."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.table import Table
from rich.text import Text

from unic._text import printable
from unic.encoders.base import NO_LICENCE
from unic.preflight.findings import Report
from unic.preflight.rows import Model, Time
from unic.quantities import long_duration

_STYLES = {"error": "bold red", "warning": "yellow", "note": "dim"}


def render(report: Report) -> Group:
    """Models, images, cost and findings; the last line says whether the run can start."""
    parts: list[Any] = []
    if report.models:
        parts += [_models(report), *map(_origin, report.models)]
    if report.images:
        parts.append(_images(report))
    if "time" in report.facts:
        parts.append(_cost(report))
    for finding in report.findings:
        parts.append(Text.assemble((f"{finding.level}: ", _STYLES[finding.level]), f"{finding.about}: {finding.text}"))
    errors = report.num_errors
    last = f"not ready: {errors} error{'s' if errors > 1 else ''}" if errors else "ready"
    parts.append(Text(f"{report.recipe}: {last}", style="bold red" if errors else "bold green"))
    return Group(*parts, *map(render, report.stages))


def _models(report: Report) -> _NamedRows:
    rows = []
    for row in report.models:
        size, grid = (f"{height}x{width}" for height, width in (row["input_size"], row["grid"]))
        cls = f"{row['cls']}" if row["has_cls"] else f"{row['cls']} pooled"
        matched = row.get("tokens", "both")
        cls, patch = "–" if matched == "patches" else cls, "–" if matched == "cls" else str(row["patch"])
        speed = f"{row['images_per_s']:.{0 if row['images_per_s'] >= 10 else 1}f}"
        millions = f"{row['num_parameters'] / 1e6:.1f} M"
        rows.append([row["name"], millions, size, grid, cls, patch, row["precision"], speed])
    return _NamedRows(["model", "params", "input", "grid", "cls", "patch", "precision", "img/s"], rows)


@dataclass(frozen=True)
class _NamedRows:
    """A table whose numbers are never cut. The names of its first column wrap in the remaining width."""

    heads: Sequence[str]
    rows: Sequence[Sequence[str]]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        table = Table(box=box.SIMPLE_HEAD, padding=0, show_edge=False)
        widths = [max(map(len, column)) for column in zip(self.heads, *self.rows, strict=True)][1:]
        room = max(len(self.heads[0]), options.max_width - sum(widths) - len(widths))
        table.add_column(self.heads[0], overflow="fold")
        for head in self.heads[1:]:
            table.add_column(head, justify="right", no_wrap=True)
        for name, *rest in self.rows:
            table.add_row(Text(_between_words(printable(name), room)), *rest)
        yield ""
        yield table
        yield ""


def _between_words(name: str, width: int) -> str:
    """A name in lines that end at the ends of its words; only a word that is too wide is broken."""
    lines = [""]
    for word in re.findall(r"[^_\-./]*[_\-./]*", name):
        if lines[-1] and len(lines[-1] + word) > width:
            lines.append("")
        lines[-1] += word
    return "\n".join(lines)


def _origin(row: Model) -> Text:
    """A line with the source, licence and normalisation of a model, which are too long for columns."""
    mean, std = _numbers(row["mean"]), _numbers(row["std"])
    revision = f" @ {row['revision']}" if row["revision"] else ""
    licence = {None: "licence unknown", NO_LICENCE: "no licence needed"}.get(row["licence"], row["licence"])
    options = "".join(f", {text}" for text in row.get("options", ()))
    return Text(f"{row['name']}: {row['uri']}{revision}, {licence}, mean {mean}, std {std}{options}", style="dim")


def _numbers(values: list[float]) -> str:
    """The values of the channels; one number where all are equal."""
    return "/".join(f"{value:.3g}" for value in (values[:1] if len(set(values)) == 1 else values))


def _images(report: Report) -> _NamedRows:
    rows = [
        [
            row["path"], f"{row['images']:,}", f"{row['weight']:g}", f"{row['share']:.0%}",
            f"{row['anchor']:g}" if row["anchor"] else "–", f"{row['short_side']} px",
            f"{len(row['damaged'])} of {row['looked_at']}",
        ]
        for row in report.images
    ]  # fmt: skip
    return _NamedRows(["training images", "images", "weight", "share", "anchor", "short side", "damaged"], rows)


def _cost(report: Report) -> Table:
    table = Table(box=None, padding=(0, 1), pad_edge=False, show_header=False)
    facts, ladder, student = report.facts, report.facts["ladder"], report.models[0]
    memory, time, disk = facts["memory"], facts["time"], facts["disk"]
    sides, (height, width) = ", ".join(map(str, facts["views"])), student["input_size"]
    table.add_row(
        "views",
        f"{sides} px (data.size{'s' if len(facts['views']) > 1 else ''}); the student's input is {height}x{width}",
    )
    table.add_row(
        "projectors",
        f"{ladder['type']} on {ladder['blocks']} blocks, {ladder['num_parameters'] / 1e6:.1f} M parameters",
    )
    table.add_row(
        "memory",
        f"{memory['models_gb']:.1f} GB models + {memory['batch_gb']:.1f} GB for {memory['at_a_time']} images at once, "
        f"of {memory['available_gb']:.1f} GB; the largest batch that fits: {memory['largest_batch']} images",
    )
    table.add_row("time", _time(time))
    there = disk["cache_gb"] - disk["cache_missing_gb"]
    kept = f", of that {there:.2f} GB there" if there else ""
    table.add_row("disk", f"{disk['checkpoints_gb']:.2f} GB checkpoints, {disk['cache_gb']:.2f} GB teacher cache{kept}")
    if "spread" in facts:
        spread = facts["spread"]
        ranks = [f"{name} {row['own']:.0f} and {row['generated']:.0f}" for name, row in spread["teachers"].items()]
        table.add_row(
            "spread",
            f"effective rank of the teachers' features on {spread['images']} images, and on generated dead leaves: "
            f"{', '.join(ranks)}",
        )
    if "duplicates" in facts:
        found = sum(facts["duplicates"]["found"].values())
        table.add_row("duplicates", f"{found or 'none'}; {facts['duplicates']['looked_at']}")
    return table


def _time(time: Time) -> str:
    """The time of a run, and what the estimate is based on."""
    low, high = map(long_duration, time["hours_range"])
    between = f" ({low} to {high})" if low != high else ""
    by = "train.steps" if time["epochs"] is None else f"{time['epochs']:g} epochs"
    processes = f" on {time['processes']} processes" if time["processes"] > 1 else ""
    price = f", price {time['price']:.2f}" if "price" in time else ""
    tried = time["tried"]
    fastest, slowest = (f"{seconds:.2g}" if seconds < 10 else f"{seconds:.0f}" for seconds in tried["seconds"])
    each = fastest if fastest == slowest else f"{fastest} to {slowest}"
    busy = f" ({tried['waited']:.0%} of it waiting for a core: the machine is busy)" if tried["waited"] > 0.1 else ""
    threads = f"{tried['threads']} thread{'s' if tried['threads'] > 1 else ''}"
    return (
        f"{long_duration(time['hours'])}{between} for {time['steps']:,} steps ({by}){processes}, of that teachers "
        f"{long_duration(time['teachers_h'])}{price}; estimated from {tried['steps']} steps of "
        f"{' or '.join(map(str, tried['images']))} images on {threads}, {each} s each{busy}; "
        "without the evaluation"
    )
