"""What the workers of `test_workers.py` do; they import this file, and pytest need not come along."""

from __future__ import annotations

import os
import time
from typing import Any

import numpy as np

from unic.data.workers import Answer
from unic.errors import InputError


def act(request: Any) -> Answer:
    """What each request asks of its worker; the first of a pair is how long that takes."""
    seconds, wish = request
    time.sleep(seconds)
    if isinstance(wish, int):
        os.kill(os.getpid(), wish)
        return "alive", None
    if wish == "input":
        return InputError("images: gone"), None
    if wish == "bug":
        raise ZeroDivisionError("one by none")
    if wish is None:
        raise MemoryError
    return wish, np.full((2, 3), len(wish), np.uint8)
