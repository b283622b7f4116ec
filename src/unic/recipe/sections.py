"""The sections of a recipe, except those of the teachers (`unic.recipe.teachers`).

The text below a key is its description in `unic schema` and on the page docs/recipe.md, which makes this file long.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import (
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from unic.recipe.base import Component, Positive, Section
from unic.runs.metric_names import KNN_MEAN, KNN_UNSEEN


class ProjectorSection(Component):
    """Maps the student's tokens to each teacher's."""

    type: str = "ladder"
    """`ladder`, `mlp`, `transformer`, `linear`, `identity`, or a dotted module. Options of `ladder`: `hidden_dim`, by
    default the student's width; `last_hidden_dim`, by default 4 × the student's width; `norm: none` or `pre`; `shared:
    false`. Options of `mlp`: `hidden_dim`, by default 4 × the student's width; `depth: 2`; `shared: false`. Option of
    `transformer`: `layer_scale: 1e-4`. Option of all: `blocks`, which is `all`, `last`, or a list of the student's
    blocks that ends with the last."""


class StandardizeSection(Component):
    """Brings the tokens of all teachers to one scale."""

    type: str = "ema"
    """`ema`, which shifts and scales each channel to mean 0 and standard deviation 1, another standardiser (`unic list
    standardizers`), or a dotted module. Options of `ema`: `momentum: [1.0, 0.001]`, the first and last value of a
    cosine over the run; `floor: 0`, the least deviation of a channel as a share of its teacher's mean deviation. A
    floor keeps channels that hardly vary from making huge targets."""


class WeightingSection(Component):
    """How much each teacher counts for each image."""

    type: str = "teacher_dropping"
    """`teacher_dropping`, another weighting (`unic list weightings`), or a dotted module. Options of
    `teacher_dropping`: `level: image` or `batch`; `p`, the probability of a drop, by default `auto`: min(number of
    teachers / 8, ½), and 0 with one teacher; `normalise: pair` or `image`."""


class StudentSection(Section):
    """The model that is trained."""

    model: str
    """URI of a timm or packaged model. Training starts from its weights, unless the URI says `pretrained=false`; then
    mean and std are ImageNet's, unless the URI names others."""
    train_size: Positive | None = None
    """Side of the views that the student sees in training; null: its own input size, at which it is always evaluated
    and exported. A smaller one is faster (FixRes)."""
    drop_path: float = Field(0.1, ge=0, lt=1)
    """Rate of stochastic depth, as timm's `drop_path_rate`."""
    batch_norms: Literal["batch", "start"] = "batch"
    """Statistics of batch norms in training: `batch`, those of each batch, which the running statistics follow, or
    `start`, those that the student starts with, which stay."""
    lr_scale: float = Field(1.0, gt=0)
    """Factor of the student's learning rate; the projectors, which start from random weights, learn with 1."""
    layer_decay: float = Field(1.0, gt=0, le=1)
    """Factor of the learning rate from each layer to the one below it, as in BEiT and timm: the last layer learns with
    `lr_scale`, the first with the least; 1: all learn alike."""
    widths: list[Positive] = Field([])
    """Nested widths, ascending, for example `[64, 128]`: the loss is the mean over the full width and these. At such a
    width the projectors read only so many first channels of the last block, so users may cut the exported features
    there (Matryoshka)."""
    frozen: bool = False
    """Train the projectors alone; the student stays in evaluation mode. For a first stage: `stages: [{student.frozen:
    true, train.epochs: 1}, {}]` trains the projectors, then everything (LP-FT)."""

    @field_validator("widths")
    @classmethod
    def _ascending(cls, widths: list[int]) -> list[int]:
        if widths != sorted(set(widths)):
            raise ValueError("expected different numbers, from the smallest to the largest")
        return widths


