"""The public API: load an encoder, distil, evaluate, export, report, encode. The CLI is a thin face on it."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from unic._usage import usage
from unic.arguments import argument
from unic.data.loader import view_batches
from unic.data.shards.writing import write_shards
from unic.data.sources import Source, open_source
from unic.data.sources._split_names import splits_of
from unic.device import default_device
from unic.encoders import Encoder, load_encoder, without_weights
from unic.errors import InputError, PreemptedError, StoppedError, UnfinishedError, UntrustedError, in_one_line
from unic.eval.asked import code_asked_for, parse_tasks
from unic.eval.columns import columns_of
from unic.eval.entrants import Heads
from unic.eval.named import Given, by_name
from unic.eval.online import OnlineKnn
from unic.eval.plan import make_plan
from unic.eval.results.schema import Influence, Results
from unic.eval.results.trainings import without_joint
from unic.eval.runner import evaluate_models
from unic.eval.suite import load_suite
from unic.eval.trained import refuse_trained
from unic.exporting.finished import check_addition, model_in, remove_graphs, staged
from unic.exporting.formats import FORMATS, check_folder, check_formats, check_options, write_graphs
from unic.exporting.hub import check_repository, push_folder
from unic.exporting.model_card import model_card, write_card
from unic.exporting.parity import Parity
from unic.exporting.provenance import Provenance, provenance
from unic.exporting.timm import export_timm
from unic.features import default_cache_dir, extract
from unic.features.files import write_features
from unic.heads import heads_of, kept_head
from unic.outputs import check_writable
from unic.preflight import Report, check_recipe
from unic.recipe.files import naming
from unic.recipe.references import WithReferences
from unic.recipe.schema import Recipe, load_recipe
from unic.reporting import write_comparison, write_report, write_trainings
from unic.runs.folder import check_run_folder, trainings_in
from unic.runs.metrics import logged_to
from unic.runs.state import newest_state
from unic.signals import stop_signals
from unic.synthesis.progress import Progress
from unic.synthesis.settings import Settings
from unic.synthesis.source import Synthesised
from unic.terminal import stderr_console, tell
from unic.tokens import Tokens
from unic.training.engine import is_main_process
from unic.training.influence import shares
from unic.training.places import folder_of, found_from
from unic.training.recorded import in_run, recipe_of
from unic.training.stages import first_of
from unic.training.summary import summary
from unic.training.train import Callback, fit
from unic.training.trained import load_trained
from unic.training.trainings import check_seeds, plan_trainings
from unic.trust import trusting, typed
from unic.typed import code_in_overrides, code_in_path

__all__ = [
    "Encoder", "InputError", "Recipe", "Results", "Tokens", "check", "compare", "distill", "dry_run", "encode",
    "evaluate", "export", "load_encoder", "open_source", "report", "shard", "synthesise",
]  # fmt: skip

AnyRecipe = str | Path | Mapping[str, Any] | Recipe
"""A YAML path, the name of a shipped recipe, a mapping or a `Recipe`."""

log = logging.getLogger("unic")


def distill(
    recipe: AnyRecipe,
    *,
    out: str | Path,
    resume: bool = False,
    seeds: Sequence[int] | None = None,
    trust_code: Sequence[str] = (),
    console: Console | None = None,
    **overrides: Any,
) -> Path:
    """Distils the recipe's teachers into its student: training, export, evaluation, report.

    Args:
        recipe: see `AnyRecipe`.
        out: the run folder; must be empty or absent unless `resume`.
        resume: continue the run in `out` from its newest checkpoint, or start it.
        seeds: train once with each of these in place of the recipe's `seed`, in the run folders `out/seed-0` and so on,
            and write one table over all trainings of `out` into `out/results.json` and `out/report.html`. Repeated, a
            training that has ended is left as it is, one that was interrupted goes on, and further seeds are added.
        trust_code: modules and URIs (without options) whose code may run though the recipe names it; also at a resume.
        console: where progress is shown (default: stderr).
        overrides: recipe entries by dotted key, for example `**{"train.lr": 1e-4}`; `train__lr=1e-4` means the same.
            Code that they name is trusted.

    Returns:
        The run folder; with `seeds` the folder of all of them.

    Raises:
        InputError: the recipe, the folder or the seeds cannot be used.
        UntrustedError: the recipe names code that is not trusted.
        PreemptedError: a signal has asked to stop; `resume` goes on.
        StoppedError: a full disk, another process that is gone or silent, or losses that are not finite.
        UnfinishedError: the run is trained and saved, and its export, evaluation or report failed; the rest is there.
    """
    console = console or stderr_console()
    folder = Path(out)
    lines = _lines(overrides)
    with stop_signals() as stops, trusting(trust_code, code_in_overrides(lines)):
        if seeds is not None:
            check_seeds(seeds, lines)
            with stops.at_once("between trainings"):
                return _distill_each(recipe, folder, lines, seeds, console)
        with stops.at_once("before the run began"):
            settings, callback = _settled(recipe, folder, lines, resume)
        with naming(settings.name):
            fit(settings, folder, resume=resume, callback=callback, console=console)
        with stops.at_once("after the training, which is saved"):
            return finish(folder, settings, console)


def _distill_each(
    recipe: AnyRecipe, folder: Path, lines: Sequence[str], seeds: Sequence[int], console: Console
) -> Path:
    """One training after another, then the table over all of them. What fails after a training is told at the end."""
    begun = next(iter(trainings_in(folder).values()), None)
    settings = load_recipe(_source(recipe), lines, has_begun=begun is not None)
    settings = found_from(settings, folder_of(newest_state(begun)) if begun else None)
    problems = []
    for training in plan_trainings(settings, folder, seeds):
        if training.is_finished:
            tell(console, f"{training.folder}: finished before")
            continue
        tell(console, f"{training.folder}: training with seed {training.recipe.seed}")
        try:
            distill(training.recipe, out=training.folder, resume=True, console=console)
        except UnfinishedError as error:
            problems.append(str(error))
    last = settings.plans()[-1]
    parts: dict[str, Callable[[], object]] = {}
    if last.eval.suite:
        parts = {"evaluation": lambda: _evaluate_run(folder, last, console), "report": lambda: report(folder)}
    problems += _attempts(parts, f"after the trainings of {folder}", console)
    if problems:
        raise UnfinishedError(f"{folder} holds all trainings, but {'; '.join(problems)}")
    return folder


def _settled(recipe: AnyRecipe, folder: Path, lines: Sequence[str], resume: bool) -> tuple[Recipe, Callback | None]:
    """The recipe that is run, with its files found, and its looks."""
    settings = load_recipe(_source(recipe), lines, has_begun=resume and (folder / "recipe.yaml").is_file())
    settings = found_from(settings, folder_of(newest_state(folder)) if resume else None)
    with naming(settings.name):
        return settings, _looks(settings)


def _looks(recipe: Recipe) -> OnlineKnn | None:
    """The looks while it trains. What is measured at its end is looked up now, for what is missing must fail now, not
    then; of test images only names and labels are read. An unseen set that it trains on fails now, too.
    """
    if not recipe.eval.suite:
        return None
    suite = load_suite(recipe.eval.suite)
    plan = make_plan(suite, opens_images=False)
    refuse_trained(plan, [entry.path for stage in recipe.plans() for entry in stage.data.train])
    return OnlineKnn(suite) if recipe.eval.every else None


def dry_run(
    recipe: AnyRecipe,
    *,
    random_weights: bool = False,
    seeds: Sequence[int] | None = None,
    trust_code: Sequence[str] = (),
    **overrides: Any,
) -> list[str]:
    """Builds everything of a recipe, tries it on one batch and returns lines that say what it is; writes nothing.

    Args:
        recipe: see `AnyRecipe`.
        random_weights: give every timm model random weights, so that nothing is downloaded.
        seeds: as of `distill`; the first one is tried, since the others differ in nothing that could fail.
        trust_code: modules and URIs (without options) whose code may run though the recipe names it.
        overrides: recipe entries by dotted key, as of `distill`.

    Raises:
        InputError: what `distill` would refuse.
        UntrustedError: the recipe names code that is not trusted.
    """
    lines = _lines(overrides)
    if seeds is not None:
        check_seeds(seeds, lines)
        lines += [f"seed={seeds[0]}"]
    recipe = found_from(load_recipe(_source(recipe), lines))
    plans = recipe.plans()
    with naming(recipe.name), trusting(trust_code, code_in_overrides(lines)):
        _looks(recipe)
        job = first_of([_randomly(plan) for plan in plans] if random_weights else plans, default_device())
    each = [f"trainings: one with each of the seeds {', '.join(map(str, seeds))}"] if seeds else []
    return [*summary(job), *each, "dry run: one batch went through; nothing was written"]


def _randomly(plan: Recipe) -> Recipe:
    models = {name: without_weights(uri) for name, uri in plan.teachers.models.items()}
    teachers = plan.teachers.model_copy(update={"models": models})
    student = plan.student.model_copy(update={"model": without_weights(plan.student.model)})
    return plan.model_copy(update={"teachers": teachers, "student": student})


def check(
    recipe: AnyRecipe,
    *,
    name: str = "recipe",
    processes: int = 1,
    price: float | None = None,
    out: str | Path | None = None,
    trust_code: Sequence[str] = (),
    **overrides: Any,
) -> Report:
    """Everything that can be known of a run before it starts; what would fail later is among the findings.

    Args:
        recipe: see `AnyRecipe`.
        name: what to call the recipe in the report.
        processes: the number of processes that will run it, each on a device like this one.
        price: the price of one hour of all processes together, in any currency. Without it the report has no price.
        out: the run folder, which need not exist. The check looks at the free space of its disk.
        trust_code: modules and URIs (without options) whose code may run though the recipe names it.
        overrides: recipe entries by dotted key, as of `distill`.

    Returns:
        The report: facts (times in hours, sizes in GB), findings, and `is_ready`.

    Raises:
        InputError: the recipe cannot be read. What else is wrong with it is a finding of the report.
        UntrustedError: the recipe names code that is not trusted.
    """
    lines = _lines(overrides)
    settings = found_from(load_recipe(_source(recipe), lines))
    place = Path(out) if out else None
    with trusting(trust_code, code_in_overrides(lines)):
        return check_recipe(settings, default_device(), name=name, processes=processes, price=price, out=place)


def finish(folder: Path, settings: Recipe, console: Console) -> Path:
    """Export, evaluation and report of a trained run; where one fails the next is still tried.

    Raises:
        UnfinishedError: one line for all that failed, which train.log has, too.
    """
    if not is_main_process():
        return folder
    settings = settings.plans()[-1]  # what the last stage has trained is what is shown
    parts: dict[str, Callable[[], object]] = {"export": lambda: export(folder)}
    if settings.eval.suite:
        parts["evaluation"] = lambda: _evaluate_run(folder, settings, console)
    parts |= {"model card": lambda: _refresh_card(folder), "report": lambda: report(folder)}
    with logged_to(folder):
        problems = _attempts(parts, "after the training", console)
    if problems:
        raise UnfinishedError(f"{folder} is trained and saved, but its {'; its '.join(problems)}")
    return folder


def _attempts(parts: Mapping[str, Callable[[], object]], when: str, console: Console) -> list[str]:
    """Does one part after another, and gives a line for each that fails."""
    problems = []
    for name, part in parts.items():
        tell(console, f"{when}: {name}")
        try:
            part()
        except PreemptedError:
            raise
        except Exception as error:  # the training is done and saved; nothing that follows may look like its failure
            if os.environ.get("UNIC_DEBUG"):
                raise
            problems.append(f"{name} failed: {in_one_line(error)}")
            log.error("%s", problems[-1])
    return problems


def evaluate(
    models: Given | Sequence[Given] | Mapping[str, Given],
    *,
    tasks: str | Sequence[str] | None = None,
    data: Mapping[str, str] | None = None,
    suite: str | Path | Mapping[str, Any] | None = None,
    seeds: Sequence[int] | None = None,
    roles: Mapping[str, str] | None = None,
    teachers: bool = True,
    out: str | Path | Sequence[str | Path] = (),
    cache: Path | None = None,
    jobs: int | None = None,
    workers: int = 0,
    data_root: Path | None = None,
    download: bool = False,
    skip_missing: bool = False,
    trust_code: Sequence[str] = (),
    console: Console | None = None,
) -> dict[str, Any]:
    """Measures encoders on the same images and returns the contents of `results.json`, see `Results`.

    What was measured once, by the content of weights and images, is not measured again.

    Args:
        models: one or several, or several by name: URIs (`NAME=URI` names a column), folders of runs or exports,
            encoders. A run folder (or `run:DIR`) stands for its student, a folder of several trainings for the mean of
            those that have ended. Code that a URI names is trusted.
        tasks: for example `["knn", "logistic(C=0.01)"]`, or one text with commas; default: the suite's. A task that the
            suite has keeps its options there but for those in brackets. `near=knn(k=1)` names the row. A dotted module
            is trusted.
        data: evaluation sets by name, `{"birds": "path/to/folder"}`; default: the suite's.
        suite: a shipped suite or a YAML file. Default: none if `data` is given; what the recipes of the runs name, if
            they name one and the same; else `quick`.
        seeds: default: the suite's.
        roles: "student", "teacher" or "other" by model name; by default runs are students, all else is other.
        teachers: also measure the teachers of each run, alone and concatenated, its start and raw pixels. A model that
            is in the table already gets no second column; one whose name is taken is called RUN/NAME.
        out: files to write, by suffix: .json, .csv, .md, .tex; .safetensors for the predicted classes.
        cache: folder where features and scores are kept; default: the user's (`$UNIC_CACHE`).
        jobs: processes that measure at a time; default: one for each GPU, 1 without.
        workers: processes that decode images for each of them.
        data_root: folder of the benchmark sets (default `$UNIC_DATA`, else `data/`).
        download: fetch missing sets, where their publishers allow that.
        skip_missing: leave out sets that are not there instead of refusing.
        trust_code: modules and URIs (without options) whose code may run though a run or a suite names it.
        console: where progress is shown (default: stderr).

    Returns:
        The contents of `results.json` (docs/evaluation.md).

    Returns:
        The JSON object; `unic.Results.load` of it has attributes with types in place of keys.

    Raises:
        InputError: unknown model, task or data set.
        UntrustedError: a run or a suite names code that is not trusted.
    """
    given = by_name(models)
    if not given:
        raise InputError("eval: expected at least one model, for example timm:vit_small_patch16_224 or a run folder")
    uris = typed(uri for uri in given.values() if isinstance(uri, str) and ":" in uri)  # a folder's name is no module's
    asked = parse_tasks(tasks or ())
    with trusting(trust_code, uris, code_asked_for(asked)):
        columns = columns_of(given, teachers=teachers, stages_of=_stages_of)
        console = console or stderr_console()
        for line in columns.left_out:
            tell(console, line)
        asked_roles = {columns.given.get(name, name): role for name, role in (roles or {}).items()}
        all_roles = columns.roles | without_joint(asked_roles, columns.trainings)
        runs = columns.runs
        chosen = None if data and not suite else load_suite(suite or _own_suite(runs))
        student = next((name for name in runs if all_roles[name] == "student"), None)
        if any(student in members for members in columns.trainings.values()):
            student = None  # a mean of trainings has no training of its own
        asks_influence = "influence" in ([one.task for one in asked] or (chosen.tasks if chosen else ()))
        written = (one.written for one in (*map(recipe_of, runs.values()), chosen) if one)
        results = evaluate_models(
            columns.models,
            all_roles,
            brought=columns.brought,
            trainings=columns.trainings,
            suite=chosen,
            tasks=tasks,
            data=data,
            seeds=seeds,
            heads={name: _heads(run, columns.teachers[name]) for name, run in runs.items()},
            out=[Path(target) for target in ([out] if isinstance(out, str | Path) else out)],
            cache=cache or default_cache_dir(),
            jobs=jobs,
            workers=workers,
            root=data_root,
            download=download,
            skip_missing=skip_missing,
            influence=_influence(runs[student]) if student and asks_influence else None,
            hidden=WithReferences().written_as(*written),
            console=console,
        )
    return results.as_dict()


def export(
    run: str | Path,
    to: str | Path | None = None,
    *,
    formats: Sequence[str] = ("timm",),
    heads: Sequence[str] = (),
    half: bool = False,
    dynamic_size: bool = False,
    check: bool = False,
    push: str | None = None,
    trust_code: Sequence[str] = (),
) -> Path:
    """Writes the student of a run in timm's own folder format with a model card, and further formats beside it.

    Options are checked first, and files come into the folder when all of them are there. To a folder that holds an
    export of the same model the further formats are added; its card and `parity.json` then tell of all that is there.

    Args:
        run: a run folder with at least one checkpoint.
        to: where to; default `RUN/export`, in which an earlier step's model is replaced, and its graphs removed.
        formats: of `unic.exporting.formats.FORMATS`; the timm folder is always written.
        heads: teachers in whose space the student is to answer too: a graph each, below `heads/`.
        half: of ONNX, a float16 graph as well.
        dynamic_size: of ONNX, free height and width (CNNs).
        check: load every export in a fresh process without unic and compare on images of the training set; the
            deviations are written to `parity.json`.
        push: also upload the folder to this repository of the Hugging Face hub, `ORG/NAME`.
        trust_code: modules and URIs (without options) whose code may run though the run names it: of a student, or a
            projector, of one's own. Teachers are not loaded.

    Returns:
        The folder, for `timm.create_model("local-dir:FOLDER", pretrained=True)`.

    Raises:
        InputError: no run, an unknown format or head, options that do not go with the formats or the network, a folder
            that holds something else, an export that differs from the encoder.
        UntrustedError: the student, or the projector of a head, is code that is not trusted.
    """
    check_formats(formats)
    folder = Path(run)
    check_run_folder(folder)
    target = Path(to) if to else folder / "export"
    if push:
        check_repository(push)
    check_writable(target, named=argument("to") if to else "run", kind="folder")
    trained = load_trained(folder)
    with trusting(trust_code):
        student, recipe = trained.student(), trained.recipe
        check_options(student, formats, heads=heads, half=half, dynamic_size=dynamic_size, check=check)
        kept = {name: kept_head(folder, name, device="cpu") for name in heads}
    found = model_in(target, student)
    if to:
        check_addition(target, found)
    made_of = provenance(trained.plans, trained.models)
    extra: dict[str, Any] = {"start": made_of.start, "teachers": made_of.teachers}
    extra |= {"recipe": recipe.model_dump(mode="json")} | ({"alpha": trained.alpha} if trained.interpolated else {})
    images = _some_images(recipe) if check else None
    options: dict[str, Any] = {"half": half, "dynamic_size": dynamic_size, "check": check}
    with staged(target) as stage:
        if found != "same":
            export_timm(student, stage, recipe.shared(extra), licence=made_of.licence.text)
        whole = target if found == "same" else stage
        parity = Parity.of(target) if found == "same" else Parity()
        parity.note(check_folder(student, whole, formats, images) if check else [], whole)
        parity.note(write_graphs(student, stage, formats, images, **options), stage)
        for name, head in kept.items():
            parity.note(write_graphs(head, stage / "heads" / name, formats, images, **options), stage)
        if found != "same":
            remove_graphs(target)
    parity.write(target)
    _write_model_card(folder, target, recipe, made_of, trained.alpha, push)
    if push:
        push_folder(target, push)
    return target


def _some_images(recipe: Recipe, count: int = 8) -> torch.Tensor | None:
    """A few centre squares of the training images, to compare exports on; None where they are gone."""
    try:
        source = open_source(recipe.data.train[0].path, limit=count)
        return next(view_batches(source, size=recipe.data.size, batch_size=count)).images.float() / 255
    except (InputError, StopIteration):
        return None


def _refresh_card(run: Path) -> None:
    """The card once more, now with the results."""
    if not (run / "export" / "config.json").is_file():
        raise InputError("there is no export that it could describe")
    trained = load_trained(run)
    _write_model_card(run, run / "export", trained.recipe, provenance(trained.plans, trained.models), trained.alpha)


def _write_model_card(
    run: Path, target: Path, recipe: Recipe, made_of: Provenance, alpha: float, hub: str | None = None
) -> None:
    file = run / "results.json"
    known = {"config.json": "architecture, input size, normalisation, provenance", "model.safetensors": "the weights"}
    known |= {
        "model.onnx": FORMATS["onnx"],
        "model_fp16.onnx": "the same in float16",
        "model.pt2": FORMATS["torch_export"],
    }
    known |= {"parity.json": "largest deviation of each export from the trained encoder"}
    files = {name: what for name, what in known.items() if (target / name).is_file()}
    if (target / "heads").is_dir():
        files["heads/"] = "the student in the space of a teacher, by name"
    measured = Results.read(file) if file.is_file() else None
    shown = recipe.shared(recipe.model_dump(mode="json"))
    made_of = Provenance(recipe.shared(made_of.start), recipe.shared(made_of.teachers))
    text = model_card(run.resolve().name, made_of, shown, measured, files, usage(target, hub), alpha)
    write_card(target, text)


def report(run: str | Path, to: str | Path | None = None) -> Path:
    """Writes `RUN/report.html` (or `to`), one self-contained page, and returns its path.

    Of a folder of several trainings it shows the table over all of them, and names the page of each. Code that the run
    names is not run: a teacher that is such code is missing from the pictures, with a note.

    Args:
        run: a run folder, or a folder of several trainings.
        to: the file to write; default: `report.html` in that folder.

    Raises:
        InputError: no run folder, or a file that cannot be written.
    """
    is_of_several = bool(trainings_in(Path(run)))
    folder = Path(run) if is_of_several else _run_folder(run)
    target = Path(to) if to else folder / "report.html"
    check_writable(target, named=argument("to", flag="--out") if to else "report")
    return write_trainings(folder, target) if is_of_several else write_report(folder, target)


def compare(runs: Sequence[str | Path], to: str | Path) -> Path:
    """Writes one self-contained page that compares several runs, and returns its path.

    Args:
        runs: two run folders or more.
        to: the file to write.

    Raises:
        InputError: fewer than two runs, no run folder, or a file that cannot be written.
    """
    folders = [_run_folder(run) for run in runs]
    check_writable(Path(to), named=argument("to", flag="--out"))
    return write_comparison(folders, Path(to))


def _run_folder(run: str | Path) -> Path:
    folder = Path(run)
    check_run_folder(folder, "report")
    return folder


def shard(
    data: str,
    out: str | Path,
    *,
    split: str | None = None,
    size: str = "1GB",
    samples: int | None = None,
    keep_order: bool = False,
    console: Console | None = None,
) -> dict[str, Any]:
    """Writes a set of images as WebDataset shards.

    Args:
        data: a path or a name, as of `open_source`.
        out: the folder of the shards: absent, empty, or begun by the same call.
        split: of a set that has several; default: "train", and a line says so where there are others.
        size: of a shard at most, unless one image alone is larger; with a unit (kB, MB, GB).
        samples: the number of images in a shard at most.
        keep_order: keep the order of the set; without, images are shuffled.
        console: where progress is shown (default: stderr).

    Returns:
        The manifest of the shards, as of `unic.data.shards.writing.write_shards`.

    Raises:
        InputError: an unknown set or split, a folder that holds something else, or a size that is none.
        StoppedError: a full disk.
    """
    console = console or stderr_console()
    with trusting(code_in_path(data)), console.status("sharding") as status:
        source, _ = _open_split(data, split, None, console)

        def report(done: int, total: int) -> None:
            status.update(f"sharding: {done}/{total} images")

        return write_shards(source, Path(out), size=size, samples=samples, keep_order=keep_order, report=report)


def synthesise(
    teachers: Given | Sequence[Given] | Mapping[str, Given],
    out: str | Path,
    *,
    images: int = Settings.images,
    size: int = Settings.size,
    start: str = Settings.start,
    pool: int = Settings.pool,
    subset: int = Settings.subset,
    redraw: int = Settings.redraw,
    steps: int = Settings.steps,
    lr: float = Settings.lr,
    variation: float = Settings.variation,
    seed: int = Settings.seed,
    precision: str = "auto",
    console: Console | None = None,
) -> dict[str, Any]:
    """Makes images by optimising pixels until frozen teachers tell them apart, and writes them as shards.

    A shard holds one pool. A folder in which the same call was stopped is gone on with, from its last whole pool, and
    gets the bytes that it would have had.

    Args:
        teachers: one or several, or several by name, as of `evaluate`. Their gradients must reach the pixels: a graph
            that runs outside of torch (`onnx:`) cannot take part.
        out: the folder of the shards: absent, empty, or begun by the same call.
        images: the number of images to make.
        size: their side in pixels.
        start: path of the images that the optimisation starts from, of which the first `images` are taken.
        pool: how many images are kept apart from one another; one pool is made at a time, and each is a shard.
        subset: how many images of a pool one step compares and changes.
        redraw: the number of steps with one subset.
        steps: the number of steps for a whole pool.
        lr: Adam's learning rate on pixels in [0, 1].
        variation: weight of the total variation, which keeps noise away.
        seed: of all draws.
        precision: "auto", "bf16" or "fp32".
        console: where progress is shown (default: stderr).

    Returns:
        The manifest of the shards, as of `shard`.

    Raises:
        InputError: no teacher, one without gradients, a number out of its range, or a folder that holds something else.
        StoppedError: a full disk, or an objective that is not finite.
    """
    named = by_name(teachers)
    if not named:
        raise InputError(f"{argument('teachers')}: expected at least one encoder")
    settings = Settings(images, size, start, pool, subset, redraw, steps, lr, variation, seed)
    check_writable(Path(out), named=argument("out"), kind="folder")
    with trusting(code_in_path(start)), Progress(console or stderr_console()) as progress:
        encoders = {
            name: load_encoder(model, device=default_device(), precision=precision) for name, model in named.items()
        }
        source = Synthesised(encoders, settings, progress.show)
        return write_shards(source, Path(out), samples=settings.pool, keep_order=True)


def encode(
    model: str | Path | Encoder,
    data: str | Path,
    out: str | Path,
    *,
    split: str | None = None,
    patches: bool = False,
    limit: int | None = None,
    precision: str = "auto",
    batch_size: int = 64,
    workers: int = 0,
    console: Console | None = None,
) -> Path:
    """Writes an encoder's features of a set of images as safetensors.

    The file holds `cls (n, D)`, `patch_mean (n, E)`, `index (n,)`, `labels (n,)` if the images are labelled and, on
    request, `patches (n, N, E)` in float16. Damaged images are left out; `index` says which images of the whole set
    are there. Its metadata hold the model's URI, the set, and the names of images and classes (docs/data.md).

    Args:
        model: as of `load_encoder`; an encoder is used where it is.
        data: a path or a name, as of `open_source`.
        out: a file that ends in .safetensors.
        split: of a set that has several; default: "train", and a line says so where there are others.
        patches: also keep every patch token.
        limit: a fixed random subset of so many images.
        precision: "auto", "bf16" or "fp32".
        batch_size: images at a time.
        workers: processes that decode images.
        console: where progress is shown (default: stderr).

    Returns:
        The file.

    Raises:
        InputError: an unknown model, set or split, or another ending of the file.
    """
    target = Path(out)
    if target.suffix != ".safetensors":
        raise InputError(f"{argument('out')} {target}: expected a file that ends in .safetensors")
    check_writable(target, named=argument("out"))
    console = console or stderr_console()
    is_loaded = isinstance(model, Encoder)
    encoder = load_encoder(model, device=None if is_loaded else default_device(), precision=precision)
    with trusting(code_in_path(str(data))), console.status("encoding") as status:
        source, taken = _open_split(str(data), split, limit, console)
        features = extract(
            encoder,
            source,
            patch_grid="own" if patches else None,
            batch_size=batch_size,
            workers=workers,
            cache=default_cache_dir(),
            progress=lambda done, total: status.update(f"encoding {done}/{total} images"),
        )
    write_features(features, encoder, source, target, split=taken)
    return target


def _open_split(data: str, split: str | None, limit: int | None, console: Console) -> tuple[Source, str | None]:
    """A set, and which split of it that is, where it has several. A default that leaves images out is said."""
    source = open_source(data, limit) if split is None else open_source(data, limit, split)
    splits = splits_of(data)
    taken = split or ("train" if len(splits) > 1 or "{split}" in data else None)
    if split is None and taken:
        others = f" of {', '.join(splits)}" if splits else ""
        text = f"data '{data}': only its split '{taken}'{others} is read; {argument('split')} names another"
        tell(console, text)
    if source.classes is None and source.why_unlabelled:
        tell(console, f"data '{data}': no labels: {source.why_unlabelled}")
    return source, taken


def cache_folder(recipe: Recipe) -> Path:
    """Where features of this recipe are kept: its teacher cache's folder if it names one, else the user's."""
    setting = recipe.teachers.cache
    return Path(setting.dir) if setting and setting.dir else default_cache_dir()


def _evaluate_run(folder: Path, settings: Recipe, console: Console) -> None:
    results = Results.load(
        evaluate(
            [str(folder)],
            suite=settings.eval.suite,
            out=[folder / name for name in results_files(folder)],
            cache=cache_folder(settings),
            console=console,
        )
    )
    if failed := results.failed():
        raise StoppedError(f"{len(failed)} cells, the first is {failed[0]}")


def results_files(folder: Path) -> list[str]:
    """What an evaluation of a run, or of several trainings, leaves in its folder; predictions are each training's."""
    return ["results.json"] if trainings_in(folder) else ["results.json", "predictions.safetensors"]


