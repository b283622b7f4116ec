"""A stage of a run: a job, and what changes while it trains. It owns its parts, saves and restores them."""

from __future__ import annotations

import copy
from collections.abc import Iterator

from unic.data.batch import Batch
from unic.data.loader import training_batches
from unic.data.mix import Mix
from unic.encoders import Encoder
from unic.runs import checkpoint
from unic.runs import state as run_state
from unic.runs.checkpoint import Checkpoint
from unic.runs.folder import RunFolder
from unic.runs.state import Position, Stateful, as_parts
from unic.training import engine, parts
from unic.training.ema import Ema
from unic.training.guard import Guard
from unic.training.identity import Identity
from unic.training.job import Job
from unic.training.optimizer import learning_rate
from unic.training.parts import OptimizerState, TorchRng
from unic.training.patience import Patience
from unic.training.places import Places
from unic.training.recorded import Record
from unic.training.rules import first_learning_rate
from unic.training.run import Run
from unic.training.start import Start


class Stage:
    """One stage of a run.

    Args:
        run: the run that it belongs to.
        job: built for this stage.
        position: stage and step of the run.
        record: the facts of its models and of those of the stages before.
        start: weights that the student started from.

    Attributes:
        run, job, position, record, start: as above.
        identity: facts that a resumed run must share with its checkpoint.
        ema: the moving average, if there is one.
        guard: counts steps that are not finite.
        patience: counts k-NN evaluations without a new best score.
        news: lines about its start: losses whose state starts anew; after a resume, the checkpoint and files that have
            moved.
    """

    def __init__(self, run: Run, job: Job, position: Position, record: Record, start: Start) -> None:
        self.run, self.job, self.position, self.record, self.start = run, job, position, record, start
        train = job.recipe.train
        self.identity = Identity(job, run.recipe)
        self.ema = None if train.ema is None else Ema(job.distiller, train.ema)
        self.guard = Guard(train, job.device)
        self.patience = Patience(job.recipe.eval.patience)
        self.news: list[str] = []
        is_sharded = train.engine == "fsdp" and run.accelerator.num_processes > 1
        self._deployed = copy.deepcopy(job.student) if self.ema is not None or is_sharded else None

    @property
    def is_last(self) -> bool:
        return self.position.stage + 1 >= self.run.num_stages

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to train in the whole run."""
        return bool(self.position.is_finished) and self.is_last

    @property
    def last_step(self) -> int:
        """The step with which this stage ends, counted through all stages."""
        return self.position.first + self.job.total_steps

    def progress(self, step: int) -> int:
        """The step counted within this stage, from 1: each stage has schedules of its own."""
        return step - self.position.first

    def learning_rate(self, step: int) -> float:
        job = self.job
        schedule = first_learning_rate if self.record.is_of_before else learning_rate
        rate = schedule(self.progress(step), job.total_steps, job.warmup_steps, job.peak_lr, job.recipe.train.min_lr)
        return rate * self.guard.lr_scale

    def batches(self) -> Iterator[Batch]:
        """The micro-batches of this process for the rest of the stage."""
        job, recipe, accelerator = self.job, self.job.recipe, self.run.accelerator
        cache = recipe.teachers.cache
        before = (self.position.first_epoch or 0) * job.steps_per_epoch  # so that a later stage sees new views
        return training_batches(
            job.images,
            size=recipe.data.sizes or recipe.data.size,
            augment=recipe.data.augment,
            seed=recipe.seed,
            batch_size=recipe.train.batch_size,
            first_step=before + self.progress(self.position.step) + 1,
            num_steps=before + job.total_steps,
            micro_batches=recipe.train.micro_batches,
            rank=accelerator.process_index,
            world_size=accelerator.num_processes,
            workers=recipe.data.workers,
            timeout=recipe.data.timeout,
            num_views=cache.views if cache else None,
            mix=Mix.of(recipe.data.mix),
            pin_memory=job.device.type == "cuda",
        )

    def deployed(self) -> Encoder:
        """The student as it would be exported now, for evaluation. Every process must call it."""
        if self._deployed is None:
            return self.job.student.eval()
        weights = engine.whole(self.ema.tensors if self.ema else self.job.distiller.state_dict())
        self._deployed.load_state_dict(checkpoint.without_prefix("student.", weights))
        return self._deployed.eval()

    def parts(self) -> dict[str, Stateful]:
        """Everything that a checkpoint holds, in the order in which it is restored."""
        found: dict[str, Stateful] = {
            run_state.IDENTITY: self.identity,
            run_state.RECORD: self.record,
            run_state.PLACES: Places(self.run.recipe),
            run_state.POSITION: self.position,
            run_state.DISTILLER: self.job.distiller,
            run_state.STANDARDIZER: self.job.standardizer,
            run_state.START: self.start,
            run_state.OPTIMIZER: OptimizerState(self.job),
            run_state.RNG: TorchRng(),
            run_state.DAMAGED: self.run.damaged,
            run_state.GUARD: self.guard,
            run_state.PATIENCE: self.patience,
            run_state.SAVER: self.run.saver,
        }
        # Learned parts that not every recipe has come after the others, and only with a state, as in earlier versions.
        found |= {name: part for name, part in self.job.learned().items() if part.state_dict()}
        return found | ({run_state.EMA: self.ema} if self.ema else {})

    def save(self, *, is_last: bool) -> None:
        """Saves a checkpoint. Every process must call it.

        Args:
            is_last: whether the run ends after it.
        """
        run = self.run
        tensors, state = parts.saved(self.parts(), keep=run.is_main)
        if run.is_main:
            run.saver.save(self.position.step, tensors, state, must=is_last)
            run.damaged.write(RunFolder(run.folder).damaged)
        run.accelerator.wait_for_everyone()

    def restore(self, found: Checkpoint) -> None:
        """Resumes from a checkpoint.

        Raises:
            InputError: it belongs to a run that trains something else.
        """
        parts.restore(self.parts(), found.tensors, as_parts(found.step, found.state))
        resumed = f"resumed after step {found.step}, from checkpoints/step-{found.step} of {self.run.folder}"
        self.news = [*self.identity.moved, resumed]
