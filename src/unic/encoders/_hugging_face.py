"""The Hugging Face hub: a check that it can be reached, cached files, and licences in model cards."""

from __future__ import annotations

import contextlib
import urllib.error
import urllib.request
from pathlib import Path

from unic.errors import InputError

_SECONDS = 5


def require_hub(where: str, url: str = "") -> None:
    """Fails at once if a download cannot work; huggingface_hub alone would retry for half a minute.

    Args:
        where: start of the error line.
        url: address to reach; default: the hub.

    Raises:
        InputError: offline by `HF_HUB_OFFLINE`, or no answer.
    """
    from huggingface_hub import constants

    if not url and constants.HF_HUB_OFFLINE:
        raise InputError(f"{where}: not in the local cache, and HF_HUB_OFFLINE is set")
    url = url or constants.ENDPOINT
    try:
        urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=_SECONDS).close()
    except urllib.error.HTTPError:
        pass  # the server has answered, so it can be reached
    except OSError:
        raise InputError(f"{where}: not in the local cache, and {url} cannot be reached") from None


def commit_of(cached: Path | None) -> str | None:
    """The commit of a file in the local cache, whose path is `snapshots/COMMIT/NAME`; None for other paths."""
    return cached.parent.name if cached is not None and cached.parent.parent.name == "snapshots" else None


def licence_of(source: str, revision: str | None = None) -> str | None:
    """The licence in the model card of a folder or of a cached model; None without a card or a licence in it."""
    from huggingface_hub.repocard import metadata_load

    folder = Path(source)
    card = folder / "README.md" if folder.is_dir() else cached_file(source, "README.md", revision)
    if card is None or not card.is_file():
        return None
    try:
        metadata = metadata_load(card) or {}
    except ValueError:  # a damaged header in the card, which does not affect the weights
        return None
    licence = metadata.get("license")
    name = metadata.get("license_name") if licence == "other" else licence
    return str(name) if name else None


def cached_file(repository: str, name: str, revision: str | None = None) -> Path | None:
    """Path of a model's file in the local cache, without using the network; None if it is not there."""
    from huggingface_hub import try_to_load_from_cache

    path = try_to_load_from_cache(repository, name, revision=revision)
    return Path(path) if isinstance(path, str) else None


def fetch_card(source: str, revision: str | None) -> None:
    """Downloads the model card into the cache, for `licence_of`. Failures are ignored: no model needs its card."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError

    with contextlib.suppress(HfHubHTTPError, OSError):
        hf_hub_download(source, "README.md", revision=revision)
