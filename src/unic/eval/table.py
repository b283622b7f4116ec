"""results.json as a table: tasks × models, the best teacher of each task underlined, the student's gain at the end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

WIDTH = 100  # columns: what a terminal and a README show without wrapping


def render(results: Mapping[str, Any]) -> Table:
    """A rich table of at most `WIDTH` columns.

    Underlined: the best teacher of the task. Bold: the student where the paired interval of its difference to that
    teacher lies above 0. Then the mean of each task over the sets, and the mean gain with its interval.
    """
    student = _student(results)
    names = _order(results)
    table = Table(caption=_caption(results), caption_justify="left", box=box.SIMPLE_HEAD, padding=0)
    table.add_column("top-1 %", no_wrap=True)
    for name in names:
        # Long names are folded: cut, two ablations would often read the same.
        table.add_column(name, justify="right", overflow="fold", max_width=_width(len(names)))
    if student:
        table.add_column("gain %", justify="right", no_wrap=True)
    for task, row in results["tasks"].items():
        cells: list[Text | str] = [_cell(results, task, name, row.get(name, {})) for name in names]
        if student:
            cells.append(_percent(results["gain_over_best_teacher"].get(task)))
        table.add_row(task, *cells)
    table.add_section()
    for task, means in _means(results, names).items():
        table.add_row(f"mean {task}", *(_number(means[name]) for name in names), *([""] if student else []))
    if student:
        gains = results.get("mean_gains", {})
        row = [_percent(gains.get(name, {}).get("gain")) for name in names]
        bold = "bold" if _beats(results.get("mean_gain_ci")) else ""
        table.add_row("mean gain", *row, Text(_percent(results["mean_gain"]), style=bold))
    return table


def to_markdown(results: Mapping[str, Any]) -> str:
    """The same table for a README; the best teacher in italics, a supported win of the student in bold."""
    student, names = _student(results), _order(results)
    head = ["top-1 %", *names, *(["gain %"] if student else [])]
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    for task, row in results["tasks"].items():
        cells = []
        for name in names:
            text = _cell(results, task, name, row.get(name, {}))
            mark = "**" if "bold" in str(text.style) else "*" if "underline" in str(text.style) else ""
            cells.append(f"{mark}{text.plain}{mark}")
        gain = [_percent(results["gain_over_best_teacher"].get(task))] if student else []
        lines.append("| " + " | ".join([task, *cells, *gain]) + " |")
    for task, means in _means(results, names).items():
        cells = [_number(means[name]) for name in names]
        lines.append("| " + " | ".join([f"mean {task}", *cells, *([""] if student else [])]) + " |")
    if student:
        row = [_percent(results.get("mean_gains", {}).get(name, {}).get("gain")) for name in names]
        mark = "**" if _beats(results.get("mean_gain_ci")) else ""
        lines.append("| " + " | ".join(["mean gain", *row, f"{mark}{_percent(results['mean_gain'])}{mark}"]) + " |")
    return "\n".join(lines) + "\n"


def _student(results: Mapping[str, Any]) -> str | None:
    """The model whose gains are the table's; None without one or without a teacher to compare it with."""
    roles = {name: model["role"] for name, model in results["models"].items()}
    student = next((name for name, role in roles.items() if role == "student"), None)
    return student if "teacher" in roles.values() else None


def _order(results: Mapping[str, Any]) -> list[str]:
    ranks = {"student": 0, "other": 1, "teacher": 2, "concat": 3, "pixels": 4}
    return sorted(results["models"], key=lambda name: ranks[results["models"][name]["role"]])


def _width(columns: int) -> int:
    return max(6, (WIDTH - 19 - 8) // max(columns, 1) - 1)  # 19: edge and names of tasks, 8: gains, 1: gap


def _cell(results: Mapping[str, Any], task: str, name: str, cell: Mapping[str, Any]) -> Text:
    if "score" not in cell:
        return Text("failed" if "error" in cell else "–", style="red" if "error" in cell else "")
    if name == results.get("best_teacher", {}).get(task):
        return Text(_number(cell["score"]), style="underline")
    wins = name == _student(results) and _beats(results.get("difference_ci", {}).get(task))
    return Text(_number(cell["score"]), style="bold" if wins else "")


def _means(results: Mapping[str, Any], names: list[str]) -> dict[str, dict[str, float | None]]:
    """Mean over the sets by task and model; None where a cell is missing. Empty for a single set."""
    rows: dict[str, list[Mapping[str, Any]]] = {}
    for task, row in results["tasks"].items():
        rows.setdefault(task.partition("/")[2], []).append(row)
    means: dict[str, dict[str, float | None]] = {}
    for task, entries in rows.items():
        for name in names if len(entries) > 1 else []:
            scores = [entry.get(name, {}).get("score") for entry in entries]
            means.setdefault(task, {})[name] = None if None in scores else sum(scores) / len(scores)
    return means


def _caption(results: Mapping[str, Any]) -> str:
    protocol = results.get("protocol", {})
    seeds = len(protocol.get("seeds", [])) or 1
    parts = [f"{seeds} seed{'s' if seeds > 1 else ''}", "underlined: best teacher of the task"]
    if _student(results):
        interval = results.get("mean_gain_ci")
        parts.append("bold: above it by a paired bootstrap, 95 %")
        if interval:
            parts.append(f"mean gain in [{interval[0]:+.1f}, {interval[1]:+.1f}] %")
        parts += verdict(results)
    return "; ".join(parts)


def verdict(results: Mapping[str, Any]) -> list[str]:
    """One sentence on the student against the best single teacher; empty if it cannot be said."""
    single = results.get("single_teacher")
    if not single:
        return []
    low, high = single["difference_ci"]
    return [
        f"mean of all tasks: student {single['student']:.1f}, best single teacher ({single['name']}) "
        f"{single['score']:.1f}, difference in [{low:+.1f}, {high:+.1f}]"
    ]


def _beats(interval: Any) -> bool:
    return interval is not None and interval[0] > 0


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:+.1f}"
