"""An encoder's weights inside a training checkpoint, found by the names of its own architecture.

Training codes put an encoder below a container (`model`, `ema`, `teacher`), behind wrappers (`module.`, `_orig_mod.`,
`_fsdp_wrapped_module.`) and beside heads, in any order. What is asked is below which prefix the architecture's own
names are.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from unic.errors import InputError

# Wrappers of single parts: they may stand anywhere in a name.
_MARKS = re.compile(r"(?<![^.])(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module|_forward_module)\.")
_CHUNK = re.compile(r"(?<![^.])blocks\.\d+\.(\d+)\.")  # DINOv2 trains blocks in chunks that keep their numbers
_SCALE = re.compile(r"(?<![^.])gamma_([12])$")  # DeiT-III's and CaiT's layer scale, `ls1.gamma` in timm
# The average of weights is what these codes publish; a student beside its teacher, or a momentum encoder, is not.
_FIRST = re.compile(r"ema|teacher", re.I)
_LAST = re.compile(r"student|momentum", re.I)
# Where training codes keep an encoder whose names are not timm's.
_CONTAINERS = ("state_dict", "model_state_dict", "model_ema", "model", "teacher")
_WRAPPERS = ("module.", "model.", "backbone.")

log = logging.getLogger("unic")


def unwrap(tree: Any, where: str, wanted: Collection[str] = ()) -> dict[str, Tensor]:
    """The encoder's state dict inside a training checkpoint.

    Args:
        tree: what the file holds.
        where: start of the error line.
        wanted: names of the architecture's own weights. Where fewer than half of them are in the file, and where none
            are given, the usual containers and wrappers are taken off instead: the names are those of another code.

    Raises:
        InputError: no tensors in it, or several encoders of which none is the average or the teacher.
    """
    whole = {_MARKS.sub("", name): tensor for name, tensor in _tensors(tree)}
    if not whole:
        raise InputError(f"{where}: holds no state dict")
    flat = _as_named(whole, wanted)
    counts = Counter(prefix for name in flat for prefix in _prefixes(name, wanted))
    most = max(counts.values(), default=0)
    if most <= len(wanted) / 2:
        return _usual(tree, where)
    prefixes = sorted(prefix for prefix, count in counts.items() if count == most)
    chosen = _chosen(prefixes, flat, where)
    return {name.removeprefix(chosen): tensor for name, tensor in flat.items() if name.startswith(chosen)}


def _tensors(tree: Any, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """Every tensor of a tree of mappings, by its dotted path."""
    if isinstance(tree, Tensor) and prefix:
        yield prefix[:-1], tree
    elif isinstance(tree, Mapping):
        for key, value in tree.items():
            if isinstance(key, str):
                yield from _tensors(value, f"{prefix}{key}.")


def _as_named(flat: dict[str, Tensor], wanted: Collection[str]) -> dict[str, Tensor]:
    """With the architecture's names of blocks and layer scales."""
    if not any(_CHUNK.search(name) for name in wanted):
        flat = {_CHUNK.sub(r"blocks.\1.", name): tensor for name, tensor in flat.items()}
    if any(name.endswith("ls1.gamma") for name in wanted):
        flat = {_SCALE.sub(r"ls\1.gamma", name): tensor for name, tensor in flat.items()}
    return flat


def _prefixes(name: str, wanted: Collection[str]) -> Iterator[str]:
    """Of a dotted name, all beginnings behind which it is a name that is wanted."""
    starts = [0, *(place.end() for place in re.finditer(r"\.", name))]
    return (name[:start] for start in starts if name[start:] in wanted)


def _chosen(prefixes: list[str], flat: Mapping[str, Tensor], where: str) -> str:
    """The prefix of the average or the teacher, where there are several."""
    ranks = {prefix: 0 if _FIRST.search(prefix) else 2 if _LAST.search(prefix) else 1 for prefix in prefixes}
    best = [prefix for prefix in prefixes if ranks[prefix] == min(ranks.values())]
    if any(not _same(best[0], prefix, flat) for prefix in best[1:]):
        names = ", ".join(f"'{prefix.rstrip('.') or 'the top'}'" for prefix in best)
        raise InputError(f"{where}: the file holds several encoders ({names}); save the state dict of one of them")
    if len(prefixes) > 1:
        log.info(
            "%s: of several encoders (%s) the one below '%s' is used", where, ", ".join(prefixes), best[0].rstrip(".")
        )
    return best[0]


def _same(one: str, other: str, flat: Mapping[str, Tensor]) -> bool:
    names = [name.removeprefix(one) for name in flat if name.startswith(one)]
    return all(other + name in flat and torch.equal(flat[one + name], flat[other + name]) for name in names)


def _usual(tree: Any, where: str) -> dict[str, Tensor]:
    while isinstance(tree, Mapping):
        inner = next((tree[key] for key in _CONTAINERS if isinstance(tree.get(key), Mapping)), None)
        if inner is None:
            break
        tree = inner
    state = {_MARKS.sub("", key): value for key, value in tree.items() if isinstance(value, Tensor)}
    if not state:
        raise InputError(f"{where}: holds no state dict")
    for wrapper in _WRAPPERS:
        inside = {key.removeprefix(wrapper): value for key, value in state.items() if key.startswith(wrapper)}
        # What stands beside `backbone.` is a head; beside `module.` or `model.` nothing stands.
        state = inside or state
    return state
