"""Diagnosis of a step that was not finite: runs its batch again part by part, and saves what reproduces it anywhere.

RUN/non_finite/step-120.safetensors    the batch, the trained parts, statistics and states at that step
RUN/non_finite/step-120.json           the teachers, images, weights and gradients that are not finite; the recipe of
                                       the stage
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.distributed.tensor import DTensor

from unic.arguments import as_flags
from unic.data.batch import Batch
from unic.device import default_device
from unic.errors import InputError, reason_of
from unic.files import write_text, written
from unic.recipe.schema import load_recipe
from unic.runs.checkpoint import without_prefix
from unic.runs.folder import RunFolder
from unic.tokens import Tokens
from unic.training import parts
from unic.training.build import build
from unic.training.job import Job
from unic.training.step import batch_loss
from unic.training.teachers import Teachers
from unic.training.untraced import untraced
from unic.training.window import BatchLoss
from unic.trust import trusting


def diagnose(job: Job, teachers: Teachers, step: int, batches: Sequence[Batch]) -> dict[str, Any]:
    """Runs a step again without an update. Random draws are keyed by the step, so they are the same as before.

    Returns:
        `teachers`: for each teacher the number of images whose tokens (`output`), standardised tokens (`target`) and
        loss (`loss`) are not finite; `images`: index, name and teachers of each such image; `parameters` and
        `gradients`: the first names that are not finite; `weighed`: whether the denominator of the loss is not 0.
    """
    rows = {name: {"output": 0, "target": 0, "loss": 0} for name in job.encoders}
    images: list[dict[str, Any]] = []
    denominator = 0.0
    with untraced(job):
        for batch in batches:
            loss = batch_loss(job, teachers, batch, step)
            loss.numerator.backward()
            denominator += float(loss.denominator)
            images += _bad_images_of(job, batch, loss, rows)
        named = list(job.distiller.named_parameters())
        return {
            "step": step,
            "num_images": sum(map(len, batches)),
            "teachers": rows,
            "images": images,
            "parameters": [name for name, p in named if not _is_finite(p)][:5],
            "gradients": [name for name, p in named if p.grad is not None and not _is_finite(p.grad)][:5],
            "weighed": denominator != 0,
        }


def _bad_images_of(
    job: Job, batch: Batch, loss: BatchLoss, rows: dict[str, dict[str, int]]
) -> Iterator[dict[str, Any]]:
    """The images of a batch that are not finite for some teacher; adds their counts to `rows`."""
    bad: dict[int, tuple[str, ...]] = dict.fromkeys(range(len(batch)), ())
    for name, losses in zip(job.encoders, loss.terms.losses, strict=True):
        output, target = _is_bad(loss.outputs[name]), _is_bad(loss.targets[name])
        of_loss = ~torch.isfinite(losses).cpu()
        for what, mask in (("output", output), ("target", target), ("loss", of_loss)):
            rows[name][what] += int(mask.sum())
        for place in (output | target | of_loss).nonzero()[:, 0].tolist():
            bad[place] = (*bad[place], name)
    index = batch.index.tolist()
    for place, names in bad.items():
        if names:
            yield {"index": index[place], "name": job.images.name(index[place]), "teachers": list(names)}


def explain(found: Mapping[str, Any]) -> str:
    """The diagnosis as one line, its first cause first."""
    total, first = found["num_images"], next(iter(found["images"]), None)
    example = f" (the first: {first['name']})" if first else ""
    for name, row in found["teachers"].items():
        if row["output"]:
            return f"teacher '{name}' gives tokens that are not finite for {row['output']} of {total} images{example}"
    for name, row in found["teachers"].items():
        if row["target"]:
            return f"the statistics of teacher '{name}' are not finite"
    if found["parameters"]:
        return f"a weight of the student or its projectors is not finite: {found['parameters'][0]}"
    for name, row in found["teachers"].items():
        if row["loss"]:
            return f"the loss to teacher '{name}' is not finite for {row['loss']} of {total} images{example}"
    if found["gradients"]:
        return f"the losses are finite, but a gradient is not: {found['gradients'][0]}"
    if not found["weighed"]:
        return f"the losses are finite, but the weighting gives all {total} images the coefficient 0 for all teachers"
    return "the same batch is finite when it is run again; the cause is another process's batch, or the hardware"


def write_case(job: Job, teachers: Teachers, folder: Path, step: int, batches: Sequence[Batch], rank: int = 0) -> str:
    """Diagnoses a step and saves what reproduces it below `folder/non_finite`. Every process must call it.

    Returns:
        One line: the cause and the file.
    """
    found = diagnose(job, teachers, step, batches)
    name = f"step-{step}" if rank == 0 else f"step-{step}-rank-{rank}"
    case = RunFolder(folder).non_finite / f"{name}.json"
    tensors = {
        **{f"batch.{n}.{key}": getattr(b, key) for n, b in enumerate(batches) for key in ("images", "index", "view")},
        **parts.saved(job.learned(), keep=True)[0],
    }
    try:
        with written(_tensors_of(case)) as partial:
            save_file({key: value.detach().cpu().contiguous() for key, value in tensors.items()}, partial)
        text = json.dumps({**found, "recipe": job.recipe.model_dump(mode="json")}, indent=1)
        write_text(case, text)
    except Exception as error:  # a failed save must not hide the cause
        return f"{explain(found)}; the batch could not be saved: {reason_of(error)}"
    return f"{explain(found)}; the batch is saved: `python -m unic.training.diagnosis {case}` runs it again"


def replay(case: str | Path, *, trust_code: Sequence[str] = ()) -> dict[str, Any]:
    """Builds the stage of a saved step, restores the saved tensors and diagnoses the saved batch again.

    Teachers run live, even if the run read their tokens from a cache.

    Args:
        case: `RUN/non_finite/step-N.json`.
        trust_code: modules and URIs (without options) named by the case whose code may run.

    Raises:
        InputError: no such file.
        UntrustedError: the case names code that is not trusted.
    """
    case = Path(case)
    if not (case.is_file() and _tensors_of(case).is_file()):
        raise InputError(f"case {case}: expected RUN/non_finite/step-N.json with the .safetensors file beside it")
    tensors = load_file(_tensors_of(case))
    device = default_device()
    found = json.loads(case.read_text(encoding="utf-8"))
    with trusting(trust_code):
        job = build(load_recipe(found.get("recipe") or RunFolder(case.parents[1]).recipe, has_begun=True), device)
    parts.restore(job.learned(), tensors)
    saved = without_prefix("batch.", tensors)
    micro_batches = sorted({int(key.partition(".")[0]) for key in saved})
    try:
        batches = [Batch(saved[f"{n}.images"], saved[f"{n}.index"], saved[f"{n}.view"]) for n in micro_batches]
    except KeyError as error:
        raise InputError(f"case {case}: it has no tensor {error}; another version of unic wrote it") from None
    return diagnose(job, job.live_teachers(), found["step"], batches)


def _tensors_of(case: Path) -> Path:
    return case.with_suffix(".safetensors")


def _is_finite(tensor: Tensor) -> bool:
    return bool(torch.isfinite(tensor.full_tensor() if isinstance(tensor, DTensor) else tensor).all())


def _is_bad(tokens: Tokens) -> Tensor:
    """Whether each image has a token that is not finite; `(b,)`, on the CPU."""
    finite = torch.isfinite(tokens.cls).flatten(1).all(1) & torch.isfinite(tokens.patches).flatten(1).all(1)
    return ~finite.cpu()


def main() -> None:
    """`python -m unic.training.diagnosis CASE [--trust-code NAME]…`"""
    parser = argparse.ArgumentParser(prog="python -m unic.training.diagnosis", description="Run a saved step again.")
    parser.add_argument("case", help="RUN/non_finite/step-N.json")
    trust = "Module or URI whose code may run, as for unic distill. Repeatable."
    parser.add_argument("--trust-code", action="append", default=[], metavar="NAME", help=trust)
    given = parser.parse_args()
    try:
        with as_flags():
            result = replay(given.case, trust_code=given.trust_code)
    except InputError as error:
        parser.exit(error.exit_code, f"unic: {error}\n")
    print(json.dumps(result, indent=1))
    print(explain(result))


if __name__ == "__main__":
    main()
