"""The model card: `README.md` of an export, with the metadata that the Hugging Face hub reads."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from unic._text import markdown, markdown_block, markdown_code
from unic.encoders.base import NO_LICENCE, UNKNOWN
from unic.eval.results.formats import to_markdown
from unic.eval.results.row_title import sets_of
from unic.eval.results.schema import Results
from unic.eval.results.seen import mean_gains
from unic.exporting.licences import Licence
from unic.exporting.provenance import Provenance
from unic.files import write_bytes
from unic.runs.export_folder import ExportFolder


def model_card(
    name: str,
    made_of: Provenance,
    recipe: Mapping[str, Any],
    results: Results | None,
    files: Mapping[str, str],
    usage: str,
    alpha: float = 1.0,
) -> str:
    """Markdown with a YAML head.

    Args:
        name: name of the student.
        made_of: the start and the teachers.
        recipe: resolved.
        results: of `results.json`, if the run was evaluated.
        files: description by file name.
        usage: lines of Python.
        alpha: share of the trained weights in the exported ones; the rest is the start.
    """
    licence = made_of.licence
    slug = re.sub(r"[^a-z0-9.+]+", "-", (licence.text or "").lower()).strip("-")
    head = {
        "library_name": "timm",
        "pipeline_tag": "image-feature-extraction",
        "tags": ["image-feature-extraction", "timm", "unic", "knowledge-distillation"],
        **({"license": licence.listed or "other"} if slug else {}),
        **({"license_name": slug} if slug and not licence.listed else {}),
    }
    lines = ["---", _yaml(head), "---", "", f"# {markdown(name)}", ""]
    lines += [
        f"An image encoder distilled from {len(made_of.teachers)} teachers with "
        f"[unic](https://arxiv.org/abs/2408.05088), without labels: {_parts(recipe)}.",
        "", "## Teachers and licences", "", "| model | source | revision | licence |", "|---|---|---|---|",
    ]  # fmt: skip
    start = {} if made_of.start is None else {"the start": made_of.start}
    for model, entry in {**start, **made_of.teachers}.items():
        stated = {None: UNKNOWN, NO_LICENCE: "–"}.get(entry["licence"], entry["licence"])
        uri = markdown_code(entry["uri"], in_table=True)
        lines.append(f"| {markdown(model)} | {uri} | {markdown(entry['revision'] or '–')} | {markdown(stated)} |")
    lines += ["", _inherited(licence), ""]
    if results and results.tasks:
        lines += ["## Results", "", to_markdown(results), _how_measured(results), ""]
    lines += ["## Use", "", markdown_block(usage, "python"), "", *_nested(recipe.get("student", {}).get("widths", []))]
    lines += ["## Files", "", *(f"- `{file}`: {what}" for file, what in files.items()), ""]
    data = ", ".join(markdown_code(entry["path"]) for entry in recipe["data"]["train"])
    lines += [
        "## Training", "",
        f"Images: {data}, views of {recipe['data']['size']} px. {_weights(alpha)}The whole recipe:", "",
        markdown_block(_yaml(recipe), "yaml"), "",
        "## Limits", "",
        "Measured on the sets above only. The student has its teachers' biases and no safety measures of its own; on "
        f"images unlike those it was distilled on it may be worse than any of them. {_on_unseen(results)}", "",
    ]  # fmt: skip
    return "\n".join(lines)


def _parts(recipe: Mapping[str, Any]) -> str:
    """The parts of the method that this student was trained with."""
    kinds = {"projector": "projector", "standardiser": "standardize", "weighting": "weighting"}
    return ", ".join(f"{what} {markdown_code(recipe[section]['type'])}" for what, section in kinds.items())


def _yaml(tree: Mapping[str, Any]) -> str:
    return yaml.safe_dump(dict(tree), sort_keys=False, allow_unicode=True).rstrip()


def _nested(widths: Sequence[int]) -> list[str]:
    """Paragraph on the widths at which the features may be cut."""
    if not widths:
        return []
    listed = ", ".join(map(str, widths))
    return [
        f"Nested widths: {listed}. The first so many channels are features of their own: `cls[:, :{widths[0]}]`.",
        "",
    ]


def _weights(alpha: float) -> str:
    return "" if alpha == 1 else f"Weights: {1 - alpha:g} x the start's + {alpha:g} x the trained ones. "


def _inherited(licence: Licence) -> str:
    """A sentence about the licences that the student inherits."""
    parts = []
    if licence.names:
        pairs = zip(licence.names, licence.sources, strict=True)
        named = " and ".join(f"{markdown(name)} ({markdown(model)})" for name, model in pairs)
        parts.append(f"the strictest {'known ' if licence.unknown else ''}here is {named}")
    if licence.unknown:
        parts.append(f"the licence of {', '.join(map(markdown, licence.unknown))} is not known")
    terms = "; ".join(parts) or "this one has none, because no weights of others are in it"
    return f"A student inherits the licence terms of its start and its teachers: {terms}."


def write_card(folder: Path, text: str) -> Path:
    return write_bytes(ExportFolder(folder).card, text.encode("utf-8", errors="backslashreplace"))


def _how_measured(results: Results) -> str:
    seeds = len(results.protocol.seeds) or 1
    return (
        f"*Italics*: best teacher of the task. **Bold**: the student is above it by a paired bootstrap over test "
        f"images and probe seeds (95 %). In brackets: 95 % intervals. "
        f"{seeds} seed{'s' if seeds > 1 else ''} of the probes, one training."
    )


def _on_unseen(results: Results | None) -> str:
    """A sentence about the mean gain on unseen sets."""
    found = [mean for mean in mean_gains(results) if mean.kind == "unseen"] if results and results.tasks else []
    if not found:
        return "No unseen set was measured."
    mean = found[0]
    sets = ", ".join(map(markdown, sets_of(mean.tasks)))
    gain = "not known" if mean.gain is None else f"{mean.gain:+.1f} %"
    ends = f" [{mean.ci[0]:+.1f}, {mean.ci[1]:+.1f}]" if mean.ci else ""
    return f"On unseen sets ({sets}), no source of its training, its mean gain over the best teachers is {gain}{ends}."
