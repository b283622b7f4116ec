"""Batch norms that go on with the statistics they have: `student.batch_norms: start`, or single images at a time.

A start knows the statistics of the many images it was trained on; those of a narrow set would take their place.
The statistics of one image are no estimate, and where a map has one place they cannot be had at all.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from unic.recipe.schema import Recipe
from unic.recipe.sections import TrainSection

SINGLE_IMAGES = "its batch norms use their running statistics, because a micro-batch holds a single image"


def sees_single_images(train: TrainSection, world_size: int) -> bool:
    """Whether some process has a micro-batch of one image."""
    return train.batch_size // (world_size * train.micro_batches) == 1


def keeps_statistics(recipe: Recipe, world_size: int) -> bool:
    """Whether batch norms train with the statistics that they begin with."""
    return recipe.student.batch_norms == "start" or sees_single_images(recipe.train, world_size)


def batch_norms(model: nn.Module) -> list[_BatchNorm]:
    """All batch norms of a model, timm's with an activation too."""
    return [module for module in model.modules() if isinstance(module, _BatchNorm)]


def keep_statistics(model: nn.Module) -> None:
    """Makes batch norms use their running statistics, and leave them alone, whatever `train()` says later."""
    for module in batch_norms(model):
        module.register_forward_pre_hook(_in_evaluation)


@torch.no_grad()
def estimate_statistics(model: nn.Module, batches: Iterable[Tensor]) -> None:
    """Running statistics anew: the mean of those of the batches. All else is in evaluation mode, all of it in the end.

    Args:
        batches: images as the model takes them; not read where it has no batch norm.
    """
    model.eval()
    norms = batch_norms(model)
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch's word for the mean of all batches
        norm.train()
    for images in batches:
        model(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    model.eval()


def _in_evaluation(module: nn.Module, _: object) -> None:
    module.eval()
