"""Bytes that operations read and write, were none of them in a cache: one rule for all that counts them."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def bytes_moved(func: Any, args: Any, kwargs: Any, result: Any) -> int:
    """Bytes of an operation's inputs and outputs; views, uninitialised memory and questions cost nothing."""
    if func.is_view or "empty" in func.name() or func.name().startswith("prim::"):  # prim::device moves nothing
        return 0
    touched = [args, kwargs, result]
    if not func._schema.returns:  # the fused optimiser returns nothing of what it writes
        written = [given.alias_info is not None and given.alias_info.is_write for given in func._schema.arguments]
        touched += [value for value, is_written in zip(args, written, strict=False) if is_written]
    return sum(x.nbytes for x in tree_leaves(touched) if isinstance(x, Tensor))


class ByteCounter(TorchDispatchMode):
    """Adds up in `total` the bytes of all operations inside the block."""

    total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.total += bytes_moved(func, args, kwargs, result)
        return result
