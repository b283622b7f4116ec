"""`unic report` and `unic export`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unic.cli.screen import echo, stderr
from unic.cli.words import TrustCode, names_in, numbers_in


def report(
    runs: Annotated[
        list[Path],
        typer.Argument(help="Run folder, folder of several trainings or of a sweep, or several runs to compare."),
    ],
    out: Annotated[
        Path | None, typer.Option(help="Page to write [default: RUN/report.html; comparison.html for several runs].")
    ] = None,
) -> None:
    """Write a self-contained page about a run, RUN/report.html, or one that compares several runs."""
    from unic import api

    echo(api.report(runs[0], out) if len(runs) == 1 else api.compare(runs, out or Path("comparison.html")))


def export(
    run: Annotated[Path, typer.Argument(help="Run folder; of several trainings one of them, such as DIR/seed-0.")],
    to: Annotated[Path | None, typer.Option(help="Folder to write [default: RUN/export].")] = None,
    formats: Annotated[
        list[str] | None,
        typer.Option(
            "--format",
            help="Formats separated by commas: timm, transformers, onnx, torch_export, safetensors; repeatable "
            "[default: timm].",
        ),
    ] = None,
    heads: Annotated[
        list[str] | None,
        typer.Option(
            help="Also export the student with its projector for these teachers; comma-separated, repeatable."
        ),
    ] = None,
    width: Annotated[
        list[str] | None,
        typer.Option(
            help="Also export the student's first so many channels as graphs; numbers, comma-separated, repeatable."
        ),
    ] = None,
    half: Annotated[bool, typer.Option("--half", help="Also write a float16 ONNX model.")] = False,
    dynamic_size: Annotated[
        bool, typer.Option("--dynamic-size", help="Write an ONNX model that takes any input size (CNNs).")
    ] = False,
    check: Annotated[bool, typer.Option(help="Load each export in a process without unic, and compare.")] = True,
    push: Annotated[str | None, typer.Option(help="Upload to ORG/NAME on the Hugging Face hub, private.")] = None,
    trust_code: TrustCode = None,
) -> None:
    """Write the student as a timm folder and in other formats, check each, and print the lines that use it."""
    from unic.exporting.formats import check_formats

    chosen = names_in(formats) or ["timm"]
    check_formats(chosen)
    import json

    from unic import api
    from unic._usage import onnx_usage, usage
    from unic.runs.export_folder import ExportFolder

    widths = numbers_in(width, "--width", example="64,128")
    with stderr().status("exporting"):
        folder = api.export(
            run, to, formats=chosen, heads=names_in(heads), widths=widths,
            half=half, dynamic_size=dynamic_size, check=check, push=push, trust_code=trust_code or [],
        )  # fmt: skip
    if check:
        for name, deviation in json.loads(ExportFolder(folder).parity.read_text()).items():
            echo(f"{name}: deviates by {deviation:.1e}")
    echo(usage(folder))
    if "onnx" in chosen:
        echo(onnx_usage(folder, widths))