class SourceSection(Section):
    """Images to train on. Labels are not read."""

    path: str
    """A folder, Parquet files, shards, a data set of the hub, or a URL of shards."""
    weight: float = Field(1.0, gt=0)
    """Passes over the source in one epoch; 2: two passes; 0.5: half of its images, another half in each epoch."""
    limit: Positive | None = None
    """Number of images to use, a fixed random subset; null: all."""
    teachers: list[str] | None = Field(None, min_length=1)
    """Names of the teachers that the student learns from on these images; null: all."""
    anchor: float = Field(0.0, ge=0)
    """Weight of a loss that holds the student's own CLS near that of its start on these images, so that it does not
    forget what the start knew. Checkpoints then contain the start's weights, too. 0: none."""
    window: Positive = 16
    """Number of shards of a streamed source whose images are mixed."""


class MixSection(Section):
    """Mixes views with those of other images of their source. Teachers and student see the same mixed view."""

    mixup: float = Field(0.0, ge=0)
    """α of the Beta distribution that draws the share of the other image in a blend; 0: no blends."""
    cutmix: float = Field(0.0, ge=0)
    """The same for a box cut out of the other image; 0: no boxes. With both, each mixed view draws one of them."""
    probability: float = Field(1.0, gt=0, le=1)
    """Share of the views that are mixed."""

    @model_validator(mode="after")
    def _does_something(self) -> MixSection:
        if not self.mixup and not self.cutmix:
            raise ValueError("expected mixup or cutmix above 0")
        return self


class DataSection(Section):
    """The training images, and the views of them."""

    train: list[SourceSection] = Field(min_length=1)
    """Sources of training images; a path, or a list of paths, is short for sources of weight 1."""
    size: Positive = 224
    """Side of the square views in pixels; each encoder resizes them to its own size."""
    sizes: list[Positive] | None = Field(None, min_length=1)
    """Sides from which each step draws that of its views. The student sees the views as they are; so does each teacher
    that can and whose URI names no size. A side listed twice is drawn twice as often; the largest must be `size`."""
    augment: str = "unic"
    """`unic`: the paper's augmentation; `light`: for letters and drawings; `none`: the centre of the image."""
    mix: MixSection | None = None
    """Mixed views (mixup, CutMix); null: none."""
    holdout: float = Field(0.0, ge=0, lt=1)
    """Share of each source that is never trained on, the same images in each run. Default with
    `train.interpolate: auto`: 0.05."""
    validation: list[str] = Field([])
    """Further images that are never trained on: paths like those of `train`, without labels. `train.interpolate: auto`
    measures on them."""
    workers: int = Field(2, ge=0)
    """Number of processes that decode images, for each process that trains."""
    timeout: int = Field(600, ge=0)
    """Seconds to wait for a batch of the workers before the run saves and ends; 0: no limit."""
    max_damaged: float = Field(0.01, ge=0, le=1)
    """Largest share of images that cannot be read; above it the run ends."""
    max_pixels: Positive = 200_000_000
    """Largest image in pixels. Larger ones are left out as damaged; above 89 megapixels an image is decoded smaller."""

    @field_validator("train", mode="before")
    @classmethod
    def _paths(cls, value: Any) -> Any:
        """Expands `train: images/` and `train: [a, b]` to lists of sources."""
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
            raise ValueError(f"the largest size, {max(sizes)}, must be data.size, which is {size}")
        return sizes


