"""What UNIC ViT-B and UNIC-L cost on paper: FLOP, bytes and memory of a step, images a second, hours of the recipe.

    python benchmarks/gpu/roofline.py [--ceiling 790e12] [--memory 4.3e12] [--out FILE]

Nothing is computed: tensors have shapes and no values (`FakeTensorMode`), and `torch.utils.flop_counter` counts their
products. Beside that stand the formulas

    FLOP of a ViT   = 2 N m + 4 N² D L + 2 P e           m, e: weights of the blocks' matrices, of the patch embedding
    FLOP of a rung  = 2 (P + 1) (D h + h D_t)            of each teacher and block; what is trained counts three times
    memory          = 16 P_trained + 2 P_teachers + b · what the forward pass keeps for the backward pass
    sent in a step  = 2 (W − 1)/W · 4 P_trained + (W − 1) · 4 Σ (2 D_t + 1)      (benchmarks/scaling.py)

with N tokens, P of them patches, width D, L blocks, hidden width h, W processes of b images. Bytes are what the
operations of an eager step read and write, were none of it in a cache; an update moves 36 a parameter. Hours are those
of the shipped recipe's epochs of ImageNet-1K, summed over its stages, at its batch. A GPU takes at most 128 images at a
time, divided by the stage's `micro_batches`. Loading, evaluation and checkpoints are not in them.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
from _part import ROOT
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from _bytes import ByteCounter  # isort: skip

from unic.encoders import parse_uri
from unic.losses import build_losses
from unic.projectors import build_projector, project
from unic.recipe.schema import load_recipe
from unic.tokens import Tokens
from unic.training.memory import SavedBytes

SIZE, BATCH = 224, 128  # pixels; images of a GPU
NVLINK, NETWORK, BUS = 450e9, 50e9, 0.8  # bytes a second within a machine of eight and beyond; share that is reached
SHARES, WORLDS = (0.4, 0.65), (1, 4, 8, 64)
RECIPE_WORLDS, IMAGENET = (1, 4, 8), 1_281_167  # GPUs that train a recipe; training images of ImageNet-1K
UPDATE = 36  # bytes a parameter: 4 are read for the norm; the update reads and writes value, gradient and two moments


@dataclass(frozen=True)
class Setting:
    teachers: tuple[str, ...]
    student: str
    recipe: str


@dataclass(frozen=True)
class Stage:
    """A stage of a recipe, and what an image and a step of it cost."""

    size: int  # pixels of the student's images
    epochs: float
    batch: int
    micro_batches: int
    costs: dict[str, Any]

    def at_a_time(self, gpus: int) -> float:
        """Images that a GPU takes at a time."""
        return min(self.batch / gpus, BATCH) / self.micro_batches


SETTINGS = {
    "UNIC ViT-B": Setting(("vit_base_patch16_224",) * 4, "vit_base_patch16_224", "unic-vitb16"),
    "UNIC-L": Setting(
        ("vit_giant_patch14_reg4_dinov2", "vit_huge_patch14_clip_224"), "vit_large_patch14_clip_224", "unic-vitl14"
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--ceiling", type=float, default=790e12, help="FLOP/s of a large bf16 product")
    parser.add_argument("--memory", type=float, default=4.3e12, help="bytes a second of a copy, read and written")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    found: dict[str, Any] = {}
    for name, setting in SETTINGS.items():
        stages = stages_of(setting)
        found[name] = {
            "costs": [stage.costs for stage in stages],
            "rates": rates(stages[0].costs, options.ceiling),
            "recipe": hours(stages, options.ceiling),
        }
        for stage in stages:
            print(f"\n{name} at {stage.size} px")
            for key, value in stage.costs.items():
                print(f"  {key}: {value:.4g}" if isinstance(value, float) else f"  {key}: {value}")
            balance = stage.costs["flop"] / stage.costs["bytes"]
            print(f"  FLOP a byte: {balance:.0f}, of the GPU: {options.ceiling / options.memory:.0f}")
            print(f"  GB of memory for {BATCH} images: {memory_of(stage.costs, BATCH) / 1e9:.1f}")
        print(
            "\n| GPUs | share of the product | images/s | sent MB | exchange ms | backward ms |",
            "|---" * 6 + "|",
            sep="\n",
        )
        for row in found[name]["rates"]:
            print(
                f"| {row['gpus']} | {100 * row['share']:.0f} % | {row['images_per_s']:.0f} | {row['sent'] / 1e6:.0f} | "
                f"{1e3 * row['exchange']:.1f} | {1e3 * row['backward']:.0f} |"
            )
        print(f"\n{setting.recipe}:", ", then ".join(f"{each.epochs:g} epochs at {each.size} px" for each in stages))
        shares = ", ".join(f"{100 * share:.0f}" for share in SHARES)
        heads = (
            "images of each",
            "memory a GPU, GB",
            *(f"{what} at {shares} %" for what in ("images/s", "hours", "GPU hours")),
        )
        print("| GPUs |", " | ".join(heads), "|\n" + "|---" * (len(heads) + 1) + "|")
        for row in found[name]["recipe"]:
            images = " + ".join(f"{steps:g} × {count:g}" for steps, count in row["images"])
            speeds = " + ".join(", ".join(f"{value:.0f}" for value in stage) for stage in row["images_per_s"])
            spent = (", ".join(f"{factor * value:.3g}" for value in row["hours"]) for factor in (1, row["gpus"]))
            print(f"| {row['gpus']} | {images} | {row['memory'] / 1e9:.0f} | {speeds} |", " | ".join(spent), "|")
    if options.out:
        options.out.write_text(json.dumps(found, indent=1) + "\n")


def stages_of(setting: Setting) -> list[Stage]:
    """The stages of a setting's recipe, whose URIs say at which sizes teachers and student see images."""
    stages = []
    for plan in load_recipe(ROOT / f"recipes/{setting.recipe}.yaml").plans():
        train, size = plan.train, side(plan.student.model)
        assert train.epochs is not None
        costs = cost_of(setting, size, [side(uri) for uri in plan.teachers.uris.values()])
        stages.append(Stage(size, train.epochs, train.batch_size, train.micro_batches, costs))
    return stages


