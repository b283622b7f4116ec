"""Several trainings at a time, each in a process of its own with its share of the cores and the next GPU.

A signal reaches this process alone (`unic.processes`). It tells its children to save and to end, and waits for them.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Generator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple

import torch

from unic import processes
from unic.cores import threads_beside
from unic.errors import LostPeerError, PreemptedError, StoppedError, UnicError, in_one_line
from unic.signals import stop_signals, undivided
from unic.sweeps.plan import Training
from unic.trust import inherit, trusted

Work = Callable[[Training], None]
_STOP = [signal.SIGUSR1] if hasattr(signal, "SIGUSR1") else []  # Windows has none: children are killed there


class _Running(NamedTuple):
    training: Training
    child: BaseProcess
    answer: Connection
    slot: int


def run_each(
    trainings: Sequence[Training], jobs: int, work: Work
) -> Generator[tuple[Training, Exception | None], None, None]:
    """Does `work` for each training; yields each one that has ended, with what it failed by.

    A training that resumes another one of these waits for it.

    Args:
        trainings: in the order in which they begin.
        jobs: how many at a time, at least two.
        work: a function that a fresh process can import.
    """
    queue, running = list(trainings), list[_Running]()
    try:
        while queue or running:
            while len(running) < jobs and (ready := _first_ready(queue, running)):
                with undivided():  # a child that has started is in the list, and is told of a signal
                    queue.remove(ready)
                    slot = min(set(range(jobs)) - {one.slot for one in running})
                    running.append(_started(ready, slot, jobs, work))
            for answer in wait([one.answer for one in running]):
                ended = next(one for one in running if one.answer is answer)
                running.remove(ended)
                error = _answered(ended)
                if isinstance(error, PreemptedError):  # the signal reached the child as well
                    raise error
                yield ended.training, error
    except KeyboardInterrupt:
        raise
    except BaseException:  # a signal, here or in the caller: what they have done is to be saved
        for one in running:
            _ask_to_stop(one.child)
        for one in running:
            one.child.join()
        raise
    finally:
        processes.end(one.child for one in running)


def _first_ready(queue: Sequence[Training], running: Sequence[_Running]) -> Training | None:
    to_come = {training.run for training in queue} | {one.training.run for one in running}
    return next((training for training in queue if training.resumes not in to_come), None)


def _started(training: Training, slot: int, jobs: int, work: Work) -> _Running:
    context = processes.Spawning(hears=_STOP)
    theirs, ours = context.Pipe()
    with processes.threads_each(threads_beside(training.recipe.data.workers, jobs)):
        child = context.Process(target=_child, args=(work, training, slot, trusted(), theirs))
        child.start()
    theirs.close()  # so that the end of the child is the end of what can be read
    return _Running(training, child, ours, slot)


def _answered(one: _Running) -> Exception | None:
    error: Exception | None
    try:
        error = one.answer.recv()
    except EOFError:
        error = LostPeerError("its process died (out of memory?)")
    one.child.join()
    return error


def _ask_to_stop(child: BaseProcess) -> None:
    if child.pid is None or not child.is_alive():
        return
    if not _STOP:
        child.kill()
    for number in _STOP:
        os.kill(child.pid, number)


def _child(work: Work, training: Training, slot: int, names: Sequence[str], answer: Any) -> None:
    """Work of a process: one training. It answers what the training failed by, or None."""
    inherit(names)
    if torch.cuda.is_available():
        torch.cuda.set_device(slot % torch.cuda.device_count())
    try:
        with stop_signals() as stops, stops.at_once():
            if _STOP:  # its parent's, see `_ask_to_stop`; it may have arrived long ago
                signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP)
            work(training)
    except UnicError as error:
        # No other kind: one of somebody's own code may not be known in the parent.
        kind = PreemptedError if isinstance(error, PreemptedError) else StoppedError
        answer.send(kind(error.text, remedy=error.remedy))
    except Exception as error:
        answer.send(StoppedError(in_one_line(error)))
    else:
        answer.send(None)
