"""Batch norms that keep their running statistics in training: `student.batch_norms: start`, or one image at a time.

The statistics of the start come from the many images it was trained on; those of a narrow set would replace them. One
image gives no good estimate, and none at all where a feature map is 1 x 1.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from unic.recipe.schema import Recipe
from unic.recipe.sections import Train

SINGLE_IMAGES = "its batch norms use their running statistics, because a micro-batch holds a single image"


def sees_single_images(train: Train, world_size: int) -> bool:
    """Whether some process has a micro-batch of one image."""
    return train.batch_size // (world_size * train.micro_batches) == 1


def keeps_statistics(recipe: Recipe, world_size: int) -> bool:
    """Whether batch norms keep the running statistics that they begin with."""
    return recipe.student.batch_norms == "start" or sees_single_images(recipe.train, world_size)


def batch_norms(model: nn.Module) -> list[_BatchNorm]:
    """All batch norms of a model, including timm's with an activation."""
    return [module for module in model.modules() if isinstance(module, _BatchNorm)]


def keep_statistics(model: nn.Module) -> None:
    """Makes batch norms use their running statistics without updating them, also after a later `train()`."""
    for module in batch_norms(model):
        module.register_forward_pre_hook(_in_evaluation)


@torch.no_grad()
def estimate_statistics(model: nn.Module, batches: Iterable[Tensor]) -> None:
    """Sets the running statistics to the mean of the batches' statistics, and leaves the model in evaluation mode.

    Args:
        batches: images as the model takes them; not read if it has no batch norm.
    """
    model.eval()
    norms = batch_norms(model)
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # which means in torch: the mean of all batches
        norm.train()
    for images in batches:
        model(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    model.eval()


def _in_evaluation(module: nn.Module, _: object) -> None:
    module.eval()
