"""An encoder's weights inside a training checkpoint, found by the names of its own architecture.

Training codes put an encoder into a container (`model`, `ema`, `teacher`), behind wrappers (`module.`, `_orig_mod.`,
`_fsdp_wrapped_module.`) and beside heads, in any order. The encoder has the prefix behind which the most names of the
architecture are found.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from unic.errors import InputError

# Wrappers of the whole model or of its parts, which may stand anywhere in a name.
_MARKS = re.compile(r"(?<![^.])(?:module|_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module|_forward_module)\.")
_CHUNK = re.compile(r"(?<![^.])blocks\.\d+\.(\d+)\.")  # DINOv2 trains blocks in chunks; blocks keep their indices
_SCALE = re.compile(r"(?<![^.])gamma_([12])$")  # DeiT-III's and CaiT's layer scale, `ls1.gamma` in timm
# Of several encoders, training codes publish the average or the teacher, and neither the student nor a momentum
# encoder.
_FIRST = re.compile(r"ema|teacher", re.I)
_LAST = re.compile(r"student|momentum", re.I)
# Containers and wrappers in which training codes keep an encoder whose names are not timm's, in this order.
_USUAL = (
    "state_dict_ema", "model_ema", "ema_state_dict", "ema", "teacher", "state_dict", "model_state_dict", "model_state",
    "model", "backbone", "module", "_orig_mod", "_fsdp_wrapped_module", "_forward_module",
)  # fmt: skip

State = dict[str, Tensor]
_NOTHING: Mapping[str, torch.Size | None] = {}

log = logging.getLogger("unic")


def unwrap(tree: Any, where: str, wanted: Mapping[str, torch.Size | None] = _NOTHING) -> dict[str, Tensor]:
    """The encoder's state dict inside a training checkpoint.

    Args:
        tree: content of the file.
        where: start of the error line.
        wanted: names of the architecture's own weights, with their shapes if known. If the file has half of them or
            fewer, its names are those of another code: then the usual containers and wrappers are removed instead. The
            same holds if no names are given.

    Raises:
        InputError: the file has no tensors, or several encoders of which none is the average or the teacher.
    """
    flat = dict(_tensors(tree))
    if not flat:
        raise InputError(f"{where}: the file holds no state dict")
    spelt = _spelling(wanted)
    counts = Counter(prefix for name in flat for prefix in _prefixes(name, wanted, spelt))
    most = max(counts.values(), default=0)
    if most <= len(wanted) / 2:
        return _below_the_usual(flat)
    found = {
        prefix: {spelt(name.removeprefix(prefix)): tensor for name, tensor in flat.items() if name.startswith(prefix)}
        for prefix in sorted(prefix for prefix, count in counts.items() if count == most)
    }
    return found[_chosen(_fitting(found, wanted), where)]


def _tensors(tree: Any, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """Every tensor of a tree of mappings, by its dotted path."""
    if isinstance(tree, Tensor) and prefix:
        yield prefix[:-1], tree
    elif isinstance(tree, Mapping):
        for key, value in tree.items():
            if isinstance(key, str):
                yield from _tensors(value, f"{prefix}{key}.")


def _spelling(wanted: Collection[str]) -> Callable[[str], str]:
    """A function from names in the file to the architecture's: it removes wrappers and renames blocks and scales."""
    rules = [(_MARKS, ""), (_CHUNK, r"blocks.\1.")]
    rules = [(pattern, new) for pattern, new in rules if not any(pattern.search(name) for name in wanted)]
    if any(name.endswith("ls1.gamma") for name in wanted):
        rules.append((_SCALE, r"ls\1.gamma"))

    def spelt(name: str) -> str:
        for pattern, new in rules:
            name = pattern.sub(new, name)
        return name

    return spelt


def _prefixes(name: str, wanted: Collection[str], spelt: Callable[[str], str]) -> Iterator[str]:
    """All prefixes of a dotted name whose rest is a wanted name; the marks of wrappers belong to the prefix."""
    starts = [0, *(place.end() for place in re.finditer(r"\.", name))]
    for at in starts:
        rest = name[at:]
        if rest in wanted or (spelt(rest) in wanted and not _MARKS.match(rest)):
            yield name[:at]


def _fitting(found: dict[str, State], wanted: Mapping[str, torch.Size | None]) -> dict[str, State]:
    """The encoders with the most weights of the right shape: a larger teacher beside a student has the same names."""
    counts = {
        prefix: sum(name in state and state[name].shape == shape for name, shape in wanted.items())
        for prefix, state in found.items()
    }
    return {prefix: state for prefix, state in found.items() if counts[prefix] == max(counts.values())}


def _chosen(found: dict[str, State], where: str) -> str:
    """The prefix of the encoder to use: of several, that of the average or the teacher."""
    ranks = {prefix: 0 if _FIRST.search(prefix) else 2 if _LAST.search(prefix) else 1 for prefix in found}
    best = [prefix for prefix in found if ranks[prefix] == min(ranks.values())]
    if any(not _same(found[best[0]], found[prefix]) for prefix in best[1:]):
        names = ", ".join(f"'{prefix.rstrip('.') or 'the top'}'" for prefix in best)
        raise InputError(f"{where}: the file holds several encoders ({names}); save the state dict of one of them")
    if len(found) > 1:
        names, used = ", ".join(found), best[0].rstrip(".")
        log.info("%s: the file holds several encoders (%s); using the one below '%s'", where, names, used)
    return best[0]


def _same(one: State, other: State) -> bool:
    return one.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def _below_the_usual(flat: State) -> State:
    """The weights below the usual containers and wrappers, without the heads and optimisers beside them."""
    while outer := next((f"{one}." for one in _USUAL if any(name.startswith(f"{one}.") for name in flat)), None):
        flat = {name.removeprefix(outer): tensor for name, tensor in flat.items() if name.startswith(outer)}
    return {_MARKS.sub("", name): tensor for name, tensor in flat.items()}
