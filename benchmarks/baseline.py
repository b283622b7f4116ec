"""The baseline of `step.py`: a distillation step that implements METHOD.md in the plainest way.

The projector of each block is a product of its own, each teacher resizes its images, dropping loops over images in
Python, metrics are read with `.item()`, the optimiser is plain AdamW. It runs eagerly, under the same bf16 autocast.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unic.encoders import Encoder
from unic.tokens import Tokens


class Mlp(nn.Module):
    def __init__(self, width: int, hidden: int, output: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, output)
        for layer in (self.fc1, self.fc2):
            nn.init.trunc_normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class Baseline:
    """A student, a copy of the given one, and its teachers, whose attention is set to timm's default."""

    def __init__(
        self, student: Encoder, teachers: Mapping[str, Encoder], *, hidden_dim: int, last_hidden_dim: int, bf16: bool
    ) -> None:
        self.bf16 = bf16
        self.student, self.teachers = copy.deepcopy(student).train(), dict(teachers)
        for network in (self.student, *self.teachers.values()):
            for module in network.modules():
                if hasattr(module, "fused_attn"):
                    module.fused_attn = True  # timm's default
        device = next(student.parameters()).device
        hiddens = [hidden_dim] * (len(student.block_dims) - 1) + [last_hidden_dim]
        self.ladders, self.statistics = nn.ModuleDict(), {}
        for name, teacher in teachers.items():
            for kind, output in enumerate((teacher.embed_dim, teacher.patch_dim)):
                rungs = (Mlp(dims[kind], h, output) for dims, h in zip(student.block_dims, hiddens, strict=True))
                self.ladders[f"{name}-{kind}"] = nn.ModuleList(rungs)
                self.statistics[name, kind] = (torch.zeros(output, device=device), torch.ones(output, device=device))
        self.ladders.to(device)
        trained = [*self.student.parameters(), *self.ladders.parameters()]
        trained = [parameter for parameter in trained if parameter.requires_grad]
        groups = [
            {"params": [p for p in trained if p.ndim > 1], "weight_decay": 0.03},
            {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=1e-4, betas=(0.9, 0.99))

    def step(self, images: Tensor, grid: tuple[int, int]) -> dict[str, float]:
        blocks = list(range(len(self.student.block_dims)))
        with torch.no_grad():
            tokens = {name: on_grid(teacher(images), grid) for name, teacher in self.teachers.items()}
        targets = {}
        for name, each in tokens.items():
            targets[name] = (self.standardise(name, 0, each.cls), self.standardise(name, 1, each.patches))
        rungs = self.student.intermediates(images, blocks)
        losses, metrics = {}, {}
        for name, (cls, patches) in targets.items():
            with torch.autocast(images.device.type, torch.bfloat16, enabled=self.bf16):
                z_cls = sum(mlp(rung.cls) for mlp, rung in zip(self.ladders[f"{name}-0"], rungs, strict=True))
                z = sum(mlp(rung.patches) for mlp, rung in zip(self.ladders[f"{name}-1"], rungs, strict=True))
            of_cls, of_patches = token_loss(z_cls.float(), cls), token_loss(z.float(), patches).mean(1)
            losses[name] = (of_cls + of_patches) / 2
            metrics |= {f"{name}/cls": of_cls.mean().item(), f"{name}/patch": of_patches.mean().item()}
        p, total, count = min(len(losses) / 8, 0.5) if len(losses) > 1 else 0.0, 0.0, 0
        for image in range(len(images)):
            worst = max(losses, key=lambda name: losses[name][image].item())
            for name in losses:
                if name == worst or random.random() >= p:
                    total, count = total + losses[name][image], count + 1
        loss = total / count
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return metrics | {"loss": loss.item()}

    def standardise(self, name: str, kind: int, y: Tensor, momentum: float = 0.5) -> Tensor:
        mean, std = self.statistics[name, kind]
        flat = y.flatten(0, -2)
        self.statistics[name, kind] = (mean.lerp(flat.mean(0), momentum), std.lerp(flat.std(0), momentum))
        return (y - mean) / (std + 1e-6)


def on_grid(tokens: Tokens, grid: tuple[int, int]) -> Tokens:
    if tokens.grid == grid:
        return tokens
    maps = tokens.patches.transpose(1, 2).unflatten(2, tokens.grid).float()
    maps = F.interpolate(maps, size=grid, mode="bilinear", antialias=True, align_corners=False)
    return Tokens(tokens.cls, maps.flatten(2).transpose(1, 2).to(tokens.patches.dtype), grid)


def token_loss(z: Tensor, y: Tensor) -> Tensor:
    cosine = 1 - F.cosine_similarity(z, y, dim=-1)
    return 0.5 * cosine + 0.5 * F.smooth_l1_loss(z, y, reduction="none").mean(-1)
