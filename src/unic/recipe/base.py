"""Base classes of a recipe's sections, and the form of a loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    GetJsonSchemaHandler,
    Tag,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

Positive = Annotated[int, Field(gt=0)]


def _title(section: type) -> str:
    return section.__name__.removesuffix("Section")


class Section(BaseModel):
    """A part of the recipe, in which unknown keys are errors."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        model_title_generator=_title,
    )


class OrText:
    """Says in a JSON schema that text may stand in the place of a section."""

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"anyOf": [{"type": "string"}, handler(core)]}


class Component(BaseModel):
    """A part whose `type` names a module. The other keys are options, which that module declares and checks.

    `NAME` is short for `{type: NAME}`.
    """

    model_config = ConfigDict(extra="allow", frozen=True, use_attribute_docstrings=True, model_title_generator=_title)
    type: str

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        if not isinstance(value, str | Mapping | Component):
            raise ValueError("expected a name, or a mapping with 'type' and options")
        return {"type": value} if isinstance(value, str) else value

    @property
    def options(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class LossSection(BaseModel):
    """A loss with options, which its module declares and checks."""

    model_config = ConfigDict(
        extra="allow", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True, model_title_generator=_title
    )
    weight: float = Field(1.0, ge=0)
    """Factor of the loss."""


def _form(value: Any) -> str:
    return f"{FORM}options" if isinstance(value, Mapping | LossSection) else f"{FORM}weight"


FORM = "form:"
"""Begins the parts of an error's path that name the form of a value, not a key."""
LossSetting = Annotated[
    Annotated[float, Field(ge=0), Tag(f"{FORM}weight")] | Annotated[LossSection, Tag(f"{FORM}options")],
    Discriminator(_form),
]
"""A weight, or a weight and options. Told apart by hand, so that an error is about the form that was written."""


def _by_name(value: Any) -> Any:
    if isinstance(value, list) or value == "":
        raise ValueError("expected one name, or names with weights such as {cosine: 0.5, mse: 0.5}")
    return {value: 1.0} if isinstance(value, str) else value


Losses = Annotated[dict[str, LossSetting], BeforeValidator(_by_name), OrText]
"""Losses by name. A name alone is short for this loss with weight 1."""
