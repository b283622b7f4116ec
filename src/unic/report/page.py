"""Collects what a run folder holds and writes the page. A part that is missing or broken becomes one line."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from unic.config import Recipe, load_recipe
from unic.metrics import read_metrics
from unic.report.pictures import Pictures, draw_pictures, reason
from unic.report.scores import Scores, colours, figures, millions, radar_chart, table, verdict
from unic.report.training import last_values, training_charts

_FOLDER = Path(__file__).parent
_MAX_DAMAGED = 200  # names that the page lists


def write_report(run: Path) -> Path:
    """Writes `RUN/report.html`, one file that needs no network, and returns its path.

    What the run does not have (an evaluation, an export, a log) is said in its section.
    """
    run = Path(run)
    target = run / "report.html"
    text = render(collect(run))
    handle, partial = tempfile.mkstemp(prefix=".report-", suffix=".html", dir=run)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
        os.chmod(partial, 0o644)
        os.replace(partial, target)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise
    return target


def render(content: Mapping[str, Any]) -> str:
    environment = Environment(
        loader=FileSystemLoader(_FOLDER), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    return environment.get_template("template.html.j2").render(content)


def collect(run: Path) -> dict[str, Any]:
    """Everything that the template shows."""
    recipe, recipe_note = _recipe(run)
    teachers = list(recipe.teachers.models) if recipe else []
    results, problem = _json(run / "results.json")
    evaluation = _evaluation(results, problem, run, teachers)
    scores, colour = evaluation.pop("scores"), evaluation["colour"]
    teachers = teachers or (scores.teachers if scores else [])
    rows = _metrics(run)
    pictures = draw_pictures(run, recipe, results if scores else None) if recipe else Pictures(
        patch_notes=[recipe_note], neighbour_notes=[recipe_note]
    )  # fmt: skip
    environment, _ = _json(run / "environment.json")
    return {
        "name": run.resolve().name,
        "written": time.strftime("%Y-%m-%d %H:%M"),
        "environment": environment if isinstance(environment, dict) else {},
        **evaluation,
        "sizes": _sizes(scores, pictures),
        "charts": training_charts(rows, teachers, colour),
        "steps": rows[-1]["step"] if rows else None,
        "last": last_values(rows),
        "pictures": pictures,
        "recipe": _text(run / "recipe.yaml"),
        "recipe_note": recipe_note,
        "damaged": _damaged(run),
        "usage": _usage(run),
        "exported": (run / "export" / "config.json").is_file(),
        "run": str(run),
    }


def _recipe(run: Path) -> tuple[Recipe | None, str]:
    try:
        return load_recipe(run / "recipe.yaml"), ""
    except Exception as error:  # an older recipe with other keys must not cost the page
        return None, f"The recipe cannot be read: {reason(error)}"


def _evaluation(results: Any, problem: str, run: Path, teachers: list[str]) -> dict[str, Any]:
    """What results.json fills. One that is missing or not as `unic eval` writes it costs these parts and no other."""
    if isinstance(results, dict) and results.get("models") and results.get("tasks"):
        try:
            return _measured(results, teachers)
        except Exception as error:  # edited by hand, or written by another version
            note = f"results.json is not as unic eval writes it: {reason(error)}"
    elif problem == "-":
        note = f"This run has not been evaluated yet: there is no results.json. Run: unic eval {run}"
    else:
        note = f"results.json cannot be read: {problem or 'it names no models or tasks'}"
    return {
        "scores": None, "colour": colours("student", teachers), "verdict": note, "measured": False, "figures": [],
        "results_note": note, "table": None, "protocol": "", "radar": None,
    }  # fmt: skip


def _measured(results: dict[str, Any], teachers: list[str]) -> dict[str, Any]:
    scores = Scores(results)
    # The recipe's teachers first: they keep their colours whatever else was measured. The pictures say "student".
    named = [*teachers, *(name for name in scores.teachers if name not in teachers)]
    colour = {"student": "--student"} | colours(scores.student, named)
    return {
        "scores": scores, "colour": colour, "verdict": verdict(scores), "measured": True, "figures": figures(scores),
        "results_note": "", "table": table(scores, colour), "protocol": _protocol(results),
        "radar": radar_chart(scores, colour),
    }  # fmt: skip


def _metrics(run: Path) -> list[dict[str, Any]]:
    try:
        return read_metrics(run)
    except (OSError, ValueError):
        return []


def _json(path: Path) -> tuple[Any, str]:
    """The content and an empty note, or None and what is wrong ("-": no such file)."""
    try:
        return json.loads(path.read_text(encoding="utf-8")), ""
    except FileNotFoundError:
        return None, "-"
    except (OSError, ValueError) as error:
        return None, reason(error)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""


def _sizes(scores: Scores | None, pictures: Pictures) -> list[dict[str, Any]]:
    """Parameters of the student and of each teacher, from the evaluation or from the models that were loaded."""
    known: dict[str, float | None] = dict(pictures.sizes)
    if scores:
        shown = ([scores.student] if scores.student else []) + scores.teachers
        known = {name: scores.models[name].get("num_parameters") or known.get(name) for name in shown}
    own = scores.student if scores else "student"
    return [{"name": name, "size": millions(size), "own": name == own} for name, size in known.items() if size]


def _protocol(results: Mapping[str, Any]) -> str:
    """One line that says how it was measured."""
    protocol = results.get("protocol") or {}
    parts = []
    for task, options in (protocol.get("tasks") or {}).items():
        parts.append(" ".join([str(task), *(f"{key}={value}" for key, value in dict(options or {}).items())]))
    seeds = len(protocol.get("seeds") or [])
    if seeds:
        parts.append(f"{seeds} seed{'s' if seeds > 1 else ''}")
    if protocol.get("size"):
        parts.append(f"images at {protocol['size']} px")
    for name, counts in (protocol.get("counts") or {}).items():
        parts.append(f"{name}: {counts['train']} train, {counts['test']} test, {counts['classes']} classes")
    return "; ".join(parts)


def _damaged(run: Path) -> dict[str, Any]:
    entries, _ = _json(run / "damaged.json")
    pairs = [(str(entry[0]), str(entry[1])) for entry in entries if isinstance(entry, list) and len(entry) == 2] if (
        isinstance(entries, list)
    ) else []  # fmt: skip
    return {"known": isinstance(entries, list), "shown": pairs[:_MAX_DAMAGED], "count": len(pairs)}


def _usage(run: Path) -> str:
    folder = (run / "export").as_posix()
    return "\n".join(
        [
            "import timm",
            f'model = timm.create_model("local-dir:{folder}", pretrained=True).eval()',
            "cls = model(timm.data.create_transform(**timm.data.resolve_model_data_config(model))(image)[None])",
        ]
    )
