"""Calls of a function in worker processes, ahead of time; the answers come in the order of the calls.

Each worker has its own pipe, and a thread of this process reads it. Workers share no queue and no lock, so none of them
waits for another, and the reader can always be told to stop.
"""

from __future__ import annotations

import os
import pickle
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, wait
from contextlib import suppress
from itertools import cycle, islice
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from queue import SimpleQueue
from threading import Thread
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unic import processes
from unic.data._transfer import receive, send
from unic.errors import WorkerError, in_one_line

Answer = tuple[Any, np.ndarray | None]
"""A small object without tensors, and contiguous pixels or None. An exception as the object is raised by `answers`."""

_AHEAD = 2  # calls that each worker has at a time
_DECODES = "data: a process that decodes images"
_LOOK = 0.5  # seconds between two checks of the workers while waiting for an answer


def answers(
    function: Callable[[Any], Answer],
    requests: Iterable[Any],
    num_workers: int,
    *,
    timeout: float = 600,
    pin_memory: bool = False,
) -> Iterator[tuple[Any, Tensor | None]]:
    """Yields `function(request)` for every request, in their order.

    Args:
        function: pickled and sent to each worker once.
        requests: read in this process, a few ahead of the answers.
        num_workers: number of processes, at least 1.
        timeout: longest time to wait for an answer, in seconds; 0: no limit.
        pin_memory: copy the pixels to pinned memory, for a GPU.

    Raises:
        WorkerError: a worker has died, has too little memory, or has not answered in time.
        Exception: an exception that `function` returns as the answer is raised here; one that it raises becomes a
            `RuntimeError` with its text.
    """
    start = processes.forking("unic.data.loader")
    packed = pickle.dumps(function)  # torch's own pickling of tensors for processes needs `/dev/shm`
    device = torch.cuda.current_device() if pin_memory else None
    workers: list[_Worker] = []
    try:
        for _ in range(num_workers):
            workers.append(_Worker(start, packed, device))
        rest, turns, asked = iter(requests), cycle(workers), deque[Future[Any]]()
        asked.extend(next(turns).ask(request) for request in islice(rest, _AHEAD * num_workers))
        while asked:
            answer, pixels = _wait_for(asked.popleft(), workers, timeout)
            if isinstance(answer, Exception):
                raise answer
            asked.extend(next(turns).ask(request) for request in islice(rest, 1))
            yield answer, pixels
    finally:
        processes.end(worker.process for worker in workers)
        for worker in workers:
            worker.leave()


def _wait_for(answer: Future[Any], workers: list[_Worker], timeout: float) -> tuple[Any, Tensor | None]:
    begun = time.monotonic()
    while True:
        if not all(worker.process.is_alive() for worker in workers):
            raise _died(workers)
        if wait([answer], _LOOK).done:
            break
        if timeout and time.monotonic() - begun > timeout:
            raise WorkerError(
                f"{_DECODES} has not answered for {timeout:g} s (data.timeout); is it stopped, or does the disk hang?"
            )
    try:
        return answer.result()
    except (EOFError, OSError):
        raise _died(workers) from None


def _died(workers: list[_Worker]) -> WorkerError:
    for worker in workers:
        worker.process.join(_LOOK / len(workers))  # its pipe closes a moment before its exit code is known
    codes = [worker.process.exitcode for worker in workers if worker.process.exitcode is not None]
    how = f"killed by signal {-codes[0]}" if codes and codes[0] < 0 else "for an unknown reason"
    return WorkerError(f"{_DECODES} has died, {how}; if memory ran out, lower data.workers (0: no extra processes)")


class _Worker:
    """A worker process, and the thread of this process that exchanges requests and answers with it."""

    def __init__(self, start: Callable[..., BaseProcess], packed: bytes, device: int | None) -> None:
        self._connection, theirs = Pipe()
        self._device = device
        self._asked: SimpleQueue[tuple[Any, Future[Any]] | None] = SimpleQueue()
        self.process = start(target=_serve, args=(packed, theirs), name="data worker", daemon=True)
        self.process.start()
        theirs.close()  # so that the pipe closes with the process
        Thread(target=self._exchange, name="data worker", daemon=True).start()

    def ask(self, request: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self._asked.put((request, future))
        return future

    def leave(self) -> None:
        """Ends the thread; the process must have ended."""
        self._asked.put(None)

    def _exchange(self) -> None:
        if self._device is not None:
            torch.cuda.set_device(self._device)
        with self._connection as connection:
            while (asked := self._asked.get()) is not None:
                request, future = asked
                try:
                    connection.send(request)
                    future.set_result(self._receive(connection))
                except Exception as error:
                    future.set_exception(error)

    def _receive(self, connection: Connection) -> tuple[Any, Tensor | None]:
        answer, has_pixels = connection.recv()
        return answer, receive(connection, pin_memory=self._device is not None) if has_pixels else None


def _serve(packed: bytes, connection: Connection) -> None:
    """Answers requests until the other end of the pipe is closed: the main function of a worker."""
    torch.set_num_threads(1)
    function = None
    with suppress(EOFError, OSError):
        while True:
            request = connection.recv()
            try:
                function = function or pickle.loads(packed)
                answer, pixels = function(request)
            except MemoryError:
                lower = "lower data.workers (0: no extra processes)"
                answer, pixels = WorkerError(f"{_DECODES} has too little memory; {lower}"), None
            except Exception as error:
                text = traceback.format_exc() if os.environ.get("UNIC_DEBUG") else in_one_line(error)
                answer, pixels = RuntimeError(f"in a process that decodes images: {text}"), None
            connection.send((answer, pixels is not None))
            if pixels is not None:
                send(pixels, connection)
