"""Transfer of pixels from one process to another: through anonymous shared memory on Linux, else through the pipe.

The memory is not in `/dev/shm`, which is small in containers (Docker: 64 MB, less than some batches): a process that
writes to a full one is killed or waits for ever.
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

_SHARES_MEMORY = hasattr(os, "memfd_create")  # Linux


def send(pixels: UInt8[np.ndarray, "*shape"], connection: Connection) -> None:
    """Sends a contiguous array."""
    connection.send(pixels.shape)
    flat = pixels.reshape(-1)  # `send_bytes` takes the first dimension for the length
    if not pixels.size:
        return
    if not _SHARES_MEMORY:
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
    """Receives the array that `send` has sent at the other end.

    Args:
        connection: to the sender.
        pin_memory: copy the pixels to pinned memory, for a GPU.

    Raises:
        EOFError: the other end is closed.
        OSError: the other end is closed.
    """
    shape = connection.recv()
    if not np.prod(shape) or not _SHARES_MEMORY:
        pixels = torch.empty(shape, dtype=torch.uint8, pin_memory=pin_memory)
        if pixels.numel():
            connection.recv_bytes_into(pixels.view(-1).numpy())
        return pixels
    file = reduction.recv_handle(connection)
    try:
        memory = mmap.mmap(file, 0)
    finally:
        os.close(file)
    pixels = torch.frombuffer(memory, dtype=torch.uint8).view(shape)  # the tensor keeps the memory alive
    return pixels.pin_memory() if pin_memory else pixels
