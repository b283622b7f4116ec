"""Where unic keeps what it can make again: features, indices of shards, pieces of sets that lie elsewhere."""

from __future__ import annotations

import logging
import os
import tempfile
from pathlib import Path


def default_cache_dir() -> Path:
    """`$UNIC_CACHE`, else `~/.cache/unic`, else a folder of this user below the temporary one."""
    if os.environ.get("UNIC_CACHE"):
        return Path(os.environ["UNIC_CACHE"])
    try:
        folder = Path.home() / ".cache" / "unic"
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK) or any(folder.iterdir()):  # what cannot be written can be read
            return folder
    except (OSError, RuntimeError):  # RuntimeError: no home directory at all
        pass
    folder = Path(tempfile.gettempdir()) / f"unic-{os.getuid() if hasattr(os, 'getuid') else 'user'}"
    logging.getLogger("unic").warning("no folder for caches in the home directory: using %s (set UNIC_CACHE)", folder)
    return folder
