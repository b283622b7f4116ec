"""A GPU that is not there: tensors on the CPU that say they are on one, and a list of what would wait for it.

`torch.cuda.set_sync_debug_mode` tells where the host waits, but only on a GPU. Here every tensor that came to the
device, or was computed from one that did, is remembered as the device's. What the host would have to wait for is
counted: a value that it reads (`.item()`, `bool`, `float`, `int`, `.tolist()`, a tensor where an operation takes a
number), a size that depends on values (`nonzero`, a mask as an index), a decomposition whose success it checks, a copy
that is not `non_blocking` or is large and not pinned. Operations on tensors of both sides, which a GPU refuses, are
counted too.

It does not see what Python does not call: operations of the backward pass and within compiled graphs. Nor does it see
waits for streams and events of CUDA, and sizes that are tensors but for those of `_FROM_NUMBERS`.
"""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary

DEVICE = torch.device("cuda:0")

_READS = {
    "item", "tolist", "numpy", "cpu", "equal", "allclose", "is_nonzero", "nonzero", "argwhere", "masked_select",
    "unique", "unique_consecutive", "bincount", "combinations", "__bool__", "__float__", "__int__", "__index__",
    "__complex__", "__contains__", "__array__", "__format__", "__repr__",
    # Whether they succeeded is read from the device. Their variants `…_ex` leave that out.
    "inverse", "svd", "linalg_cholesky", "linalg_cond", "linalg_eig", "linalg_eigh", "linalg_eigvals",
    "linalg_eigvalsh", "linalg_inv", "linalg_ldl_factor", "linalg_lstsq", "linalg_lu_factor", "linalg_matrix_rank",
    "linalg_pinv", "linalg_solve", "linalg_svd", "linalg_svdvals", "linalg_tensorinv", "linalg_tensorsolve",
}  # fmt: skip
_MAKES_FROM_VALUES = {"tensor", "as_tensor", "new_tensor", "asarray"}
_FROM_NUMBERS = {
    "full": 0,
    "arange": 0,
    "linspace": 0,
    "zeros": 0,
    "ones": 0,
    "empty": 0,
    "full_like": 1,
    "new_full": 1,
}
"""Operations whose arguments from this one on are numbers, which are read if they are tensors."""
_NUMBERS = {"alpha", "beta"}
_INDEXES = {"__getitem__", "__setitem__", "index_put", "index_put_"}
_STAGED = 1 << 16  # bytes; CUDA takes a smaller copy from memory that is not pinned without waiting
_ASKS_WHERE = (Tensor.device.__get__, Tensor.is_cuda.__get__)  # type: ignore[attr-defined]
_SOURCE = "/src/unic/"


