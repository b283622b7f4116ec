"""Your own code: `py:PACKAGE.MODULE:FACTORY[?size=&mean=&std=&num_prefix_tokens=&…]`.

The factory returns a torch module or an `Encoder`. Options beyond these four are its keyword arguments, as strings.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from unic import lookup
from unic.digest import sha256_of_value
from unic.encoders import Spec
from unic.encoders._module import OPTIONS, ModuleEncoder, read_options
from unic.encoders._own_model import modules_of, values_of_model
from unic.encoders.base import Encoder
from unic.errors import InputError
from unic.own_code import own_code


def load(spec: Spec, *, drop_path: float = 0.0) -> Encoder:
    """Calls the factory. An `Encoder` that it returns has its own preprocessing; for a module the options set it.

    For a student the factory must return an encoder with blocks, and take the number `drop_path` if the recipe sets it.

    Raises:
        InputError: no such module, factory or argument, or the factory returns no module.
        UntrustedError: neither the URI nor the module is trusted.
    """
    factory = lookup.factory(f"encoder '{spec.uri}'", spec.uri)
    arguments: dict[str, Any] = {key: value for key, value in spec.options.items() if key not in OPTIONS}
    _check_arguments(spec, factory, arguments)
    if drop_path and "drop_path" not in inspect.signature(factory).parameters:
        raise InputError(f"encoder '{spec.uri}': the factory does not take drop_path; set student.drop_path=0")
    options = read_options(spec)
    made: Any = factory(**arguments, **({"drop_path": drop_path} if drop_path else {}))
    if isinstance(made, Encoder):
        given = sorted(spec.options.keys() & set(OPTIONS))
        if given:
            raise InputError(
                f"encoder '{spec.uri}': option '{given[0]}' is for torch modules, but the factory returns an Encoder"
            )
        return _identified(made, made, spec, factory, arguments)
    if not isinstance(made, nn.Module):
        raise InputError(f"encoder '{spec.uri}': the factory returns a {type(made).__name__}, not a module or Encoder")
    description = f"{spec.name} {sorted(arguments.items())}"
    encoder = ModuleEncoder(made, f"encoder '{spec.uri}'", description=description, **options)
    return _identified(encoder, made, spec, factory, arguments)


def _identified(
    encoder: Encoder, made: nn.Module, spec: Spec, factory: Callable[..., Any], arguments: Mapping[str, Any]
) -> Encoder:
    """Sets the encoder's `code` to a hash of its code, packages, arguments and of the values set by the factory."""
    found = own_code(modules_of(made) | {spec.name.partition(":")[0], factory.__module__})
    decides = (found.digest, spec.name, sorted(arguments.items()), values_of_model(made))
    encoder.code, encoder.unknown = sha256_of_value(decides)[:16], found.unknown
    return encoder


def _check_arguments(spec: Spec, factory: Callable[..., Any], arguments: dict[str, str]) -> None:
    parameters = inspect.signature(factory).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return
    named = [parameter.name for parameter in parameters if parameter.kind is not parameter.VAR_POSITIONAL]
    spec.check(*OPTIONS, *named)
    for parameter in parameters:
        if parameter.default is parameter.empty and parameter.name not in arguments:
            raise InputError(f"encoder '{spec.uri}': the factory needs the option '{parameter.name}'")
