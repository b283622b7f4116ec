"""A model of a user's own code beside its weights: its modules of code, and a hash of its plain values."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import types
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from unic.digest import sha256, sha256_of_each

_BOOKKEEPING = frozenset(vars(nn.Module()))  # attributes of torch: parameters, buffers, hooks, mode
_Function = types.FunctionType | types.MethodType
_NAMED = type | _Function | types.BuiltinFunctionType
_DEPTH = 8  # of containers in containers; what lies deeper counts by its type


def modules_of(model: nn.Module) -> set[str]:
    """Names of the modules that define the classes of a model, its hooks, and functions set as its attributes."""
    names: set[str] = set()
    for module in model.modules():
        names.update(kind.__module__ for kind in type(module).__mro__)
        hooks = [*module._forward_pre_hooks.values(), *module._forward_hooks.values()]
        names.update(
            str(value.__module__) for value in (*vars(module).values(), *hooks) if isinstance(value, _Function)
        )
    return names - {"builtins"}


def values_of_model(model: nn.Module) -> str:
    """Hash of what can change the output but is not in the state dict: plain attributes and non-persistent buffers."""
    return sha256_of_each(_values(model))[:16]


def _values(model: nn.Module) -> Iterator[str]:
    for path, module in model.named_modules():
        unsaved = {name: module._buffers[name] for name in module._non_persistent_buffers_set}
        attributes = {name: value for name, value in vars(module).items() if name not in _BOOKKEEPING}
        for name, value in sorted((attributes | unsaved).items()):
            for part in _parts(value):
                yield repr((path, name, part))


def _parts(value: Any, depth: int = 0) -> Iterator[object]:
    """The content of a value in a form that is the same in every process; for other objects, their type."""
    below = functools.partial(_parts, depth=depth + 1)
    if isinstance(value, Tensor) and value.layout == torch.strided and not (value.is_meta or value.is_quantized):
        flat = value.detach().cpu().contiguous().flatten()
        yield value.dtype, tuple(value.shape), sha256(flat.view(torch.uint8).numpy().tobytes())
    elif isinstance(value, np.ndarray) and not value.dtype.hasobject:
        yield value.dtype.str, value.shape, sha256(value.tobytes())
    elif isinstance(value, bool | int | float | complex | str | bytes | Enum | Path | np.generic | None):
        yield value
    elif depth < _DEPTH and isinstance(value, Mapping | set | frozenset):
        entries = value.items() if isinstance(value, Mapping) else value
        yield sorted(repr(list(below(entry))) for entry in entries)
    elif depth < _DEPTH and isinstance(value, list | tuple):
        yield [list(below(entry)) for entry in value]
    elif isinstance(value, functools.partial):
        yield from below((value.func, value.args, value.keywords))
    elif isinstance(value, types.SimpleNamespace | argparse.Namespace) or dataclasses.is_dataclass(value):
        yield from below(vars(value) if hasattr(value, "__dict__") else repr(value))
    else:
        kind = value if isinstance(value, _NAMED) else type(value)
        yield getattr(kind, "__module__", ""), kind.__qualname__
