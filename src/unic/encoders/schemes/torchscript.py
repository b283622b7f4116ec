"""TorchScript files: `torchscript:PATH?trust_remote_code=true[&size=&mean=&std=&num_prefix_tokens=]`.

A TorchScript file is a program, so it runs only if it is trusted. A traced program takes only the size of its trace.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import torch

from unic.digest import sha256_of_file
from unic.encoders import Spec
from unic.encoders._module import OPTIONS, ModuleEncoder, read_options, require_trust
from unic.errors import InputError, first_line_of


def load(spec: Spec) -> ModuleEncoder:
    """The program as an encoder. It may return a vector, tokens, a map, CLS and patches, or a dict of these.

    Raises:
        InputError: no `trust_remote_code=true`, no such file, another format, or outputs that are no tokens.
        UntrustedError: the URI is not trusted.
    """
    spec.check(*OPTIONS, "trust_remote_code")
    path = Path(spec.name).expanduser()
    if not path.is_file():
        raise InputError(f"encoder '{spec.uri}': no such file: {path}")
    require_trust(spec, "a TorchScript file")
    options = read_options(spec)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # TorchScript is deprecated and warns on every call
            module = torch.jit.load(path, map_location="cpu")
    except (RuntimeError, ValueError) as error:
        reason = first_line_of(error)
        raise InputError(f"encoder '{spec.uri}': not a TorchScript file ({reason})") from None
    content = sha256_of_file(path)
    return ModuleEncoder(module, f"encoder '{spec.uri}'", description=content, **options)