class PretendedGpu(TorchFunctionMode):
    """Counts while it is entered. A device given as "cuda" is the pretended one.

    Attributes:
        waits: how often the host would wait, by the line of unic that makes it.
        mixed: operations on tensors of both sides, likewise.
    """

    def __init__(self) -> None:
        super().__init__()
        self.waits, self.mixed = Counter[str](), Counter[str]()
        self._there: Any = WeakIdKeyDictionary()
        self._pinned: Any = WeakIdKeyDictionary()

    def move(self, *modules: nn.Module) -> None:
        """Counts parameters, buffers and gradients of modules as the device's."""
        for module in modules:
            self.mark([*module.parameters(), *module.buffers()])

    def mark(self, found: Any) -> Any:
        for tensor in _tensors(found):
            self._there[tensor] = True
        return found

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func in _ASKS_WHERE and args[0] in self._there:
            return DEVICE if func == _ASKS_WHERE[0] else True
        name = getattr(func, "__name__", "")
        inputs = _tensors((args, kwargs))
        there = [tensor for tensor in inputs if tensor in self._there]
        target = kwargs.get("device")
        if name in ("to", "cuda"):
            target = target or next((each for each in args[1:] if _is_device(each)), None)
            target = DEVICE if name == "cuda" else target
        asked = target is not None and torch.device(target).type == "cuda"
        self._note(name, args, kwargs, inputs, there, asked, target)
        if asked:
            args = tuple(torch.device("cpu") if _is_device(each) else each for each in args)
            kwargs |= {"device": torch.device("cpu")} if "device" in kwargs else {}
        if name == "cuda":
            return self.mark(args[0].detach().clone())
        if name == "pin_memory":
            self._pinned[args[0]] = True
            return args[0]
        result = func(*args, **kwargs)
        if asked or (there and target is None and name not in ("cpu", "numpy")):
            if asked and not there and any(result is tensor for tensor in inputs):
                result = result.clone()  # a copy on a GPU is never the tensor itself
            self.mark(result)
        return result

    def _note(
        self, name: str, args: Any, kwargs: Any, inputs: list[Tensor], there: list[Tensor], asked: bool, target: Any
    ) -> None:
        blocking = not (
            kwargs.get("non_blocking") or (name in ("to", "copy_", "cuda") and any(each is True for each in args[1:]))
        )
        makes = name in _MAKES_FROM_VALUES and (asked or there) and not (there and name == "as_tensor")
        if makes or (there and (name in _READS or _reads_these(name, args, kwargs, self._there))):
            self._count(self.waits, name)
        elif name in ("to", "cuda"):
            moves = bool(inputs) and target is not None and asked != (inputs[0] in self._there)
            if moves and (blocking or (asked and self._is_large(inputs[0]))):
                self._count(self.waits, f"{name}({torch.device(target).type})")
        elif name == "copy_":
            is_copy = len(there) == 1 and args[0] is not args[1]
            if is_copy and (blocking or (args[0] in self._there and self._is_large(args[1]))):
                self._count(self.waits, name)
        elif name in _INDEXES:
            if there and _waits_for_index(args, self._there):
                self._count(self.waits, name)
        elif name == "repeat_interleave" and len(there) > 1 and kwargs.get("output_size") is None:
            self._count(self.waits, name)
        elif there and any(tensor.ndim and tensor not in self._there for tensor in inputs):
            self._count(self.mixed, name)

    def _is_large(self, source: Tensor) -> bool:
        """Whether the host waits for the copy of a tensor, as its memory is neither pinned nor small."""
        return source.nbytes > _STAGED and source not in self._pinned

    def _count(self, counter: Counter[str], name: str) -> None:
        counter[f"{name} at {_line()}"] += 1


def _tensors(found: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(found) if isinstance(leaf, Tensor)]


def _is_device(value: Any) -> bool:
    if isinstance(value, torch.device):
        return True
    return isinstance(value, str) and value.partition(":")[0] in ("cpu", "cuda")


def _reads_these(name: str, args: Any, kwargs: Any, there: Any) -> bool:
    """Whether the arguments of an operation are such that it reads the device, as others would not."""
    if name == "where":
        return len(args) == 1 and not kwargs
    if name == "one_hot":  # the number of classes is the largest value
        return (args[1] if len(args) > 1 else kwargs.get("num_classes", -1)) == -1
    if name == "histc":  # the bounds are the smallest and the largest value
        low, high = (args[at] if len(args) > at else kwargs.get(key, 0) for at, key in ((2, "min"), (3, "max")))
        return bool(low == high)
    numbers = [value for key, value in kwargs.items() if key in _NUMBERS]
    if name in _FROM_NUMBERS:
        numbers += [*args[_FROM_NUMBERS[name] :], kwargs.get("fill_value"), kwargs.get("end")]
    return any(tensor in there for tensor in _tensors(numbers))


def _waits_for_index(args: Any, there: Any) -> bool:
    """A mask has to be counted; numbers on the host have to be copied; a single number or a bound has to be read."""
    index = args[1] if isinstance(args[1], tuple) else (args[1],)
    for part in index:
        if isinstance(part, list):
            return True
        if isinstance(part, slice) and any(bound in there for bound in _tensors((part.start, part.stop, part.step))):
            return True
        if isinstance(part, Tensor):
            is_number = part.ndim == 0 and part.dtype != torch.bool
            if (part in there) == is_number or part.dtype == torch.bool:
                return True
    return False


def _line() -> str:
    """Innermost line of unic, else the innermost one outside this file and torch."""
    frames = list(_frames())
    return next((frame for frame in frames if _SOURCE in frame), frames[0]).partition(_SOURCE)[2] or frames[0]


def _frames() -> Iterator[str]:
    for frame in reversed(traceback.extract_stack()):
        if frame.filename != __file__ and f"{Path(torch.__file__).parent}" not in frame.filename:
            yield f"{frame.filename}:{frame.lineno}"
