"""A stage of a run that begins, for benchmarks that time its steps."""

from __future__ import annotations

from pathlib import Path

from accelerate import Accelerator
from rich.console import Console

from unic.distill.job import Job
from unic.distill.recorded import NONE, Record
from unic.distill.run import Run
from unic.distill.stage import Stage
from unic.distill.start import Start
from unic.run_state import Position
from unic.signals import StopSignals


def stage_of(job: Job, folder: Path, accelerator: Accelerator) -> Stage:
    run = Run(job.recipe, folder, accelerator, Console(quiet=True), StopSignals())
    return Stage(run, job, Position(), Record(job, NONE), Start.of(job, [job.recipe]))