def _own_suite(runs: Mapping[str, Path]) -> str | dict[str, Any] | None:
    """The suite that all the runs name in their recipes; None without one."""
    named = [_stages_of(run)[-1].eval.suite for run in runs.values()]
    return named[0] if named and all(suite == named[0] for suite in named) else None


def _stages_of(run: Path) -> list[Recipe]:
    """The stages of a run, with what it has recorded of its models."""
    return [in_run(plan, run) for plan in recipe_of(run).plans()]


def _heads(run: Path, called: Mapping[str, str]) -> Heads:
    """The kept heads of a run, by what their teachers are called in the table."""
    return {called[teacher]: load for teacher, load in heads_of(run).items()}


def _influence(run: Path) -> Influence | None:
    """What only the training knows of its teachers' influence; a run without checkpoints or metrics knows nothing."""
    try:
        return Influence(**shares(run))
    except UntrustedError:
        raise
    except (InputError, OSError, ValueError, KeyError) as error:
        log.warning("no shares of influence of %s: %s", run, error)
        return None


def _source(recipe: AnyRecipe) -> str | Path | dict[str, Any] | Recipe:
    return dict(recipe) if isinstance(recipe, Mapping) else recipe


def _lines(overrides: Mapping[str, Any]) -> list[str]:
    """`key=value` of keyword arguments, with values as inline YAML (JSON is a part of it)."""
    return [f"{key.replace('__', '.')}={json.dumps(value)}" for key, value in overrides.items()]
