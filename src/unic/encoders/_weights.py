"""Foreign weights: reading them safely (safetensors, or `torch.load` with an allow-list), loading them into a model."""

from __future__ import annotations

import pickle
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from unic.encoders._unwrap import unwrap
from unic.errors import InputError, in_one_line

# Names of heads: classifiers, and the projection heads of self-supervised training.
_HEADS = re.compile(r"(head|head_dist|fc|classifier|decoder\w*|mask_token)(\.|$)")


class _Ignored:
    """Replaces a Python object beside the weights, such as the arguments of a training; it keeps and runs nothing."""

    def __new__(cls, *_: Any) -> _Ignored:
        return object.__new__(cls)

    def __init__(self, *_: Any) -> None: ...

    def __setstate__(self, state: Any) -> None: ...


class _Arguments(_Ignored):
    """Replaces an `argparse.Namespace` where its values are asked for; it keeps them and runs nothing."""

    def __setstate__(self, state: Any) -> None:
        self.__dict__.update(state if isinstance(state, dict) else {})


# Objects that training codes store beside their weights. torch's own allow-list has tensors and plain containers.
# Objects of these names become `_Ignored`. Any other name ends the reading with an error.
_INERT = tuple(
    (_Ignored, name)
    for name in (
        "argparse.Namespace",
        *(f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in ("_reconstruct", "scalar")),
        "numpy.ndarray",
        "numpy.dtype",
        *(f"pathlib{module}.{kind}Path" for module in ("", "._local") for kind in ("Posix", "Windows", "PurePosix")),
    )
)


def read_state_dict(path: Path, where: str, model: nn.Module | None = None) -> dict[str, Tensor]:
    """The tensors of a checkpoint file, without the wrappers of training codes.

    Args:
        path: a `.safetensors` file, or any file that `torch.save` wrote.
        where: start of the error line.
        model: the model whose weights are searched for by name, see `unwrap`.

    Raises:
        InputError: missing file, damaged file, or a pickle that holds code.
    """
    wanted = model.state_dict() if model else {}
    return unwrap(read_checkpoint(path, where), where, {name: tensor.shape for name, tensor in wanted.items()})


def read_checkpoint(path: Path, where: str) -> Any:
    """The whole content of a checkpoint file: tensors, numbers and text in plain containers. No code is executed.

    Raises:
        InputError: as `read_state_dict`.
    """
    return _read(path, where, _INERT)


def read_arguments(path: Path, where: str) -> dict[str, Any]:
    """The arguments of the training that wrote a checkpoint file, `args` beside the weights. No code is executed.

    Values that are no plain data, such as arrays and paths, are objects without content.

    Raises:
        InputError: as `read_state_dict`, or the file holds no arguments.
    """
    kept = [pair for pair in _INERT if pair[1] != "argparse.Namespace"]
    tree = _read(path, where, [(_Arguments, "argparse.Namespace"), *kept])
    found = tree.get("args") if isinstance(tree, Mapping) else None
    if isinstance(found, _Arguments):
        found = vars(found)
    if not isinstance(found, Mapping):
        raise InputError(f"{where}: {path} holds no arguments of a training")
    return {str(key): value for key, value in found.items()}


def check_file(path: Path, where: str) -> None:
    """Refuses a weight file that does not exist.

    Raises:
        InputError: there is none.
    """
    if not path.is_file():
        raise InputError(f"{where}: no such file: {path}")


def _read(path: Path, where: str, allowed: Sequence[tuple[type, str]]) -> Any:
    """The content of a checkpoint file; objects of the `allowed` names become objects of our classes."""
    check_file(path, where)
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        with torch.serialization.safe_globals(list(allowed)):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # readers raise many kinds for a file of another format: KeyError, ValueError, …
        # torch's own text is not shown: it advises `weights_only=False`, which runs any code that the file holds.
        reason = "a pickle of more than tensors" if isinstance(error, pickle.UnpicklingError) else "a damaged file"
        found = re.search(r"GLOBAL ([\w.]+)", str(error))
        reason += f": {found[1]}" if found else ""
        raise InputError(f"{where}: cannot read {path} safely as weights ({reason}); save its state dict") from None


def load_weights(model: nn.Module, state: dict[str, Tensor], where: str) -> None:
    """Loads every parameter of `model` strictly; only the weights of heads that it does not have are skipped.

    Raises:
        InputError: names or shapes differ; the line names the first of each kind.
    """
    wanted = model.state_dict()
    if _shapes(state) != _shapes(wanted):
        # timm converts the names of the original codes and resizes position embeddings.
        convert = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
        try:
            state = convert(state, model) if convert else state
        except Exception as error:  # written for the authors' files; fails with any exception on others
            raise InputError(f"{where}: the weights do not fit the model ({in_one_line(error)})") from None
    state = {key: value for key, value in state.items() if key in wanted or not _HEADS.match(key)}
    load_all(model, state, f"{where}: the weights do not fit the model")


def load_all(module: nn.Module, state: Mapping[str, Tensor], what: str) -> None:
    """Loads a module from exactly the tensors of its state dict.

    Args:
        module: the module.
        state: its tensors by name.
        what: start of the error line.

    Raises:
        InputError: names or shapes differ; the line names the first of each kind.
    """
    wanted = module.state_dict()
    problems = {
        "missing": sorted(wanted.keys() - state.keys()),
        "unexpected": sorted(state.keys() - wanted.keys()),
        "of another shape": [key for key in state if key in wanted and state[key].shape != wanted[key].shape],
    }
    if any(problems.values()):
        listed = "; ".join(f"{len(keys)} {kind} ({', '.join(keys[:3])})" for kind, keys in problems.items() if keys)
        raise InputError(f"{what}: {listed}")
    module.load_state_dict(state)


def _shapes(state: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {key: value.shape for key, value in state.items()}
