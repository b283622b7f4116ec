"""Upload of an export to the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path

from unic.arguments import argument
from unic.errors import InputError, reason_of


def check_repository(repository: str) -> None:
    """Raises `InputError` for a name that no repository can have."""
    if repository.count("/") != 1 or not all(repository.split("/")):
        raise InputError(f"{argument('push')} '{repository}': expected ORG/NAME")


def push_folder(folder: Path, repository: str) -> str:
    """Makes the repository (private) if it does not exist, uploads the folder and returns its address.

    Raises:
        InputError: a malformed name, no login, no network.
    """
    from huggingface_hub import HfApi

    check_repository(repository)
    api = HfApi()
    try:
        api.create_repo(repository, private=True, exist_ok=True)
        return str(api.upload_folder(repo_id=repository, folder_path=folder, commit_message="unic export"))
    except Exception as error:  # network, login or rights: one line tells the user
        reason = reason_of(error, 200)
        raise InputError(f"{argument('push')} {repository}: the hub refused or cannot be reached ({reason})") from None
