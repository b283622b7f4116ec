"""The sections of the teachers: their cache, one teacher with its options, and all of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    SerializationInfo,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)

from unic.errors import nearest
from unic.kinds import Widths
from unic.quantities import SIZE
from unic.recipe.base import Losses, OrText, Positive, Section

Matched = Literal["both", "cls", "patches"]
"""Which tokens of a teacher the student is compared with."""
WRITTEN_OUT = "written out"
"""Context of `model_dump` in which a teacher without options is a mapping too."""


class CacheSection(Section):
    """Teacher outputs that are computed once and read in each epoch."""

    views: Positive = 1
    """Number V of augmented views of each image; the k-th visit takes view k mod V. `augment: none` needs only 1."""
    tokens: str = Field("all", pattern=r"^(all|cls|pooled:[1-9]\d*x[1-9]\d*)$")
    """`all`: CLS, and patches on the teacher's grid. `pooled:GxG`: patches resized to G × G. `cls`: CLS alone, which
    turns the patch half of the loss off."""
    dtype: Literal["fp16", "fp32", "int8"] = "fp16"
    """Type of the patches on the disk; CLS and the mean of the patches are float32."""
    processes: Positive = 1
    """Number of processes that build the cache on this machine, for each rank; on several GPUs each takes the next
    one."""
    dir: str | None = None
    """Folder of the cache; null: `$UNIC_CACHE`, else `~/.cache/unic`."""
    budget: str | None = Field(None, pattern=SIZE)
    """Largest size of the cache, for example `8GB`; a larger one is refused. Null: no limit."""


class TeacherSection(Section):
    """A teacher. Its URI alone is short for a teacher without options."""

    uri: str
    """URI of the model."""
    weight: float = Field(1.0, gt=0)
    """Factor of what the weighting gives each pair of this teacher and an image: a teacher of weight 2 counts like two
    teachers."""
    tokens: Matched = "both"
    """The tokens that the student is compared with: `both`, CLS alone (`cls`), or patches alone (`patches`). The others
    are neither projected nor standardised, and patches are not cached."""
    views: Literal["augmented", "plain"] = "augmented"
    """View that the teacher sees: `augmented`, that of the student, or `plain`, its crop and flip without changes of
    colour, blur and solarisation."""
    loss: Losses | None = Field(None, min_length=1)
    """Losses to this teacher, in place of the recipe's `loss` and in its form; null: those of the recipe."""

    @model_validator(mode="before")
    @classmethod
    def _from_uri(cls, value: Any) -> Any:
        return {"uri": value} if isinstance(value, str) else value

    @model_serializer(mode="wrap")
    def _as_uri(self, whole: SerializerFunctionWrapHandler, info: SerializationInfo) -> Any:
        """The URI alone where there are no options, so recipes and checkpoints without options stay as they were."""
        has_options = self != TeacherSection(uri=self.uri)
        return whole(self) if has_options or info.context == WRITTEN_OUT else self.uri


class TeachersSection(Section):
    """The models that are distilled."""

    models: dict[str, Annotated[TeacherSection, OrText]] = Field(min_length=1)
    """Teachers by name: a URI, or a mapping with options. They replace all teachers of the base. `student`, `start`,
    `pixels` and `concat` are columns of every table, so no teacher may have these names. Names of attributes of
    PyTorch's modules, such as `keys` and `type`, are refused, too."""
    cache: CacheSection | None = None
    """Cache of the teachers' outputs; null: they are computed in each step."""
    shard: bool = False
    """Give each process a share of the teachers' blocks; with `train.engine: fsdp`."""

    @field_validator("models", mode="before")
    @classmethod
    def _has_uris(cls, models: Any) -> Any:
        """Names the teacher that a mapping without a URI was meant for: an override of it may be misspelt."""
        if not isinstance(models, dict):
            return models
        lacking = [name for name, entry in models.items() if isinstance(entry, dict) and "uri" not in entry]
        for name in lacking:
            others = [other for other in models if other not in lacking]
            raise ValueError(f"teacher '{name}' has no 'uri'{nearest(str(name), others)}")
        return models

    @field_validator("models")
    @classmethod
    def _plain_names(cls, models: dict[str, TeacherSection]) -> dict[str, TeacherSection]:
        for name in models:
            if not name.replace("-", "_").isidentifier():
                raise ValueError(f"teacher name '{name}' must be letters, digits, '_' or '-'")
        return models

    @field_validator("cache")
    @classmethod
    def _leaves_something(cls, cache: CacheSection | None, known: ValidationInfo) -> CacheSection | None:
        for name, teacher in known.data.get("models", {}).items():
            if cache and cache.tokens == "cls" and teacher.tokens == "patches":
                raise ValueError(
                    f"tokens=cls leaves nothing of teacher '{name}', which is matched by patches alone; leave one of "
                    "the two out"
                )
        return cache

    @property
    def uris(self) -> dict[str, str]:
        return {name: teacher.uri for name, teacher in self.models.items()}

    def with_uris(self, uris: Mapping[str, str]) -> TeachersSection:
        """The same teachers with other URIs."""
        models = {name: teacher.model_copy(update={"uri": uris[name]}) for name, teacher in self.models.items()}
        return self.model_copy(update={"models": models})

    def matched(self, name: str) -> Matched:
        """Tokens that a teacher is matched by; the cache may leave its patches out."""
        return "cls" if self.cache and self.cache.tokens == "cls" else self.models[name].tokens

    def options(self, name: str) -> list[str]:
        """Options of a teacher in words; empty for one that is a URI alone."""
        teacher, matched = self.models[name], self.matched(name)
        words = {
            f"weight {teacher.weight:g}": teacher.weight != 1,
            f"matched by {'CLS' if matched == 'cls' else matched} alone": matched != "both",
            "plain views": teacher.views == "plain",
            "losses of its own": teacher.loss is not None,
        }
        return [word for word, is_so in words.items() if is_so]

    def matched_by_cls(self) -> list[str]:
        return [name for name in self.models if self.matched(name) != "patches"]

    def widths(self, name: str, cls: int, patch: int) -> Widths:
        """Widths of a teacher's CLS and patches, with 0 for what it is not matched by."""
        matched = self.matched(name)
        return (0 if matched == "patches" else cls, 0 if matched == "cls" else patch)


def written_out(*trees: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Recipes as trees that can be compared key by key: a teacher with options in one of them is a mapping in all."""
    models = [tree.get("teachers", {}).get("models", {}) for tree in trees]
    names = {name for of_tree in models for name, entry in of_tree.items() if isinstance(entry, Mapping)}

    def whole(name: str, entry: Any) -> Any:
        return TeacherSection.model_validate(entry).model_dump(context=WRITTEN_OUT) if name in names else entry

    return [
        {**tree, "teachers": {**tree["teachers"], "models": {name: whole(name, entry) for name, entry in own.items()}}}
        if own
        else dict(tree)
        for tree, own in zip(trees, models, strict=True)
    ]
