"""Agreement between the processes of a run, and one clear line when another process dies or hangs.

A killed process closes its connections, so the others learn of it at once. They wait for a hanging one at most
`train.timeout` seconds. Then every survivor ends with one line; `--resume` continues from the newest checkpoint.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from threading import Event, Thread
from typing import Any

import torch
import torch.distributed as dist
from accelerate import Accelerator
from accelerate.utils import InitProcessGroupKwargs

from unic.arguments import argument
from unic.errors import LostPeerError, Remedy, StoppedError

# What gloo, NCCL and the store say when a peer is gone or silent; torch has no common type for it.
_GONE = re.compile(r"connection (closed|reset|refused)|broken pipe|peer|socket error|remote process exited", re.I)
_SILENT = re.compile(r"tim(ed|e) ?out", re.I)
_ABOUT_PEERS = re.compile(r"gloo|nccl|c10d|process ?group|store", re.I)


def process_group(timeout: int) -> InitProcessGroupKwargs:
    """A handler for `Accelerator(kwargs_handlers=[…])`: no collective call waits longer than `timeout` seconds."""
    return InitProcessGroupKwargs(timeout=timedelta(seconds=timeout))


class Agreement:
    """Gives all processes the same answer to a question, for example whether the run shall stop.

    A signal or a damaged image reaches one process. If only that one stopped, the others would wait for it. On GPUs
    the question has a gloo group of its own, so that it does not wait for the device.
    """

    def __init__(self, accelerator: Accelerator, timeout: int) -> None:
        self._group: Any = None  # the default group
        self._alone = accelerator.num_processes == 1
        self._beat = min(timeout / 4, 10)  # seconds from one sign of life to the next
        if not self._alone and accelerator.device.type != "cpu":
            self._group = dist.new_group(backend="gloo", timeout=timedelta(seconds=timeout))

    def any(self, *flags: bool) -> list[bool]:
        """For each flag, whether any process has set it. Every process must call it."""
        if self._alone:
            return list(flags)
        answers = torch.tensor([int(flag) for flag in flags])
        dist.all_reduce(answers, dist.ReduceOp.MAX, group=self._group)
        return [bool(answer) for answer in answers.tolist()]

    @contextmanager
    def waiting(self, stop_requested: Callable[[], bool] = lambda: False) -> Iterator[Callable[[], bool]]:
        """A block in which some processes work longer than others, which wait for its end without a limit.

        Meanwhile threads exchange signs of life, so that `train.timeout` still finds a process that hangs. Every
        process must enter the block, and it must not make collective calls. It gets a function that says whether any
        process has been told to stop, and raises if one is lost: to be called now and then, and after the block.
        """
        if self._alone:
            yield stop_requested
            return
        done, failed, stopped = Event(), Event(), Event()
        lost: list[RuntimeError] = []

        def is_asked_to_stop() -> bool:
            if lost:
                raise lost[0]
            return stop_requested() or stopped.is_set()

        def exchange() -> None:
            busy, over = True, False
            try:
                while busy and not over:
                    done.wait(self._beat)
                    busy, over, stop = self.any(not done.is_set(), failed.is_set(), stop_requested())
                    if stop:
                        stopped.set()
            except RuntimeError as error:
                lost.append(error)

        signs = Thread(target=exchange, name="signs of life", daemon=True)  # a second Ctrl-C must not wait for it
        signs.start()
        try:
            yield is_asked_to_stop
        except Exception:
            failed.set()
            done.set()
            signs.join()  # before the group is closed
            raise
        done.set()
        signs.join()
        if lost:
            raise lost[0]


@contextmanager
def peers(accelerator: Accelerator, timeout: int) -> Iterator[None]:
    """Turns the error of a collective call into one line if another process is gone.

    Raises:
        LostPeerError: another process has died, or has not answered within `timeout` seconds.
    """
    try:
        yield
    except StoppedError:
        raise
    except RuntimeError as error:
        text = str(error)
        if accelerator.num_processes == 1 or not _ABOUT_PEERS.search(text):
            raise
        if _SILENT.search(text):
            why = f"another process has not answered for {timeout} s (train.timeout)"
        elif _GONE.search(text):
            why = "another process has ended"
        else:
            raise
        me = f"process {accelerator.process_index} of {accelerator.num_processes}"
        remedy = Remedy("continue from the newest checkpoint", argument("resume", True))
        raise LostPeerError(f"{me}: {why}", remedy=remedy) from error
