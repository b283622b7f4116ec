"""The base of all parts of results.json."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Interval = Annotated[list[float], Field(min_length=2, max_length=2)]
"""The lower and the upper end of a 95 % interval."""


class ResultsPart(BaseModel):
    """A part of results.json. The docstring of a key is its description in `unic schema results`.

    Values are checked and never converted. Keys of newer versions are kept.
    """

    model_config = ConfigDict(extra="allow", frozen=True, strict=True, use_attribute_docstrings=True)
