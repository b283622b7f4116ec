"""The sections of a recipe, strict: an unknown key is an error.

The text under a key is its description in `unic schema` and on the recipe page, which makes this file long.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from unic.quantities import SIZE
from unic.runs.metric_names import KNN_UNSEEN

Positive = Annotated[int, Field(gt=0)]


class Section(BaseModel):
    """A part of the recipe. Unknown keys are errors. The text under a key is its description in `unic schema`."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)


class Component(BaseModel):
    """A part that is chosen by `type`; its other keys are options that the chosen module declares and checks itself."""

    model_config = ConfigDict(extra="allow", frozen=True, use_attribute_docstrings=True)
    type: str

    @property
    def options(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class Projector(Component):
    """Maps the student's tokens to each teacher's."""

    type: str = "ladder"
    """`ladder` (options `hidden_dim`, default the student's width, and `last_hidden_dim`, default 4 × it), `linear`, or
    a dotted module. For all of them `blocks`: `all`, `last`, or a list of the student's blocks that ends with the
    last."""


class Standardize(Component):
    """Brings the tokens of all teachers to one scale."""

    type: str = "ema"
    """`ema`: mean 0 and deviation 1 in each channel (options `momentum: [1.0, 0.001]`, the first and last value of a
    cosine over the run; `floor: 0`, the least deviation of a channel as a share of its teacher's mean deviation, which
    keeps channels that hardly ever vary from making huge targets). Others: `unic list standardizers`, or a dotted
    module."""


class Weighting(Component):
    """How much each teacher counts for each image."""

    type: str = "teacher_dropping"
    """`teacher_dropping` (options `level: image` or `batch`; `p: auto`, which is min(teachers / 8, ½), 0 with one
    teacher; `normalise: pair` or `image`). Others: `unic list weightings`, or a dotted module."""


class Cache(Section):
    """Teacher outputs written once and read in every epoch."""

    views: Positive = 1
    """Augmented views of each image; its k-th visit takes view k mod V. 1 is enough with `augment: none`."""
    tokens: str = Field("all", pattern=r"^(all|cls|pooled:[1-9]\d*x[1-9]\d*)$")
    """`all`: patches on the teacher's grid; `pooled:GxG`: resized to G × G; `cls`: none, and the patch half of the loss
    is off."""
    dtype: Literal["fp16", "fp32", "int8"] = "fp16"
    """Of the patches; CLS and the mean of the patches are float32."""
    processes: Positive = 1
    """How many build it on this machine, for each rank; on several GPUs each takes the next one."""
    dir: str | None = None
    """Where it lies; null: `$UNIC_CACHE`, else `~/.cache/unic`."""
    budget: str | None = Field(None, pattern=SIZE)
    """Refuse a larger one, for example `8GB`."""


class Teachers(Section):
    """What is distilled."""

    models: dict[str, str] = Field(min_length=1)
    """URIs by name; a recipe that names some replaces all that its base names. `student`, `start`, `pixels` and
    `concat` are columns of every table and no names of teachers."""
    cache: Cache | None = None
    """Compute their outputs once; null: in every step."""
    shard: bool = False
    """With `train.engine: fsdp`: each process holds a share of the teachers' blocks."""

    @field_validator("models")
    @classmethod
    def _plain_names(cls, models: dict[str, str]) -> dict[str, str]:
        for name in models:
            if not name.replace("-", "_").isidentifier():
                raise ValueError(f"teacher name '{name}' must be letters, digits, '_' or '-'")
        return models


class Student(Section):
    """What is trained."""

    model: str
    """The URI of a timm or packaged model; its weights are the start, unless it says `pretrained=false` (ImageNet's
    mean and std then, unless it says others)."""
    train_size: Positive | None = None
    """Side at which it sees the views while it trains; null: its own input size, at which it is evaluated and exported
    in any case. A smaller one is faster (FixRes)."""
    drop_path: float = Field(0.1, ge=0, lt=1)
    """Rate of stochastic depth, as timm's `drop_path_rate`."""
    batch_norms: Literal["batch", "start"] = "batch"
    """Whose statistics batch norms use while they train: of the `batch`, which their running statistics follow, or of
    the `start`, which stay as they are."""
    lr_scale: float = Field(1.0, gt=0)
    """The student's learning rate as a multiple of the projectors', which begin at random weights."""
    layer_decay: float = Field(1.0, gt=0, le=1)
    """Factor of the rate from each layer to the one below it, as in BEiT and timm: the last learns with `lr_scale`, the
    first with least; 1: all alike."""
    frozen: bool = False
    """Projectors alone learn, before an encoder in evaluation mode. For a first stage: `stages: [{student.frozen: true,
    train.epochs: 1}, {}]` trains the projectors, then everything (LP-FT)."""


class TrainSource(Section):
    """Images to train on; labels are not read."""

    path: str
    """Folder, Parquet files, shards, data set of the hub, or a URL of shards."""
    weight: float = Field(1.0, gt=0)
    """How often one epoch goes over it (0.5: half of it, another half each epoch; 2: twice)."""
    limit: Positive | None = None
    """A fixed random subset of so many images."""
    teachers: list[str] | None = Field(None, min_length=1)
    """Those that learn from its images; null: all."""
    anchor: float = Field(0.0, ge=0)
    """Weight of a term that holds the student's own CLS near its start's on these images; for what the start knows and
    must not forget. 0: none. Checkpoints then hold the start's weights, too."""
    window: Positive = 16
    """Of a streamed source: shards mixed at a time."""


class Mixing(Section):
    """Views mixed with those of other images of their source; teachers and student see the same mixed view."""

    mixup: float = Field(0.0, ge=0)
    """α of the Beta distribution of the other image's share in a blend; 0: no blends."""
    cutmix: float = Field(0.0, ge=0)
    """The same for a box cut out of the other image; 0: no boxes. With both, each mixed view draws one of the two."""
    probability: float = Field(1.0, gt=0, le=1)
    """Share of the views that are mixed."""

    @model_validator(mode="after")
    def _does_something(self) -> Mixing:
        if not self.mixup and not self.cutmix:
            raise ValueError("expected mixup or cutmix above 0")
        return self


class Data(Section):
    """What is seen, and how."""

    train: list[TrainSource] = Field(min_length=1)
    """Sources; a path, or a list of paths, is short for sources of weight 1."""
    size: Positive = 224
    """Side of the square views, in pixels; each encoder resizes them to its own size."""
    sizes: list[Positive] | None = Field(None, min_length=1)
    """Each step draws the side of its views from these, and the student sees them as they are; so does each teacher
    that can and whose URI names no size. One that is listed twice comes twice as often; the largest is `size`."""
    augment: str = "unic"
    """`unic`, the paper's; `light`, for letters and drawings; `none`: the middle of the image."""
    mix: Mixing | None = None
    """Mixed views (mixup, CutMix); null: none."""
    holdout: float = Field(0.0, ge=0, lt=1)
    """Share of each source that is never trained on, the same images in every run; 0.05 where `train.interpolate: auto`
    asks for some and this says nothing."""
    validation: list[str] = []
    """Further images that are never trained on, unlabelled: paths like those of `train`. What `train.interpolate: auto`
    chooses by."""
    workers: int = Field(2, ge=0)
    """Processes that decode images, for each process that trains."""
    timeout: int = Field(600, ge=0)
    """Seconds that a batch of theirs is waited for before the run saves and ends; 0: without end."""
    max_damaged: float = Field(0.01, ge=0, le=1)
    """A run ends when more than this share of its images cannot be read."""
    max_pixels: Positive = 200_000_000
    """Larger images are left out as damaged; one of more than 89 megapixels is decoded smaller."""

    @field_validator("train", mode="before")
    @classmethod
    def _paths(cls, value: Any) -> Any:
        """`train: images/` and `train: [a, b]` are short for lists of sources with weight 1."""
        sources = value if isinstance(value, list) else [value]
        return [{"path": source} if isinstance(source, str) else source for source in sources]

    @field_validator("validation", mode="before")
    @classmethod
    def _one_path(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @field_validator("sizes")
    @classmethod
    def _largest(cls, sizes: list[int] | None, known: ValidationInfo) -> list[int] | None:
        size = known.data.get("size")
        if sizes and size is not None and max(sizes) != size:
            raise ValueError(f"the largest, {max(sizes)}, is not data.size, which is {size}")
        return sizes


class Train(Section):
    """The optimisation: AdamW, a warm-up and a cosine."""

    epochs: float = Field(10, gt=0)
    """Passes over `data.train`; parts of one are allowed."""
    steps: Positive | None = None
    """In place of `epochs`, which then does not count."""
    batch_size: Positive = 128
    """Images of one step, over all processes."""
    micro_batches: Positive = 1
    """Parts of a batch whose gradients add up, for less memory; the result is that of the whole batch, but that batch
    norms see a part at a time."""
    lr: float = Field(3e-4, gt=0)
    """Peak of the rate for 256 images: it is multiplied by `batch_size` / 256."""
    min_lr: float = Field(1e-6, ge=0)
    """Where the cosine ends."""
    warmup_epochs: float = Field(1, ge=0)
    """Linear from 0 to the peak."""
    weight_decay: float = Field(0.03, ge=0)
    """Of matrices; vectors (biases, norms) have none."""
    pull: float = Field(0.0, ge=0)
    """Decay of all of the student's parameters towards those that it started from, in place of `weight_decay` (L2-SP);
    0: none. Checkpoints then hold the start's weights, too."""
    betas: tuple[float, float] = (0.9, 0.99)
    """Of AdamW."""
    clip_grad: float | None = Field(None, gt=0)
    """Largest norm of the gradient; null: any."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """`auto`: bf16 where the hardware multiplies it faster, for each encoder on its own."""
    compile: bool = False
    """Student, projectors, losses and teachers through torch.compile."""
    engine: Literal["ddp", "fsdp"] = "ddp"
    """With several processes: what is trained whole on each, or in shards (FSDP2)."""
    gradients: Literal["fp32", "bf16"] = "fp32"
    """In what processes exchange gradients; bf16 halves what is sent."""
    ema: float | None = Field(None, gt=0, lt=1)
    """Decay of a moving average of the weights, which is then what is evaluated and exported."""
    interpolate: float | Literal["auto"] | None = None
    """Share α of what was trained in the student that leaves the run: its weights are (1 − α) · start + α · trained, 1
    is as trained (WiSE-FT). `auto`: the α of 0.25, 0.5, 0.75 and 1 that answers best for the teachers on images that
    were not trained on (`data.holdout`, `data.validation`). With null it leaves as trained."""
    interpolate_norms: Literal["mixed", "again"] = "mixed"
    """Statistics of its batch norms: `mixed` as its weights are, or computed `again` on the first 2,048 images."""
    checkpoint_activations: bool = False
    """Of the student: computed again in the backward pass, for less memory."""
    patch_share: float = Field(1.0, gt=0, le=1)
    """Of each image's patches, the share that projectors and loss see, drawn anew in each step."""
    log_every: Positive = 10
    """Steps."""
    max_skipped: Positive = 20
    """Steps in a row that are not finite, after which the run ends with a diagnosis."""
    lower_after: Positive | None = None
    """Halve the rate each time that so many steps in all were not finite."""
    timeout: Positive = 1800
    """Seconds that a process waits for the others."""

    @field_validator("interpolate", mode="before")
    @classmethod
    def _share_or_auto(cls, value: Any) -> Any:
        is_share = isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 1
        if not (value is None or value == "auto" or is_share):
            raise ValueError("expected auto, or a number above 0 and at most 1")
        return value


class Checkpoint(Section):
    """When a run is saved."""

    every: Positive = 500
    """Steps."""
    keep: Positive = 2
    """How many of the newest stay."""
    best: str | None = None
    """A logged metric whose best checkpoint stays too, for example `knn/mean` (`eval.every`); of `loss…` the lowest.
    `knn_unseen/…` only shows what is forgotten, and chooses nothing."""
    asynchronous: bool = False
    """Write beside the training."""
    on_full: Literal["continue", "stop"] = "continue"
    """What to do when a save cannot be written."""

    @field_validator("best")
    @classmethod
    def _not_by_unseen(cls, best: str | None) -> str | None:
        if (best or "").startswith(KNN_UNSEEN):
            raise ValueError(
                "a set that chooses a checkpoint is not unseen any more; expected a metric of seen sets or of the "
                "training, for example 'knn/mean'"
            )
        return best


class Eval(Section):
    """How the student is measured."""

    suite: str | dict[str, Any] | None = None
    """Measured at the end: a name (`unic list suites`), a YAML file, or what such a file holds (`{data: [NAME=PATH]}`,
    also `unseen: [NAME=PATH]`, sets that are no source of training); null: not at all."""
    every: Positive | None = None
    """Steps between looks while it trains: k-NN of a fixed fifth of each set's training part (of at most 2500 images)
    among the rest, `knn/…` in `metrics.jsonl`, of unseen sets `knn_unseen/…`; no test image is opened; null: none."""
    patience: Positive | None = None
    """Looks without a better `knn/mean`, which counts seen sets, after which a stage ends."""
