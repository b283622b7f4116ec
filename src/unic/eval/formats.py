"""Results as files, by suffix: .json (all of it), .csv (one line a cell), .md and .tex (the table), .safetensors (the
predicted class of every test image).
"""

from __future__ import annotations

import csv
import io
import json
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from unic._text import csv_cell, latex, markdown, printable
from unic.arguments import argument
from unic.errors import InputError, nearest
from unic.eval.grid import Grid, GridCell, make_grid
from unic.outputs import check_writable


def check_targets(paths: Sequence[Path]) -> None:
    """Refuses names of files that could not be written in the end.

    Raises:
        InputError: a suffix that names no format, a folder, or a place where this user cannot write.
        StoppedError: a full disk.
    """
    for path in paths:
        valid = [*_FORMATS, ".safetensors"]
        if path.suffix not in valid:
            raise InputError(f"{argument('out')} {path}: unknown format '{path.suffix}'{nearest(path.suffix, valid)}")
        check_writable(path, named=argument("out"))


def wants_predictions(path: Path) -> bool:
    return path.suffix == ".safetensors"


def write_results(results: Mapping[str, Any], path: Path, predictions: Mapping[str, np.ndarray] | None = None) -> None:
    """Writes one file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if wants_predictions(path):
        content = save({printable(key): np.ascontiguousarray(array) for key, array in (predictions or {}).items()})
    else:
        content = _FORMATS[path.suffix](results).encode()
    _write(path, content)


def to_csv(results: Mapping[str, Any]) -> str:
    """One line for each task and model, unrounded, for other programs."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    head = ["set", "task", "measure", "model", "role", "score", "spread", "ci_low", "ci_high", "gain_percent", "error"]
    writer.writerow(head)
    for task, row in {**results["tasks"], **results.get("descriptions", {})}.items():
        data, _, probe = task.partition("/")
        measure = results.get("measures", {}).get(task, {}).get("name", "top-1 %")
        for name, cell in row.items():
            gain = results.get("gains", {}).get(name, {}).get(task)
            ends = cell.get("ci") or ["", ""]
            numbers = [cell.get("score", ""), cell.get("spread", ""), *ends, "" if gain is None else round(gain, 3)]
            role = results["models"][name]["role"]
            row_of_cells = [data, probe, measure, name, role, *numbers, cell.get("error", "")]
            writer.writerow([csv_cell(value) for value in row_of_cells])
    return stream.getvalue()


def to_markdown(results: Mapping[str, Any]) -> str:
    """The table for a README; the best teacher in italics, a supported win of the student in bold."""
    grid = make_grid(results)

    def marked(cell: GridCell | None) -> str:
        if cell is None:
            return ""
        mark = "*" if cell.is_best else "**" if cell.is_win else ""
        return f"{mark}{markdown(cell.text)}{mark}"

    lines = ["| " + " | ".join(map(markdown, _head(grid))) + " |"]
    lines.append("|---|" + "---:|" * (len(_head(grid)) - 1))
    lines += ["| " + " | ".join(cells) + " |" for cells in _body(grid, marked, markdown)]
    return "\n".join(lines) + "\n"


def to_latex(results: Mapping[str, Any]) -> str:
    """A booktabs tabular; the best teacher underlined, a supported win of the student in bold."""
    grid = make_grid(results)

    def marked(cell: GridCell | None) -> str:
        if cell is None:
            return ""
        text = latex(cell.text)
        return rf"\underline{{{text}}}" if cell.is_best else rf"\textbf{{{text}}}" if cell.is_win else text

    lines = [rf"\begin{{tabular}}{{l{'r' * (len(_head(grid)) - 1)}}}", r"\toprule"]
    lines += [" & ".join(latex(text) for text in _head(grid)) + r" \\", r"\midrule"]
    kinds = [row.kind for row in grid.rows]
    for number, cells in enumerate(_body(grid, marked, latex)):
        if number and kinds[number] != "task" and kinds[number - 1] == "task":
            lines.append(r"\midrule")
        lines.append(" & ".join(cells) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def _head(grid: Grid) -> list[str]:
    return [grid.corner, *grid.names, *(["gain %"] if grid.has_gain else [])]


def _body(grid: Grid, marked: Callable[[GridCell | None], str], label: Callable[[str], str]) -> list[list[str]]:
    return [
        [label(row.title), *map(marked, row.cells), *([marked(row.gain)] if grid.has_gain else [])] for row in grid.rows
    ]


def _write(path: Path, content: bytes) -> None:
    handle, partial = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        os.chmod(partial, 0o644)
        os.replace(partial, path)
    finally:
        Path(partial).unlink(missing_ok=True)


def _to_json(results: Mapping[str, Any]) -> str:
    return json.dumps(results, indent=1) + "\n"


_FORMATS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    ".json": _to_json, ".csv": to_csv, ".md": to_markdown, ".tex": to_latex,
}  # fmt: skip
