"""The shapes that annotations in src/unic state, checked at every call of a test run (jaxtyping with beartype)."""

from __future__ import annotations

import io
from pathlib import Path
from typing import BinaryIO

from beartype import BeartypeConf, FrozenDict, beartype
from jaxtyping import install_import_hook

SOURCE = Path(__file__).parents[2] / "src"

checked = beartype(
    conf=BeartypeConf(
        is_pep484_tower=True,  # an int is a float to mypy, too
        is_random=False,  # of a sequence the first item, always
        hint_overrides=FrozenDict({BinaryIO: io.IOBase}),  # to beartype, BytesIO is no BinaryIO
    )
)


def modules() -> list[str]:
    """Each module of unic that states a shape. To check the others as well would only take time."""
    stated = (path for path in SOURCE.glob("unic/**/*.py") if "from jaxtyping import" in path.read_text("utf-8"))
    return [".".join(path.relative_to(SOURCE).with_suffix("").parts) for path in stated]


def check() -> None:
    """Has every function of those modules check its arguments and its result. Call it before unic is imported.

    Processes that a test starts import unic as a user's do, without checks.
    """
    install_import_hook(modules(), f"{__name__}.checked")
