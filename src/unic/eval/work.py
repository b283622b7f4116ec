"""The work of an evaluation: one model on one set at a time, in this process or in several."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from unic import processes
from unic.arguments import argument
from unic.cores import threads_beside
from unic.errors import NotApplicableError, StoppedError, in_one_line
from unic.eval.cells import CellStore
from unic.eval.datasets import DataPair
from unic.eval.entrants import Entrant
from unic.eval.outcome import Outcome
from unic.eval.plan import PlanRow
from unic.eval.subject import Say, Subject, View
from unic.trust import inherit, trusted


@dataclass(frozen=True)
class Todo:
    """A cell and seed that is not finished yet. `is_kept`: its outcome is kept after this evaluation."""

    row: PlanRow
    seed: int
    key: str
    is_kept: bool = True


@dataclass(frozen=True)
class Failure:
    """The reason why a cell is empty. `skipped`: the task is not applicable to the model, which is no fault."""

    title: str
    model: str
    reason: str
    skipped: bool = False


@dataclass(frozen=True)
class Unit:
    """The missing cells of one model on one set.

    `scratch` is a folder of this evaluation, see `CellStore`; `view` is that of tasks that set no other.
    """

    model: str
    entrants: Mapping[str, Entrant]
    pair: DataPair
    size: int | None
    cache: Path
    scratch: Path
    todo: Sequence[Todo]
    workers: int = 0
    view: View = "square"
    store: CellStore = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "store", CellStore(self.cache / "cells", self.scratch))

    @property
    def is_local(self) -> bool:
        return any(entrant.is_local for entrant in self.entrants.values())

    def run(self, say: Say = lambda _: None, advance: Callable[[], None] = lambda: None) -> list[Failure]:
        """Measures and stores every cell. Failures are returned and do not stop the others."""
        failures: dict[str, Failure] = {}
        subject = self.subject(self.model, say)
        for todo in self.todo:
            say(f"{todo.row.title}: {self.model}")
            title = todo.row.title
            if title not in failures:  # another seed would fail in the same way
                try:
                    self.store.save(todo.key, _measure(todo, subject), is_kept=todo.is_kept)
                except NotApplicableError as error:
                    failures[title] = Failure(title, self.model, str(error), skipped=True)
                except Exception as error:  # reported in its cell; the other cells are measured
                    failures[title] = Failure(title, self.model, in_one_line(error))
            advance()
        return list(failures.values())

    def rest(self, advance: Callable[[int], None]) -> Unit:
        """The unit without the cells that a process finished before it died."""
        todo = [
            entry
            for entry in self.todo
            if self.store.load(entry.key, entry.row.task.measure, is_kept=entry.is_kept) is None
        ]
        advance(len(self.todo) - len(todo))
        return replace(self, todo=todo)

    def subject(self, name: str, say: Say) -> Subject:
        entrant = self.entrants[name]
        subject = Subject(
            name, entrant.role, self.pair, entrant.load, vector=entrant.vector, size=self.size, view=self.view,
            cache=self.cache, workers=self.workers, say=say, heads=entrant.heads,
            members=[self.subject(member, say) for member in entrant.members],
        )  # fmt: skip
        if entrant.role == "teacher":
            return subject
        teachers = [other for other in self.entrants.values() if other.role == "teacher" and not other.members]
        return replace(subject, teachers={other.name: self.subject(other.name, say) for other in teachers})


def _measure(todo: Todo, subject: Subject) -> Outcome:
    entry, task = todo.row.entry, todo.row.task
    run = task.run
    subject = subject.viewed(entry.view or subject.view)
    if entry.head:
        subject = subject.through(entry.head)
    if todo.row.input == "subject":
        # A task must not read what the key of its outcome does not cover.
        outcome = run(subject if task.reads_teachers else subject.alone(), seed=todo.seed, **entry.options)
    elif todo.row.input == "dense":
        parts = [subject.dense(part, blocks=entry.blocks or ()) for part in ("train", "test")]
        outcome = run(*parts, seed=todo.seed, **entry.options)
    elif todo.row.input == "live":
        images = [subject.live(part, blocks=entry.blocks or ()) for part in ("train", "test")]
        outcome = run(*images, seed=todo.seed, **entry.options)
    else:
        vectors = [subject.labelled(part, vector=entry.vector) for part in ("train", "test")]
        outcome = run(*vectors, seed=todo.seed, **entry.options)
    assert isinstance(outcome, Outcome), f"task '{task.name}' returned {type(outcome).__name__}, not an Outcome"
    return outcome


def run_units(units: Sequence[Unit], jobs: int, say: Say, advance: Callable[[int], None]) -> Iterator[Failure]:
    """Runs all units and yields each failure when it happens.

    Args:
        jobs: number of processes, which share the cores and use the GPUs in turn; 1: this process.
    """
    if jobs <= 1 or len(units) <= 1 or any(unit.is_local for unit in units):
        for unit in units:
            yield from unit.run(say, lambda: advance(1))
        return
    queue, suspects = deque(units), list[Unit]()
    while queue:
        suspects += yield from _pooled(queue, jobs, advance)
    # If a process dies, its pool ends. Then each unit that was running gets a process of its own, and if that dies,
    # each of its cells does, so that only the cell at fault is lost.
    for unit in suspects:
        for again in (yield from _pooled(deque([unit.rest(advance)]), 1, advance)):
            for todo in again.rest(advance).todo:
                if (yield from _pooled(deque([replace(unit, todo=[todo])]), 1, advance)):
                    advance(1)
                    yield Failure(todo.row.title, unit.model, "its process died, three times (out of memory?)")


def _pooled(queue: deque[Unit], jobs: int, advance: Callable[[int], None]) -> Generator[Failure, None, list[Unit]]:
    """Runs units of the queue in one pool. Returns those that were running when a process of the pool died."""
    died: list[Unit] = []
    running: dict[Future[list[Failure]], Unit] = {}
    with _pool(min(jobs, len(queue)), max(unit.workers for unit in queue)) as pool:
        while running or (queue and not died):
            while queue and not died and len(running) < jobs:
                unit = queue.popleft()
                try:
                    running[pool.submit(unit.run)] = unit
                except BrokenProcessPool:
                    died.append(unit)
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                unit = running.pop(future)
                try:
                    yield from future.result()
                except BrokenProcessPool:
                    died.append(unit)
                    continue
                except Exception as error:  # the unit, or its answer, could not be sent between processes
                    for title in dict.fromkeys(todo.row.title for todo in unit.todo):
                        yield Failure(title, unit.model, in_one_line(error))
                advance(len(unit.todo))
    return died


@contextmanager
def _pool(jobs: int, workers: int = 0) -> Iterator[ProcessPoolExecutor]:
    threads = threads_beside(workers, jobs)
    context = processes.Spawning()
    with processes.threads_each(threads):
        try:
            start = (context.Value("i", 0), threads, trusted())
            pool = ProcessPoolExecutor(jobs, context, initializer=_start, initargs=start)
        except OSError as error:  # the locks of its counter and its queues
            raise StoppedError(
                f"eval: {argument('jobs', jobs)} needs some free space in /dev/shm ({error}); "
                f"{argument('jobs', 1)} needs none"
            ) from None
        try:
            yield pool
        except BaseException:  # a signal, for example; the work of the processes may take hours
            processes.end(context.children)
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _start(counter: Any, threads: int, trusted_code: Sequence[str]) -> None:
    """Sets up a new process: the code that its parent trusts, its number of threads, and its GPU."""
    inherit(trusted_code)
    torch.set_num_threads(threads)
    with counter.get_lock():
        index = counter.value
        counter.value += 1
    if torch.cuda.is_available():
        torch.cuda.set_device(index % torch.cuda.device_count())
