"""Batch norms that go on with the statistics they have: `student.batch_norms: start`, or single images at a time.

A start knows the statistics of the many images it was trained on; those of a narrow set would take their place.
The statistics of one image are no estimate, and where a map has one place they cannot be had at all.
"""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from unic.config import Train

SINGLE_IMAGES = "its batch norms use their running statistics, because a micro-batch holds a single image"


def sees_single_images(train: Train, world_size: int) -> bool:
    """Whether some process has a micro-batch of one image."""
    return train.batch_size // (world_size * train.micro_batches) == 1


def batch_norms(model: nn.Module) -> list[nn.Module]:
    """All batch norms of a model, timm's with an activation too."""
    return [module for module in model.modules() if isinstance(module, _BatchNorm)]


def keep_statistics(model: nn.Module) -> None:
    """Makes batch norms use their running statistics, and leave them alone, whatever `train()` says later."""
    for module in batch_norms(model):
        module.register_forward_pre_hook(_in_evaluation)


def _in_evaluation(module: nn.Module, _: object) -> None:
    module.eval()