def side(uri: str) -> int:
    """Of the images that an encoder sees."""
    height, _ = parse_uri(uri).input_size() or (SIZE, SIZE)
    return height


def cost_of(setting: Setting, size: int, sizes: Sequence[int]) -> dict[str, Any]:
    """FLOP (counted and by formula) and bytes of an image, parameters, and what the forward pass keeps of an image.

    Args:
        size: of the student's images.
        sizes: of each teacher's images.
    """
    with torch.device("meta"):
        teachers = [
            vit(name, side).eval().requires_grad_(False) for name, side in zip(setting.teachers, sizes, strict=True)
        ]
        student = vit(setting.student, size)
        width, blocks = student.embed_dim, len(student.blocks)
        widths = [teacher.embed_dim for teacher in teachers]
        hidden = {"hidden_dim": width, "last_hidden_dim": 4 * width}
        ladders = [build_projector("ladder", [(width, width)] * blocks, (d, d), width, dict(hidden)) for d in widths]
    with FakeTensorMode():
        for module in (*teachers, student, *ladders):
            kind = torch.bfloat16 if module in teachers else torch.float32
            module._apply(lambda tensor, kind=kind: torch.empty(tensor.shape, dtype=kind))
        images = images_for(student, 2)
        flop = {
            "teachers": sum(
                flop_of(lambda each=each: each.forward_features(images_for(each, 2).bfloat16())) for each in teachers
            )
            / 2,
            "student": 3 * flop_of(lambda: rungs_of(student, images)) / 2,
            "ladders": 3 * flop_of(lambda: project(ladders, rungs_of(student, images))) / 2,
        }
        flop["ladders"] -= flop["student"]
        few, many = (bytes_of(teachers, student, ladders, count) for count in (2, 4))
    trained = parameters(student) + sum(map(parameters, ladders))
    by_formula = {
        "teachers": sum(map(flop_of_vit, teachers)),
        "student": 3 * flop_of_vit(student),
        "ladders": 3 * sum(flop_of_ladder(student, d) for d in widths),
    }
    moved = [more - less for more, less in zip(many, few, strict=True)]  # of two images, without what a step moves once
    once = few[0] - moved[0] + UPDATE * trained
    return {
        "flop": sum(flop.values()),
        "flop counted": flop,
        "flop by formula": by_formula,
        "bytes": moved[0] / 2 + once / BATCH,
        "trained": trained,
        "frozen": sum(map(parameters, teachers)),
        "kept": moved[1] / 2,
        "moments": 4 * sum(2 * (2 * d + 1) for d in widths),
    }


def memory_of(costs: dict[str, Any], images: float) -> float:
    """Bytes on a GPU that takes so many images at a time, without temporary buffers.

    DDP adds nothing: gradients lie in the buckets that it exchanges (`gradient_as_bucket_view`).
    """
    return 16 * costs["trained"] + 2 * costs["frozen"] + images * costs["kept"]


def vit(name: str, size: int) -> Any:
    return timm.create_model(name, num_classes=0, img_size=size)


