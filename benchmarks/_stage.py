"""The first stage of a run, for benchmarks that time training steps."""

from __future__ import annotations

from pathlib import Path

from accelerate import Accelerator
from rich.console import Console

from unic.runs.state import Position
from unic.signals import StopSignals
from unic.training.job import Job
from unic.training.recorded import Models, Record
from unic.training.run import Run
from unic.training.stage import Stage
from unic.training.start import Start


def stage_of(job: Job, folder: Path, accelerator: Accelerator) -> Stage:
    run = Run(job.recipe, folder, accelerator, Console(quiet=True), StopSignals())
    return Stage(run, job, Position(), Record(job, Models()), Start.of(job, [job.recipe]))
