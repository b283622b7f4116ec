"""`unic.export`: the student of a run in the formats of other libraries."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from unic._usage import usage
from unic.arguments import argument
from unic.data.loader import view_batches
from unic.data.sources import open_source
from unic.encoders._cut import CutEncoder
from unic.errors import InputError
from unic.eval.results.schema import Results
from unic.exporting.finished import check_addition, model_in, remove_graphs, staged
from unic.exporting.formats import FORMATS, check_folder, check_formats, check_options, write_graphs
from unic.exporting.hub import check_repository, push_folder
from unic.exporting.model_card import model_card, write_card
from unic.exporting.parity import Parity
from unic.exporting.provenance import Provenance, provenance
from unic.exporting.timm import export_timm
from unic.heads import kept_head
from unic.outputs import check_writable
from unic.recipe.schema import Recipe
from unic.runs.export_folder import ExportFolder
from unic.runs.folder import RunFolder, check_run_folder
from unic.training.trained import load_trained
from unic.trust import trusting


def export(
    run: str | Path,
    to: str | Path | None = None,
    *,
    formats: Sequence[str] = ("timm",),
    heads: Sequence[str] = (),
    widths: Sequence[int] = (),
    half: bool = False,
    dynamic_size: bool = False,
    check: bool = False,
    push: str | None = None,
    trust_code: Sequence[str] = (),
) -> Path:
    """Writes the student of a run in timm's own folder format with a model card, and further formats beside it.

    Options are checked first, and files move into the folder only when all are complete. A folder that holds an export
    of the same model keeps it and gets the further formats; its card and `parity.json` then describe all of them.

    Args:
        run: a run folder with at least one checkpoint.
        to: folder to write; default: `RUN/export`. There the model of an earlier step is replaced, and its graphs are
            removed.
        formats: names from `unic.exporting.formats.FORMATS`; the timm folder is always written.
        heads: names of teachers; the student with the projector for each is exported as a graph below `heads/`.
        widths: numbers of channels; the first so many of the student are exported as a graph below `widths/`. The timm
            folder has all channels.
        half: also write a float16 ONNX model.
        dynamic_size: write an ONNX model that takes any input size (CNNs).
        check: load each export in a process without unic, and compare its output on training images; the deviations are
            written to `parity.json`.
        push: also upload the folder to this repository of the Hugging Face hub, `ORG/NAME`.
        trust_code: modules and URIs (without options) whose code may run although only the run names it, for a student
            or projector from outside unic. Teachers are not loaded.

    Returns:
        The folder, for `timm.create_model("local-dir:FOLDER", pretrained=True)`.

    Raises:
        InputError: not a run folder, an unknown format or head, options that do not fit the formats or the network, a
            folder that holds something else, or an export whose output differs from the encoder's.
        UntrustedError: the student, or the projector of a head, is code that is not trusted.
    """
    check_formats(formats)
    folder = Path(run)
    check_run_folder(folder)
    target = Path(to) if to else RunFolder(folder).export
    if push:
        check_repository(push)
    check_writable(target, named=argument("to") if to else "run", kind="folder")
    trained = load_trained(folder)
    with trusting(trust_code):
        student, recipe = trained.student(), trained.recipe
        check_options(student, formats, heads=heads, widths=widths, half=half, dynamic_size=dynamic_size, check=check)
        kept = {name: kept_head(folder, name, device="cpu") for name in heads}
    for name, head in kept.items():
        if head.matched == "cls":
            raise InputError(
                f"{argument('heads')}: teacher '{name}' is matched by CLS alone, so its head has no patches, which "
                "every graph needs; leave it out"
            )
    found = model_in(target, student)
    if to:
        check_addition(target, found)
    made_of = provenance(trained.plans, trained.models)
    extra: dict[str, Any] = {"start": made_of.start, "teachers": made_of.teachers}
    extra |= {"recipe": recipe.model_dump(mode="json")} | ({"alpha": trained.alpha} if trained.interpolated else {})
    if len(trained.plans) > 1:
        extra["earlier_stages"] = [plan.model_dump(mode="json") for plan in trained.plans[:-1]]
    if recipe.student.widths:
        extra["widths"] = [*recipe.student.widths, student.embed_dim]  # where CLS and patches may be cut
    images = _some_images(recipe) if check else None
    options: dict[str, Any] = {"half": half, "dynamic_size": dynamic_size, "check": check}
    with staged(target) as stage:
        files = ExportFolder(stage)
        if found != "same":
            export_timm(student, stage, recipe.shared(extra), licence=made_of.licence.text)
        whole = target if found == "same" else stage
        parity = Parity.of(target) if found == "same" else Parity()
        parity.note(check_folder(student, whole, formats, images) if check else [], whole)
        parity.note(write_graphs(student, stage, formats, images, **options), stage)
        for name, head in kept.items():
            parity.note(write_graphs(head, files.head(name), formats, images, **options), stage)
        for width in widths:
            cut = CutEncoder(student, width)
            parity.note(write_graphs(cut, files.width(width), formats, images, **options), stage)
        if found != "same":
            remove_graphs(target)
    parity.write(target)
    write_model_card(folder, target, recipe, made_of, trained.alpha, push)
    if push:
        push_folder(target, push)
    return target


def _some_images(recipe: Recipe, count: int = 8) -> torch.Tensor | None:
    """A few training images, cropped to their centre squares, to compare exports on; None where they are missing."""
    try:
        source = open_source(recipe.data.train[0].path, limit=count)
        return next(view_batches(source, size=recipe.data.size, batch_size=count)).images.float() / 255
    except (InputError, StopIteration):
        return None


def refresh_card(run: Path) -> None:
    """Writes the model card again, with the results of the evaluation."""
    folder = RunFolder(run).export
    if not ExportFolder(folder).is_complete:
        raise InputError("there is no export to describe")
    trained = load_trained(run)
    write_model_card(run, folder, trained.recipe, provenance(trained.plans, trained.models), trained.alpha)


def write_model_card(
    run: Path, target: Path, recipe: Recipe, made_of: Provenance, alpha: float, hub: str | None = None
) -> None:
    """Writes the model card of an export. `hub`: the repository that its usage example loads from."""
    file, paths = RunFolder(run).results, ExportFolder(target)
    known = {
        paths.config: "architecture, input size, normalisation, provenance",
        paths.weights: "the weights",
        paths.onnx: FORMATS["onnx"],
        paths.onnx_half: "the same in float16",
        paths.torch_export: FORMATS["torch_export"],
        paths.parity: "largest deviation of each export from the trained encoder",
        paths.heads: "the student in the space of a teacher, by name",
        paths.widths: "the student's first channels, by their number",
    }
    files = {f"{path.name}/" if path.is_dir() else path.name: what for path, what in known.items() if path.exists()}
    measured = Results.read(file) if file.is_file() else None
    shown = recipe.shared(recipe.model_dump(mode="json"))
    made_of = Provenance(recipe.shared(made_of.start), recipe.shared(made_of.teachers))
    text = model_card(run.resolve().name, made_of, shown, measured, files, recipe.shared(usage(target, hub)), alpha)
    write_card(target, text)
