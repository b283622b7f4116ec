"""Results as files, by suffix: .json (everything), .csv (a line for each cell), .md and .tex (the table), .safetensors
(the predicted class of every test image).
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from unic._text import csv_cell, latex, markdown, printable
from unic.arguments import argument
from unic.errors import InputError, nearest
from unic.eval.results.grid import GridCell, GridRow, TableGrid, make_grid
from unic.eval.results.row_title import set_of, task_of
from unic.eval.results.schema import Results
from unic.eval.results.scoreboard import Scoreboard
from unic.eval.results.seen import mean_gains
from unic.files import write_bytes
from unic.outputs import check_writable

_NO_ENDS = ("", "")  # of an unknown interval


def check_targets(paths: Sequence[Path]) -> None:
    """Refuses files that could not be written at the end of the evaluation.

    Raises:
        InputError: a suffix of no known format, a folder, or a place without write permission.
        StoppedError: a full disk.
    """
    for path in paths:
        valid = [*_FORMATS, ".safetensors"]
        if path.suffix not in valid:
            raise InputError(f"{argument('out')} {path}: unknown format '{path.suffix}'{nearest(path.suffix, valid)}")
        check_writable(path, named=argument("out"))


def wants_predictions(path: Path) -> bool:
    return path.suffix == ".safetensors"


def write_results(results: Results, path: Path, predictions: Mapping[str, np.ndarray] | None = None) -> None:
    """Writes one file, whole or not at all."""
    if wants_predictions(path):
        content = save({printable(key): np.ascontiguousarray(array) for key, array in (predictions or {}).items()})
    else:
        content = _FORMATS[path.suffix](results).encode()
    write_bytes(path, content)


def to_csv(results: Results) -> str:
    """A line for each task and model, unrounded, for other programs; then a line without a set for each mean gain."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    head = ["set", "task", "measure", "model", "role", "score", "spread", "ci_low", "ci_high"]
    head += ["gain_percent", "error", "kind"]
    board, differences = Scoreboard.of(results), results.differences
    if differences.to:
        head += ["compared_with", "difference", "difference_low", "difference_high"]
    writer.writerow(head)
    for task, row in {**results.tasks, **results.descriptions}.items():
        for name, cell in row.items():
            gain = results.gains.get(name, {}).get(task)
            score, spread = ("" if value is None else value for value in (cell.score, cell.spread))
            numbers = [score, spread, *(cell.ci or _NO_ENDS), "" if gain is None else round(gain, 3)]
            role, error = results.models[name].role, cell.error or ""
            kind = "unseen" if task in results.unseen else "seen"
            row_of_cells = [set_of(task), task_of(task), board.metric(task).name, name, role, *numbers, error, kind]
            if differences.to:
                found = differences.tasks.get(task, {}).get(name)
                row_of_cells += [differences.to, found.difference, *found.ci] if found else [""] * 4
            writer.writerow([csv_cell(value) for value in row_of_cells])
    for mean in mean_gains(results):
        for name, gain in mean.gains.items():
            if gain is not None:
                ends, role = mean.ends[name] or _NO_ENDS, results.models[name].role
                row_of_cells = ["", "mean gain", "gain %", name, role, round(gain, 3), "", *ends, "", "", mean.kind]
                writer.writerow([csv_cell(value) for value in row_of_cells + [""] * (len(head) - len(row_of_cells))])
    return stream.getvalue()


def to_markdown(results: Results) -> str:
    """The table for a README: the best teacher in italics, a significant win of the student in bold, and 95 % intervals
    in brackets."""
    grid = make_grid(results)

    def marked(cell: GridCell | None) -> str:
        if cell is None:
            return ""
        mark = "*" if cell.is_best else "**" if cell.is_win else ""
        return f"{mark}{markdown(cell.text)}{mark} {cell.ends}".rstrip()

    lines = ["| " + " | ".join(map(markdown, _head(grid))) + " |"]
    lines.append("|---|" + "---:|" * (len(_head(grid)) - 1))
    lines += ["| " + " | ".join(cells) + " |" for cells in _body(grid, marked, markdown)]
    return "\n".join(lines) + "\n"


def to_latex(results: Results) -> str:
    """A tabular for the package booktabs: the best teacher underlined, a significant win of the student in bold, and
    95 % intervals in brackets."""
    grid = make_grid(results)

    def marked(cell: GridCell | None) -> str:
        if cell is None:
            return ""
        text = latex(cell.text) if cell.value is None else _with_minus(latex(cell.text))
        text = rf"\underline{{{text}}}" if cell.is_best else rf"\textbf{{{text}}}" if cell.is_win else text
        return rf"{text} {{\scriptsize {_with_minus(cell.ends)}}}" if cell.ends else text

    lines = [rf"\begin{{tabular}}{{l{'r' * (len(_head(grid)) - 1)}}}", r"\toprule"]
    lines += [" & ".join(latex(text) for text in _head(grid)) + r" \\", r"\midrule"]
    first = next((place for place, row in enumerate(grid.rows) if not row.is_of_task), 0)
    for place, cells in enumerate(_body(grid, marked, latex)):
        if first and place == first:
            lines.append(r"\midrule")
        lines.append(" & ".join(cells) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def _with_minus(text: str) -> str:
    """Replaces the hyphens in numbers by minus signs, which are longer."""
    return text.replace("-", r"\textminus{}")


def _head(grid: TableGrid) -> list[str]:
    has_ends = any(cell.ends for row in grid.rows for cell in row.cells)
    corner = f"{grid.corner} [95 % interval]" if has_ends else grid.corner
    return [corner, *grid.names, *(["gain %"] if grid.has_gain else [])]


def _body(grid: TableGrid, marked: Callable[[GridCell | None], str], label: Callable[[str], str]) -> list[list[str]]:
    def title(row: GridRow) -> str:
        return f"{row.title} to {grid.compared_with}" if row.kind == "difference" else row.title

    return [
        [label(title(row)), *map(marked, row.cells), *([marked(row.gain)] if grid.has_gain else [])]
        for row in grid.rows
    ]


def _to_json(results: Results) -> str:
    return json.dumps(results.as_dict(), indent=1) + "\n"


_FORMATS: Mapping[str, Callable[[Results], str]] = {
    ".json": _to_json, ".csv": to_csv, ".md": to_markdown, ".tex": to_latex,
}  # fmt: skip
