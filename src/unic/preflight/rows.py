"""The rows and facts of a report. They are dictionaries, because `unic check --json` prints them as they are."""

from __future__ import annotations

from typing import TypedDict

from unic.encoders.base import Precision
from unic.recipe.teachers import Matched


class _Model(TypedDict):
    name: str
    uri: str
    source: str
    licence: str | None
    revision: str | None
    num_parameters: int
    input_size: list[int]
    mean: list[float]
    std: list[float]
    cls: int
    patch: int
    has_cls: bool
    grid: list[int]
    normalisation_error: float | None
    precision: Precision
    images_per_s: float
    weights_mb: float


class Model(_Model, total=False):
    """The student or a teacher. `tokens`, by which it is matched, and `options` are a teacher's alone."""

    tokens: Matched
    options: list[str]


class Images(TypedDict):
    """A source of training images. `damaged` has a line for each such image of the `looked_at` ones."""

    path: str
    images: int
    weight: float
    share: float
    anchor: float
    short_side: int
    looked_at: int
    damaged: list[str]


class Ladder(TypedDict):
    """The projectors of the student."""

    type: str
    blocks: int
    num_parameters: int


class Memory(TypedDict):
    models_gb: float
    batch_gb: float
    at_a_time: int
    available_gb: float
    largest_batch: int


class Tried(TypedDict):
    """The steps that times are estimated from.

    Attributes:
        seconds: of the fastest and the slowest.
        waited: share of the time that was spent waiting.
    """

    steps: int
    images: list[int]
    seconds: list[float]
    waited: float
    threads: int


class _Time(TypedDict):
    steps: int
    epochs: float | None
    processes: int
    images_per_s: float
    teachers_h: float
    hours: float
    hours_range: list[float]
    tried: Tried


class Time(_Time, total=False):
    """The time of the run. `price` is there if an hour has one."""

    price: float


class Disk(TypedDict):
    checkpoints_gb: float
    cache_gb: float
    cache_missing_gb: float


class Ranks(TypedDict):
    """Effective ranks of a teacher's features, on the training images and on generated ones."""

    own: float
    generated: float


class Spread(TypedDict):
    images: int
    teachers: dict[str, Ranks]
    times: float


class Duplicates(TypedDict):
    """Number of training images that are `found` in each set of the evaluation."""

    found: dict[str, int]
    looked_at: str


class Facts(TypedDict, total=False):
    """What is known of a run; a check that ends early, or has nothing to look at, leaves facts out."""

    views: list[int]
    ladder: Ladder
    memory: Memory
    time: Time
    disk: Disk
    spread: Spread
    duplicates: Duplicates
