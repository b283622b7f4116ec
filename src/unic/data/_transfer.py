"""Pixels from one process to another: memory that is handed over, or copied through the pipe where that cannot be.

The memory has no name and belongs to no file system. What `/dev/shm` grants would not do: containers have little of it
(Docker: 64 MB, less than some batches), and who writes where there is no more of it is killed or waits for ever.
"""

from __future__ import annotations

import mmap
import os
from multiprocessing import reduction
from multiprocessing.connection import Connection

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

_IS_HANDED_OVER = hasattr(os, "memfd_create")  # Linux


def send(pixels: UInt8[np.ndarray, "*shape"], connection: Connection) -> None:
    """Sends a contiguous array."""
    connection.send(pixels.shape)
    flat = pixels.reshape(-1)  # of more dimensions `send_bytes` would take the first for the length
    if not pixels.size:
        return
    if not _IS_HANDED_OVER:
        connection.send_bytes(flat.data)
        return
    file = os.memfd_create("unic-pixels")
    try:
        os.ftruncate(file, flat.nbytes)
        with mmap.mmap(file, flat.nbytes) as memory:
            memory.write(flat.data)
        reduction.send_handle(connection, file, None)
    finally:
        os.close(file)


def receive(connection: Connection, *, pin_memory: bool = False) -> UInt8[Tensor, "*shape"]:
    """What `send` has sent at the other end. Raises `EOFError` or `OSError` if nobody is there any more.

    Args:
        pin_memory: put it where a GPU can fetch it from.
    """
    shape = connection.recv()
    if not np.prod(shape) or not _IS_HANDED_OVER:
        pixels = torch.empty(shape, dtype=torch.uint8, pin_memory=pin_memory)
        if pixels.numel():
            connection.recv_bytes_into(pixels.view(-1).numpy())
        return pixels
    file = reduction.recv_handle(connection)
    try:
        memory = mmap.mmap(file, 0)
    finally:
        os.close(file)
    pixels = torch.frombuffer(memory, dtype=torch.uint8).view(shape)  # keeps the memory as long as it lives
    return pixels.pin_memory() if pin_memory else pixels
