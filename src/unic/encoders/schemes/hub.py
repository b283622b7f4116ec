"""Models of torch.hub: `hub:REPO:ENTRY?trust_remote_code=true[&size=&mean=&std=&num_prefix_tokens=]`.

REPO is `owner/name[:branch]` on GitHub or a local folder with a `hubconf.py`; both are Python code that is executed.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import nn

from unic.encoders import Spec
from unic.encoders._hugging_face import require_hub
from unic.encoders._module import OPTIONS, ModuleEncoder, read_options, require_trust
from unic.encoders._own_model import modules_of, values_of_model
from unic.errors import InputError, reason_of
from unic.own_code import own_code


def load(spec: Spec) -> ModuleEncoder:
    """The module that the entry returns when it is called without arguments, as an encoder.

    CLS and patches come from its `forward_features`, or else from `forward`.

    Raises:
        InputError: no `trust_remote_code=true`, no such folder, repository or entry, or outputs that are no tokens.
        UntrustedError: the URI is not trusted.
    """
    spec.check(*OPTIONS, "trust_remote_code")
    repository, _, entry = spec.name.rpartition(":")
    if not repository or not entry:
        raise InputError(f"encoder '{spec.uri}': expected hub:OWNER/NAME:ENTRY or hub:./FOLDER:ENTRY")
    require_trust(spec, f"the hubconf.py of '{repository}'")
    options, folder = read_options(spec), Path(repository).expanduser()
    is_folder = folder.is_dir()
    if not is_folder and (repository.startswith((".", "/", "~")) or repository.count("/") != 1):
        raise InputError(f"encoder '{spec.uri}': no such folder: {repository}")
    if not is_folder and not _is_cached(repository):
        require_hub(f"encoder '{spec.uri}'", "https://github.com")
    name, source = (str(folder), "local") if is_folder else (repository, "github")
    try:
        model = torch.hub.load(name, entry, source=source, trust_repo=True, verbose=False)
    except Exception as error:  # foreign code may raise anything
        raise InputError(f"encoder '{spec.uri}': cannot load it ({reason_of(error, 300)})") from None
    if not isinstance(model, nn.Module):
        raise InputError(f"encoder '{spec.uri}': '{entry}' returns a {type(model).__name__}, not a torch module")
    encoder = ModuleEncoder(model, f"encoder '{spec.uri}'", description=spec.name, **options)
    # All files of the repository count, as its code may choose among them, and all modules that are already imported.
    files = [file for place in ([folder] if is_folder else _checkouts(repository)) for file in place.rglob("*.py")]
    found = own_code(modules_of(model) & sys.modules.keys(), files)
    encoder.code = f"{found.digest} {values_of_model(model)}"
    if not is_folder:
        encoder.revision = repository.partition(":")[2] or None
    return encoder


def _is_cached(repository: str) -> bool:
    return bool(_checkouts(repository))


def _checkouts(repository: str) -> list[Path]:
    """Folders in which torch.hub keeps a repository; a default branch is called main or master."""
    name, _, branch = repository.partition(":")
    places = [f"{name}_{ref}".replace("/", "_") for ref in ([branch] if branch else ["main", "master"])]
    return [place for place in (Path(torch.hub.get_dir()) / folder for folder in places) if place.is_dir()]
