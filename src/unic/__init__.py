"""unic: distil several vision encoders into one, measure it against them, ship it.

>>> import unic
>>> encoder = unic.load_encoder("timm:vit_small_patch16_224")
>>> run = unic.distill("quickstart", out="runs/quickstart")
>>> results = unic.evaluate(["run:runs/quickstart"], suite="quick")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["check", "compare", "distill", "encode", "evaluate", "export", "load_encoder", "report"]

if TYPE_CHECKING:
    from unic.api import check, compare, distill, encode, evaluate, export, load_encoder, report


def __getattr__(name: str) -> Any:
    """Loads the API on first use, so that `import unic` and `unic --help` do not import torch."""
    if name in __all__:
        from unic import api

        return getattr(api, name)
    raise AttributeError(f"module 'unic' has no attribute '{name}'")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
