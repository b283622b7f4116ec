"""One module for each teacher and kind of tokens, which holds its statistics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar, cast

from torch import nn

from unic.kinds import Kind
from unic.standardizers.base import Dims

Part = TypeVar("Part", bound=nn.Module)


class ByTeacher(nn.ModuleDict, Generic[Part]):
    """Modules by teacher, then by kind of tokens.

    Args:
        dims: widths of CLS and patches by teacher.
        make: function that makes a module for a width.
    """

    def __init__(self, dims: Dims, make: Callable[[int], Part]) -> None:
        super().__init__(
            {name: nn.ModuleDict({"cls": make(cls), "patch": make(patch)}) for name, (cls, patch) in dims.items()}
        )

    def of(self, teacher: str, kind: Kind) -> Part:
        return cast("Part", cast("nn.ModuleDict", self[teacher])[kind])
