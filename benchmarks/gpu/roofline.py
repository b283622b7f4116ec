"""What UNIC ViT-B and UNIC-L cost on paper: FLOP, bytes and memory of a step, images a second, hours of the recipe.

    python benchmarks/gpu/roofline.py [--ceiling 790e12] [--memory 4.3e12] [--out FILE]

Nothing is computed: tensors have shapes and no values (`FakeTensorMode`), and `torch.utils.flop_counter` counts their
products. Beside that stand the formulas

    FLOP of a ViT   = 2 N m + 4 N² D L + 2 P e           m, e: weights of the blocks' matrices, of the patch embedding
    FLOP of a rung  = 2 (P + 1) (D h + h D_t)            of each teacher and block; what is trained counts three times
    memory          = 16 P_trained + 2 P_teachers + b · what the forward pass keeps for the backward pass
    sent in a step  = 2 (W − 1)/W · 4 P_trained + (W − 1) · 4 Σ (2 D_t + 1)      (benchmarks/scaling.py)

with N tokens, P of them patches, width D, L blocks, hidden width h, W processes of b images. Bytes are what the
operations of an eager step read and write, were none of it in a cache; the fused optimiser moves 28 a parameter.
Hours are those of the shipped recipe's epochs of ImageNet-1K at its batch, of which a GPU takes at most 128 at a time.
Loading, evaluation and checkpoints are not in them.
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
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from unic.losses import build_losses
from unic.projectors import build_projector, project
from unic.recipe.schema import load_recipe
from unic.tokens import Tokens
from unic.training.memory import SavedBytes

SIZE, BATCH = 224, 128  # pixels; images of a GPU
NVLINK, NETWORK, BUS = 450e9, 50e9, 0.8  # bytes a second within a machine of eight and beyond; share that is reached
SHARES, WORLDS = (0.4, 0.65), (1, 4, 8, 64)
RECIPE_WORLDS, IMAGENET = (1, 4, 8), 1_281_167  # GPUs that train a recipe; training images of ImageNet-1K


@dataclass(frozen=True)
class Setting:
    teachers: tuple[str, ...]
    student: str
    recipe: str


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
        costs = cost_of(setting)
        recipe = load_recipe(f"recipes/{setting.recipe}.yaml").train
        assert recipe.epochs is not None
        trained = hours(costs, options.ceiling, recipe.epochs, recipe.batch_size)
        found[name] = {"costs": costs, "rates": rates(costs, options.ceiling), "recipe": trained}
        print(f"\n{name}")
        for key, value in costs.items():
            print(f"  {key}: {value:.4g}" if isinstance(value, float) else f"  {key}: {value}")
        flop, moved = costs["flop"], costs["bytes"]
        print(f"  FLOP a byte: {flop / moved:.0f}, of the GPU: {options.ceiling / options.memory:.0f}")
        print(
            "| GPUs | share of the product | images/s | sent MB | exchange ms | backward ms |",
            "|---" * 6 + "|",
            sep="\n",
        )
        for row in found[name]["rates"]:
            print(
                f"| {row['gpus']} | {100 * row['share']:.0f} % | {row['images_per_s']:.0f} | {row['sent'] / 1e6:.0f} | "
                f"{1e3 * row['exchange']:.1f} | {1e3 * row['backward']:.0f} |"
            )
        print(f"\n{setting.recipe}: {recipe.epochs:g} epochs, batches of {recipe.batch_size}")
        print("| GPUs | images of each | share of the product | hours | GPU hours |", "|---" * 5 + "|", sep="\n")
        for row in trained:
            print(
                f"| {row['gpus']} | {row['images']:g} | {100 * row['share']:.0f} % | {row['hours']:.1f} | "
                f"{row['gpus'] * row['hours']:.0f} |"
            )
    if options.out:
        options.out.write_text(json.dumps(found, indent=1) + "\n")


def cost_of(setting: Setting) -> dict[str, Any]:
    """FLOP (counted and by formula) and bytes of an image, parameters, and bytes of memory on a GPU."""
    with torch.device("meta"):
        teachers = [vit(name).eval().requires_grad_(False) for name in setting.teachers]
        student = vit(setting.student)
        width, blocks = student.embed_dim, len(student.blocks)
        widths = [teacher.embed_dim for teacher in teachers]
        hidden = {"hidden_dim": width, "last_hidden_dim": 4 * width}
        ladders = [build_projector("ladder", [(width, width)] * blocks, (d, d), width, dict(hidden)) for d in widths]
    with FakeTensorMode():
        for module in (*teachers, student, *ladders):
            kind = torch.bfloat16 if module in teachers else torch.float32
            module._apply(lambda tensor, kind=kind: torch.empty(tensor.shape, dtype=kind))
        images = torch.empty(2, 3, SIZE, SIZE)
        flop = {
            "teachers": sum(
                flop_of(lambda each=teacher: each.forward_features(images.bfloat16())) for teacher in teachers
            )
            / 2,
            "student": 3 * flop_of(lambda: rungs_of(student, images)) / 2,
            "ladders": 3 * flop_of(lambda: project(ladders, rungs_of(student, images))) / 2,
        }
        flop["ladders"] -= flop["student"]
        few, many = (bytes_of(teachers, student, ladders, count) for count in (2, 4))
    trained = parameters(student) + sum(map(parameters, ladders))
    frozen = sum(map(parameters, teachers))
    by_formula = {
        "teachers": sum(map(flop_of_vit, teachers)),
        "student": 3 * flop_of_vit(student),
        "ladders": 3 * sum(flop_of_ladder(student, d) for d in widths),
    }
    moved = [more - less for more, less in zip(many, few, strict=True)]  # of two images, without what a step moves once
    once = few[0] - moved[0] + 28 * trained
    return {
        "flop": sum(flop.values()),
        "flop counted": flop,
        "flop by formula": by_formula,
        "bytes": moved[0] / 2 + once / BATCH,
        "trained": trained,
        "frozen": frozen,
        "kept": moved[1] / 2,
        "memory": 16 * trained + 2 * frozen + BATCH * moved[1] / 2,
        "moments": 4 * sum(2 * (2 * d + 1) for d in widths),
    }


def vit(name: str) -> Any:
    return timm.create_model(name, num_classes=0, img_size=SIZE)


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


class ByteCounter(TorchDispatchMode):
    """As that of `step.py`, for tensors without values: these ask for their device, which moves nothing."""

    total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if not func.is_view and not func.name().startswith("prim::") and "empty" not in func.name():
            self.total += sum(t.nbytes for t in tree_leaves((args, kwargs, result)) if isinstance(t, Tensor))
        return result


def bytes_of(teachers: Sequence[Any], student: Any, ladders: Sequence[nn.Module], count: int) -> tuple[float, float]:
    """What a step on so many images moves but for the update, and what its forward pass keeps."""
    settings, dims = {"cosine": 0.5, "smooth_l1": 0.5}, (student.embed_dim, student.embed_dim)
    images, losses = torch.empty(count, 3, SIZE, SIZE), build_losses(settings, dims)
    saved = SavedBytes()
    with ByteCounter() as counter, torch.autocast("cpu", torch.bfloat16):
        targets = []
        with torch.no_grad():
            for teacher in teachers:
                tokens = teacher.forward_features(images.bfloat16()).float()
                targets.append((tokens[:, 0], tokens[:, teacher.num_prefix_tokens :]))
        with saved:
            total = torch.zeros(())
            for found, target in zip(project(ladders, rungs_of(student, images)), targets, strict=True):
                for one, other in zip((found.cls, found.patches), target, strict=True):
                    for weight, loss in losses.values():
                        total = total + weight * loss(one.float(), other.float()).sum()
        total.backward()
    for module in (student, *ladders):
        module.zero_grad(set_to_none=True)
    return float(counter.total), float(saved.total)


def rates(costs: dict[str, Any], ceiling: float) -> list[dict[str, float]]:
    """Steps of 128 images a GPU."""
    return [step_of(costs, share * ceiling, gpus, BATCH) | {"share": share} for gpus in WORLDS for share in SHARES]


def hours(costs: dict[str, Any], ceiling: float, epochs: float, batch: int) -> list[dict[str, float]]:
    """A recipe's training."""
    rows = []
    for gpus in RECIPE_WORLDS:
        for share in SHARES:
            step = step_of(costs, share * ceiling, gpus, batch / gpus)
            seconds = epochs * IMAGENET / step["images_per_s"]
            rows.append(step | {"share": share, "images": batch / gpus, "hours": seconds / 3600})
    return rows


def step_of(costs: dict[str, Any], rate: float, gpus: int, images: float) -> dict[str, float]:
    """Images a second where GPUs compute at a rate, less what the last backward pass does not hide of the exchange."""
    flop = costs["flop counted"]
    backward = 2 / 3 * min(images, BATCH) * (flop["student"] + flop["ladders"]) / rate
    sent = 2 * (gpus - 1) / gpus * 4 * costs["trained"] + (gpus - 1) * costs["moments"]
    exchange = sent / (BUS * (NVLINK if gpus <= 8 else NETWORK))
    seconds = images * costs["flop"] / rate + max(0.0, exchange - backward)
    return {
        "gpus": gpus, "images_per_s": gpus * images / seconds, "sent": sent, "exchange": exchange, "backward": backward,
    }  # fmt: skip


if __name__ == "__main__":
    main()
