"""The folder of the caches: features, indices of shards, downloaded pieces of streamed sets."""

from __future__ import annotations

import logging
import os
import tempfile
from pathlib import Path


def default_cache_dir() -> Path:
    """`$UNIC_CACHE`, else `~/.cache/unic`, else a folder of this user in the temporary folder."""
    if os.environ.get("UNIC_CACHE"):
        return Path(os.environ["UNIC_CACHE"])
    try:
        folder = Path.home() / ".cache" / "unic"
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK) or any(folder.iterdir()):  # a full cache can be read even if it is read-only
            return folder
    except (OSError, RuntimeError):  # RuntimeError: no home directory at all
        pass
    folder = Path(tempfile.gettempdir()) / f"unic-{os.getuid() if hasattr(os, 'getuid') else 'user'}"
    logging.getLogger("unic").warning("cache: no writable home directory; using %s (set UNIC_CACHE)", folder)
    return folder