def images_for(model: Any, count: int) -> Tensor:
    return torch.empty(count, 3, *model.patch_embed.img_size)


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def rungs_of(student: Any, images: Tensor) -> list[Tokens]:
    found = student.forward_intermediates(
        images, norm=False, output_fmt="NLC", return_prefix_tokens=True, intermediates_only=True
    )
    return [Tokens(prefix[:, 0], patches, student.patch_embed.grid_size) for patches, prefix in found]


def flop_of(run: Any) -> float:
    with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        run()
    return float(counter.get_total_flops())


def flop_of_vit(model: Any) -> float:
    matrices = sum(each.weight.numel() for each in model.blocks.modules() if isinstance(each, nn.Linear))
    patches = model.patch_embed.num_patches
    tokens = patches + model.num_prefix_tokens
    attention = 4 * tokens**2 * model.embed_dim * len(model.blocks)
    return float(2 * tokens * matrices + attention + 2 * patches * model.patch_embed.proj.weight.numel())


def flop_of_ladder(student: Any, out: int) -> float:
    width, blocks = student.embed_dim, len(student.blocks)
    hidden = width * (blocks - 1) + 4 * width
    return float(2 * (student.patch_embed.num_patches + 1) * hidden * (width + out))


def bytes_of(teachers: Sequence[Any], student: Any, ladders: Sequence[nn.Module], count: int) -> tuple[float, float]:
    """What a step on so many images moves but for the update, and what its forward pass keeps."""
    settings, dims = {"cosine": 0.5, "smooth_l1": 0.5}, (student.embed_dim, student.embed_dim)
    losses, saved, patches = build_losses(settings, dims), SavedBytes(), student.patch_embed.num_patches
    with ByteCounter() as counter, torch.autocast("cpu", torch.bfloat16):
        targets = []
        with torch.no_grad():
            for teacher in teachers:
                tokens = teacher.forward_features(images_for(teacher, count).bfloat16()).float()
                found = tokens[:, teacher.num_prefix_tokens :]
                if found.shape[1] != patches:  # one product matches the grids, as `unic.tokens.resize_patches` does
                    found = torch.empty(patches, found.shape[1]) @ found
                targets.append((tokens[:, 0], found))
        with saved:
            total = torch.zeros(())
            for made, target in zip(
                project(ladders, rungs_of(student, images_for(student, count))), targets, strict=True
            ):
                for one, other in zip((made.cls, made.patches), target, strict=True):
                    for weight, loss in losses.values():
                        total = total + weight * loss(one.float(), other.float()).sum()
        total.backward()
    for module in (student, *ladders):
        module.zero_grad(set_to_none=True)
    return float(counter.total), float(saved.total)


def rates(costs: dict[str, Any], ceiling: float) -> list[dict[str, float]]:
    """Steps of 128 images a GPU."""
    return [
        step_of(costs, share * ceiling, gpus, BATCH, BATCH) | {"share": share} for gpus in WORLDS for share in SHARES
    ]


def hours(stages: Sequence[Stage], ceiling: float) -> list[dict[str, Any]]:
    """A recipe's training through all its stages; images and images a second are those of each stage."""
    rows = []
    for gpus in RECIPE_WORLDS:
        speeds = [[speed(stage, share * ceiling, gpus) for share in SHARES] for stage in stages]
        seconds = [
            sum(stage.epochs * IMAGENET / of_stage[i] for stage, of_stage in zip(stages, speeds, strict=True))
            for i in range(len(SHARES))
        ]
        rows.append({
            "gpus": gpus,
            "images": [(stage.batch / gpus / stage.at_a_time(gpus), stage.at_a_time(gpus)) for stage in stages],
            "memory": max(memory_of(stage.costs, stage.at_a_time(gpus)) for stage in stages),
            "images_per_s": speeds,
            "hours": [each / 3600 for each in seconds],
        })  # fmt: skip
    return rows


def speed(stage: Stage, rate: float, gpus: int) -> float:
    return step_of(stage.costs, rate, gpus, stage.batch / gpus, stage.at_a_time(gpus))["images_per_s"]


def step_of(costs: dict[str, Any], rate: float, gpus: int, images: float, at_a_time: float) -> dict[str, float]:
    """Images a second where GPUs compute at a rate, less what the last backward pass does not hide of the exchange."""
    flop = costs["flop counted"]
    backward = 2 / 3 * at_a_time * (flop["student"] + flop["ladders"]) / rate
    sent = 2 * (gpus - 1) / gpus * 4 * costs["trained"] + (gpus - 1) * costs["moments"]
    exchange = sent / (BUS * (NVLINK if gpus <= 8 else NETWORK))
    seconds = images * costs["flop"] / rate + max(0.0, exchange - backward)
    return {
        "gpus": gpus, "images_per_s": gpus * images / seconds, "sent": sent, "exchange": exchange, "backward": backward,
    }  # fmt: skip


if __name__ == "__main__":
    main()
