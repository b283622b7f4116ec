"""Opens the process group under torchrun, with a new store for each attempt.

torchrun keeps one store for all attempts. After a restart it still holds the addresses of dead processes, and new ones
wait for those (pytorch issue 135712). So the first process opens a store of its own and writes its port to torchrun's
store. A process that reads the port of an earlier attempt there cannot connect, and reads again.
"""

from __future__ import annotations

import itertools
import os
import socket
import time
from datetime import timedelta

import torch
import torch.distributed as dist

_joins = itertools.count()  # of this process: a second run in it must not use the store of the first
_LOOK = 0.5  # seconds between two reads of torchrun's store


def join(timeout: int) -> None:
    """Opens the process group if torchrun has started this process. Otherwise accelerate opens one if needed.

    Args:
        timeout: seconds to wait for the other processes.

    Raises:
        OSError, RuntimeError: they have not come.
    """
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True" or dist.is_initialized():
        return
    rank, world_size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
    dist.init_process_group(
        "nccl" if torch.cuda.is_available() else "gloo", store=_store(rank, timeout),
        rank=rank, world_size=world_size, timeout=timedelta(seconds=timeout),
    )  # fmt: skip


def _store(rank: int, timeout: int) -> dist.Store:
    host, most = os.environ["MASTER_ADDR"], timedelta(seconds=timeout)
    key = f"unic/port/{next(_joins)}"
    agent = dist.TCPStore(host, int(os.environ["MASTER_PORT"]), is_master=False, timeout=most)
    if rank == 0:
        own = dist.TCPStore(host, 0, is_master=True, timeout=most, wait_for_workers=False)
        agent.set(key, str(own.port))
        return own
    deadline = time.monotonic() + timeout
    while True:
        port = int(agent.get(key))
        try:
            socket.create_connection((host, port), _LOOK).close()
            return dist.TCPStore(host, port, is_master=False, timeout=most)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_LOOK)
