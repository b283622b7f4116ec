"""The model card: `README.md` of an export, with the metadata that the Hugging Face hub reads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from unic.eval.formats import to_markdown

# From the most to the least permissive; what is not listed is taken as the strictest, since its terms are not known.
_STRICTNESS = ("cc0-1.0", "unlicense", "mit", "bsd-3-clause", "apache-2.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0",
               "cc-by-nc-sa-4.0")  # fmt: skip
UNKNOWN = "unknown"


def strictest(licences: Mapping[str, str | None]) -> tuple[str, str]:
    """The licence that binds the student most, and the teacher that it comes from."""

    def rank(name: str) -> int:
        licence = str(licences[name] or UNKNOWN).lower()
        return _STRICTNESS.index(licence) if licence in _STRICTNESS else len(_STRICTNESS)

    name = max(licences, key=rank)
    return str(licences[name] or UNKNOWN), name


def model_card(
    name: str,
    teachers: Mapping[str, Mapping[str, Any]],
    recipe: Mapping[str, Any],
    results: Mapping[str, Any] | None,
    files: Mapping[str, str],
    usage: str,
) -> str:
    """Markdown with a YAML head.

    Args:
        teachers: by name: `uri`, `licence`, `revision`.
        recipe: resolved.
        results: of `results.json`, if the run was evaluated.
        files: what lies in the folder, and what it is.
        usage: lines of Python.
    """
    licence, source = strictest({name: teacher.get("licence") for name, teacher in teachers.items()})
    known = licence.lower() in _STRICTNESS
    head = {
        "library_name": "timm",
        "pipeline_tag": "image-feature-extraction",
        "tags": ["image-feature-extraction", "timm", "unic", "knowledge-distillation"],
        "license": licence.lower() if known else "other",
        **({} if known else {"license_name": f"as-teacher-{source}"}),
    }
    lines = ["---", OmegaConf.to_yaml(OmegaConf.create(head)).rstrip(), "---", "", f"# {name}", ""]
    lines += [
        f"An image encoder distilled from {len(teachers)} teachers with [unic](https://arxiv.org/abs/2408.05088) "
        "(ladder of projectors, teacher standardisation, teacher dropping), without labels.",
        "", "## Teachers and licences", "", "| teacher | source | revision | licence |", "|---|---|---|---|",
    ]  # fmt: skip
    for teacher, entry in teachers.items():
        cells = [teacher, f"`{entry['uri']}`", str(entry.get("revision") or "–"), str(entry.get("licence") or UNKNOWN)]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    lines += [
        "",
        "A student inherits what its teachers' licences ask; "
        + (
            f"the licence of {source} is not known."
            if licence == UNKNOWN
            else f"the strictest here is {licence} ({source})."
        ),
        "",
    ]
    if results and results.get("tasks"):
        lines += ["## Results", "", to_markdown(results), _how_measured(results), ""]
    lines += ["## Use", "", "```python", usage, "```", ""]
    lines += ["## Files", "", *(f"- `{file}`: {what}" for file, what in files.items()), ""]
    data = ", ".join(f"`{entry['path']}`" for entry in recipe["data"]["train"])
    lines += [
        "## Training", "",
        f"Images: {data}, views of {recipe['data']['size']} px. The whole recipe:", "",
        "```yaml", OmegaConf.to_yaml(OmegaConf.create(dict(recipe))).rstrip(), "```", "",
        "## Limits", "",
        "Measured on the sets above only. The student has its teachers' biases and no safety measures of its own; on "
        "images unlike those it was distilled on it may be worse than any of them.", "",
    ]  # fmt: skip
    return "\n".join(lines)


def write_card(folder: Path, text: str) -> Path:
    path = folder / "README.md"
    path.write_text(text, encoding="utf-8")
    return path


def _how_measured(results: Mapping[str, Any]) -> str:
    seeds = len(results.get("protocol", {}).get("seeds", [])) or 1
    return (
        f"*Italics*: best teacher of the task. **Bold**: the student above it by a paired bootstrap over test images "
        f"and probe seeds (95 %). {seeds} seed{'s' if seeds > 1 else ''} of the probes, one training."
    )
