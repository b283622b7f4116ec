"""The Hugging Face hub: is it within reach, and which licence does a model card name."""

from __future__ import annotations

import contextlib
import urllib.error
import urllib.request
from pathlib import Path

from unic.errors import InputError

_SECONDS = 5


def require_hub(where: str, url: str = "") -> None:
    """Fails at once where a download cannot work; huggingface_hub alone would repeat itself for half a minute.

    Args:
        where: start of the error line.
        url: what is to be reached; default: the hub.

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
        pass  # an answer, if an unfriendly one
    except OSError:
        raise InputError(f"{where}: not in the local cache, and {url} cannot be reached") from None


def commit_of(cached: Path | None) -> str | None:
    """The commit that a file in the local cache belongs to; it stands under `snapshots/COMMIT/`."""
    return cached.parent.name if cached is not None and cached.parent.parent.name == "snapshots" else None


def licence_of(source: str, revision: str | None = None) -> str | None:
    """The licence in the model card of a folder or of a cached model; None where there is no card or no licence."""
    from huggingface_hub.repocard import metadata_load

    folder = Path(source)
    card = folder / "README.md" if folder.is_dir() else cached_file(source, "README.md", revision)
    if card is None or not card.is_file():
        return None
    try:
        metadata = metadata_load(card) or {}
    except ValueError:  # a damaged header: the weights are fine all the same
        return None
    licence = metadata.get("license")
    name = metadata.get("license_name") if licence == "other" else licence
    return str(name) if name else None


def cached_file(repository: str, name: str, revision: str | None = None) -> Path | None:
    """A file of a model in the local cache, without a look at the network."""
    from huggingface_hub import try_to_load_from_cache

    path = try_to_load_from_cache(repository, name, revision=revision)
    return Path(path) if isinstance(path, str) else None


def fetch_card(source: str, revision: str | None) -> None:
    """Brings the model card into the cache, for `licence_of`; the model is usable without it."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError

    with contextlib.suppress(HfHubHTTPError, OSError):
        hf_hub_download(source, "README.md", revision=revision)