class TrainSection(Section):
    """The optimisation: AdamW, with a linear warm-up and a cosine decay of the learning rate."""

    epochs: float = Field(10, gt=0)
    """Number of passes over `data.train`; fractions are allowed."""
    steps: Positive | None = None
    """Number of steps; replaces `epochs`."""
    batch_size: Positive = 128
    """Number of images of a step, over all processes."""
    micro_batches: Positive = 1
    """Number of parts of a batch whose gradients are added, to need less memory. The result is that of the whole batch,
    except that batch norms see one part at a time."""
    lr: float = Field(3e-4, gt=0)
    """Peak learning rate for a batch of 256 images; it is multiplied by `batch_size` / 256."""
    min_lr: float = Field(1e-6, ge=0)
    """Learning rate at the end of the cosine."""
    warmup_epochs: float = Field(1, ge=0)
    """Epochs in which the learning rate rises linearly from 0 to its peak."""
    weight_decay: float = Field(0.03, ge=0)
    """Weight decay of matrices; vectors (biases, norms) have none."""
    pull: float = Field(0.0, ge=0)
    """Decay of the student's parameters towards those that it started from, in place of `weight_decay` (L2-SP).
    Checkpoints then contain the start's weights, too. 0: none."""
    betas: tuple[float, float] = (0.9, 0.99)
    """The betas of AdamW."""
    clip_grad: float | None = Field(None, gt=0)
    """Largest norm of the gradient; null: no limit."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """Precision of the encoders; `auto`: bf16 where the hardware multiplies it faster, decided for each encoder."""
    compile: bool = False
    """Compile student, projectors, losses and teachers with torch.compile."""
    engine: Literal["ddp", "fsdp"] = "ddp"
    """How several processes share the trained models: each holds them whole (`ddp`), or in shards (`fsdp`, FSDP2)."""
    gradients: Literal["fp32", "bf16"] = "fp32"
    """Type in which processes exchange gradients; bf16 halves the traffic."""
    ema: float | None = Field(None, gt=0, lt=1)
    """Decay of a moving average of the weights, which is then evaluated and exported."""
    interpolate: float | Literal["auto"] | None = None
    """Share α of the trained weights in the student that is evaluated and exported: (1 − α) · start + α · trained
    (WiSE-FT). `auto`: the α of 0.25, 0.5, 0.75 and 1 that predicts the teachers best on images that were not trained on
    (`data.holdout`, `data.validation`). Null: as trained, like 1."""
    interpolate_norms: Literal["mixed", "again"] = "mixed"
    """Statistics of batch norms of the interpolated student: `mixed` like its weights, or computed `again` on the first
    2,048 images."""
    checkpoint_activations: bool = False
    """Compute the student's activations again in the backward pass, to need less memory."""
    patch_share: float = Field(1.0, gt=0, le=1)
    """Share of each image's patches that projectors and loss see, drawn in each step."""
    log_every: Positive = 10
    """Steps between log lines."""
    max_skipped: Positive = 20
    """Number of steps in a row without a finite loss after which the run ends with a diagnosis."""
    lower_after: Positive | None = None
    """Halve the learning rate after each so many steps without a finite loss; null: never."""
    timeout: Positive = 1800
    """Seconds for which a process waits for the others."""

    @field_validator("interpolate", mode="before")
    @classmethod
    def _share_or_auto(cls, value: Any) -> Any:
        is_share = isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 1
        if not (value is None or value == "auto" or is_share):
            raise ValueError("expected auto, or a number above 0 and at most 1")
        return value


class CheckpointSection(Section):
    """When a run is saved, and which checkpoints are kept."""

    every: Positive = 500
    """Steps between checkpoints."""
    keep: Positive = 2
    """Number of newest checkpoints to keep."""
    best: str | None = None
    """A logged metric whose best checkpoint is kept too, for example `knn/mean` (`eval.every`): the highest, of `loss…`
    the lowest. `knn_unseen/…` is refused, since a set that chooses a checkpoint is not unseen."""
    asynchronous: bool = False
    """Write checkpoints in the background."""
    on_full: Literal["continue", "stop"] = "continue"
    """Whether the run goes on or stops when a checkpoint cannot be written."""

    @field_validator("best")
    @classmethod
    def _not_by_unseen(cls, best: str | None) -> str | None:
        if (best or "").startswith(KNN_UNSEEN):
            raise ValueError(
                "a set that chooses a checkpoint is no longer unseen; expected a metric of seen sets or of the "
                f"training, for example '{KNN_MEAN}'"
            )
        return best


class EvalSection(Section):
    """The evaluation of the student."""

    suite: str | dict[str, Any] | None = None
    """Suite to measure at the end: a name (`unic list suites`), a YAML file, or the content of such a file (`{data:
    [NAME=PATH]}`, also `unseen: [NAME=PATH]` for sets that are not trained on); null: none."""
    every: Positive | None = None
    """Run k-NN every so many steps; null: never. It classifies a fixed fifth of each set's training part (at most 2500
    images) by the rest and opens no test image. `metrics.jsonl` has `knn/…`, for unseen sets `knn_unseen/…`."""
    patience: Positive | None = None
    """Number of k-NN runs without a better `knn/mean` (of seen sets) after which a stage ends; null: no early end."""
