"""The teachers of a stage: live, or their cache, which all processes build together before the first step."""

from __future__ import annotations

from unic.arguments import argument
from unic.errors import PreemptedError, Remedy
from unic.training.stage import Stage
from unic.training.teacher_cache import open_cache
from unic.training.teachers import Teachers


def open_teachers(stage: Stage) -> Teachers:
    """Opens the teachers of a stage, and builds their cache if the recipe has one.

    Raises:
        PreemptedError: a signal arrived while the cache was built, here or in another process.
    """
    run, job = stage.run, stage.job
    if job.recipe.teachers.cache is None:
        return job.live_teachers(compile=job.recipe.train.compile)
    rank, world_size = run.accelerator.process_index, run.accelerator.num_processes

    def end_if_asked(when: str) -> None:
        if is_asked_to_stop():
            remedy = Remedy("continue", argument("resume", True))
            raise PreemptedError(f"stopped by a signal {when}", remedy=remedy)

    def report(line: str) -> None:
        end_if_asked("while the teacher cache was built")
        status.update(line)

    with (
        run.console.status("teacher cache") as status,
        run.agreement.waiting(run.stops) as is_asked_to_stop,
        run.at_once("while the teacher cache was built"),
    ):
        cached = open_cache(job, rank, world_size, run.announce, report)
    # Another process may have been told to stop after this one built its part.
    end_if_asked(f"before step {stage.position.step + 1}")
    return cached
