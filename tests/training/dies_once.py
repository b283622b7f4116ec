"""`unic` whose second process kills itself in step 5 of torchrun's first attempt."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from unic import cli
from unic.training.teachers import LiveTeachers

original, calls = LiveTeachers.__call__, [0]


def deadly(self: LiveTeachers, *arguments: Any) -> Any:
    calls[0] += 1
    if calls[0] == 6:  # the first is the trial batch
        print("died on purpose", file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    return original(self, *arguments)


if __name__ == "__main__":
    if os.environ["RANK"] == "1" and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
        LiveTeachers.__call__ = deadly  # type: ignore[method-assign]
    cli.main()
