"""unic: distil several vision encoders into one, measure it against them, ship it.

>>> import unic
>>> encoder = unic.load_encoder("timm:vit_small_patch16_224")
>>> run = unic.distill("quickstart", out="runs/quickstart")
>>> results = unic.evaluate([run], suite="quick")
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from unic import _log  # noqa: F401  # its filter makes each log message one line

__version__ = "0.1.0"
__all__ = [
    "Encoder", "InputError", "Recipe", "Results", "Tokens", "check", "compare", "distill", "encode", "evaluate",
    "export", "load_encoder", "open_source", "report", "sweep", "synthesise",
]  # fmt: skip

if TYPE_CHECKING:
    from unic.api import (
        check,
        compare,
        distill,
        encode,
        evaluate,
        export,
        load_encoder,
        open_source,
        report,
        sweep,
        synthesise,
    )
    from unic.encoders import Encoder
    from unic.errors import InputError
    from unic.eval.results.schema import Results
    from unic.recipe.schema import Recipe
    from unic.tokens import Tokens


class _Package(ModuleType):
    """Loads the API on first use, so that `import unic` and `unic --help` do not import torch.

    Public names are looked up here and not in the module's dictionary. So importing the package `unic.distill`, an
    earlier name of `unic.training`, does not replace the function of that name.
    """

    def __getattribute__(self, name: str) -> Any:
        if name == "InputError":  # `except unic.InputError` works without an import of torch
            from unic import errors

            return errors.InputError
        if name in _API:
            from unic import api

            return getattr(api, name)
        return super().__getattribute__(name)

    def __dir__(self) -> list[str]:
        return [*__all__, "__version__"]


_API = frozenset(__all__)
sys.modules[__name__].__class__ = _Package
