"""Processes that start warm: a server has imported torch, timm and unic once, and each process is a fork of it.

A process of its own costs 4 to 10 seconds of imports on two loaded cores, which the tests pay hundreds of times. A fork
runs the same program to the same end (its own environment, working folder, signals, threads, exit code). What is read
while modules are imported, as OMP_NUM_THREADS, is the server's.
"""

from __future__ import annotations

import array
import atexit
import contextlib
import gc
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

IMPORTS = (
    "timm",
    "unic.cli",
    "unic.api",
    "unic.training.train",
    "unic.training.build",
    "unic.preflight",
    "unic.exporting",
    "unic.data.sources.huggingface",
)


class Process:
    """What `subprocess.Popen` gives of a process whose stdout and stderr are one pipe of text.

    Args:
        pid: of the process.
        reply: where the server says its exit code.
        output: what it prints.
    """

    def __init__(self, pid: int, reply: socket.socket, output: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self.stdout = os.fdopen(output, encoding="utf-8")
        self._reply = reply

    def poll(self) -> int | None:
        return self._wait(0)

    def wait(self, timeout: float | None = None) -> int:
        code = self._wait(timeout)
        if code is None:
            raise subprocess.TimeoutExpired([], timeout or 0)
        return code

    def communicate(self, timeout: float | None = None) -> tuple[str, None]:
        """All that it prints until its end, and None for stderr, which is in it."""
        end = None if timeout is None else time.monotonic() + timeout
        pieces = []
        descriptor = self.stdout.fileno()
        while True:
            left = None if end is None else max(0.0, end - time.monotonic())
            if not select.select([descriptor], [], [], left)[0]:
                raise subprocess.TimeoutExpired([], timeout or 0, b"".join(pieces))
            piece = os.read(descriptor, 1 << 16)
            if not piece:
                break
            pieces.append(piece)
        self.stdout.close()
        self.wait(None if end is None else max(1.0, end - time.monotonic()))
        return b"".join(pieces).decode(), None

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def _wait(self, timeout: float | None) -> int | None:
        if self.returncode is None and select.select([self._reply], [], [], timeout)[0]:
            self.returncode = _receive(self._reply)
            self._reply.close()
        return self.returncode


def _send(number: int, to: socket.socket) -> None:
    with contextlib.suppress(BrokenPipeError):  # nobody waits for it any more
        to.sendall(number.to_bytes(8, "big", signed=True))


def _receive(of: socket.socket) -> int:
    return int.from_bytes(of.recv(8, socket.MSG_WAITALL), "big", signed=True)


class Launcher:
    """Starts processes by a server, which it starts first."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair()
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        with theirs:
            self._server = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno())], pass_fds=[theirs.fileno()], env=environment
            )

    def __call__(
        self, *program: str, env: Mapping[str, str], cwd: Path | None = None, start_new_session: bool = False
    ) -> Process:
        """Starts `python *program`, where the first one or two of them are -m MODULE, -c CODE or a script."""
        ours, reply = socket.socketpair()
        reading, writing = os.pipe()
        request = {"program": program, "env": dict(env), "cwd": str(cwd or Path.cwd()), "session": start_new_session}
        text = json.dumps(request).encode()
        with reply:
            descriptors = array.array("i", [reply.fileno(), writing])
            header = len(text).to_bytes(8, "big")
            self._socket.sendmsg([header], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)])
            self._socket.sendall(text)
        os.close(writing)
        return Process(_receive(ours), ours, reading)

    def close(self) -> None:
        self._socket.close()
        self._server.wait()


def serve(requests: socket.socket) -> dict[str, Any]:
    """Forks for each request until the socket is closed; returns in the fork, with its request."""
    running: dict[int, socket.socket] = {}  # who waits for the end of a process
    ended, tells_end = os.pipe()
    os.set_blocking(tells_end, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(tells_end)
    while True:
        ready = select.select([requests, ended], [], [])[0]
        if ended in ready:
            os.read(ended, 1024)
            for pid in list(running):
                found, status = os.waitpid(pid, os.WNOHANG)
                if found:
                    with running.pop(pid) as reply:
                        _send(os.waitstatus_to_exitcode(status), reply)
        if requests in ready:
            header, descriptors, _, _ = socket.recv_fds(requests, 8, 2)
            if not header:
                os._exit(0)
            text, size = b"", int.from_bytes(header, "big")
            while len(text) < size:
                text += requests.recv(size - len(text))
            reply, output = socket.socket(fileno=descriptors[0]), descriptors[1]
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for other in (requests, reply, *running.values()):
                    other.close()
                os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
                os.dup2(output, 1)
                os.dup2(output, 2)
                for descriptor in (output, ended, tells_end):
                    os.close(descriptor)
                request: dict[str, Any] = json.loads(text)
                if request["session"]:
                    os.setsid()
                return request
            os.close(output)
            running[pid] = reply
            _send(pid, reply)


def ends(program: Callable[[], None]) -> NoReturn:
    """Runs a program to the exit code that Python gives it. The interpreter is left as it is: to take a fork of it down
    writes to all that it shares with the server, which costs seconds."""
    try:
        program()
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
        if code and not isinstance(error.code, int):
            print(error.code, file=sys.stderr)
    except KeyboardInterrupt:
        traceback.print_exc()
        code = 128 + signal.SIGINT
    except BaseException:
        traceback.print_exc()
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def become(program: list[str], env: Mapping[str, str], cwd: str) -> None:
    """Runs a program as `python *program` would."""
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    sys.path[1:1] = [path for path in env.get("PYTHONPATH", "").split(os.pathsep) if path]
    first, *rest = program
    if first == "-m":
        sys.argv = rest
        sys.path[0] = cwd
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif first == "-c":
        sys.argv = ["-c", *rest[1:]]
        sys.path[0] = ""
        exec(compile(rest[0], "<string>", "exec"), {"__name__": "__main__"})
    else:
        sys.argv = program
        sys.path[0] = str(Path(first).parent)
        runpy.run_path(first, run_name="__main__")


if __name__ == "__main__":
    for name in IMPORTS:
        __import__(name)
    gc.freeze()
    request = serve(socket.socket(fileno=int(sys.argv[1])))
    ends(lambda: become(request["program"], request["env"], request["cwd"]))
