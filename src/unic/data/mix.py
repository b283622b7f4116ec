"""Mixed views: a view blended with the same view of another image (mixup), or with a box pasted from it (CutMix).

Teachers and student see the same mixed view, so no label is mixed. Mixing adds images that no photograph shows
("Knowledge distillation: a good teacher is patient and consistent", Beyer et al., CVPR 2022). A hash of (seed, view,
index) decides whether a view is mixed, with which image of its source, and how. So live and cached views are the same,
in any process.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from unic import rng
from unic.recipe.sections import MixSection

_MIX = rng.stream("mix")
_IS_MIXED, _IS_CUT, _PARTNER, _LEFT, _TOP = range(5)


@dataclass(frozen=True)
class Mix:
    """How often views are mixed, and how much.

    The class and its fields are part of the feature cache's keys, by their `repr`.

    Attributes:
        mixup: α of the Beta(α, α) distribution of the other image's weight (Zhang et al., ICLR 2018); 0: no mixup.
        cutmix: α of the Beta(α, α) distribution of the other image's share of the area (Yun et al., ICCV 2019); 0: no
            CutMix. If both are above 0, each mixed view draws one of the two.
        probability: share of the views that are mixed.
    """

    mixup: float = 0.0
    cutmix: float = 0.0
    probability: float = 1.0

    @classmethod
    def of(cls, setting: MixSection | None) -> Mix | None:
        """The `Mix` of a recipe's `data.mix`; None without it."""
        return cls(setting.mixup, setting.cutmix, setting.probability) if setting else None

    def partner(self, seed: int, view: int, index: int, length: int) -> int | None:
        """Index, below `length`, of the image to mix in; None: the view is not mixed.

        Args:
            seed: seed of the run; first key of the draw.
            view: index of the view; second key.
            index: index of the image; third key.
            length: number of images to choose from.
        """
        if rng.number(seed, _MIX, view, index, _IS_MIXED) >= self.probability:
            return None
        return int(rng.number(seed, _MIX, view, index, _PARTNER) * length)

    def __call__(
        self, own: UInt8[Tensor, "3 h w"], other: UInt8[Tensor, "3 h w"], seed: int, view: int, index: int
    ) -> UInt8[Tensor, "3 h w"]:
        """The mixed view.

        Args:
            own: the view of the image.
            other: the view of its partner.
            seed: seed of the run; first key of the draw.
            view: index of the view; second key.
            index: index of the image; third key.
        """
        is_cut = self.cutmix > 0 and (self.mixup == 0 or rng.number(seed, _MIX, view, index, _IS_CUT) < 0.5)
        alpha = self.cutmix if is_cut else self.mixup
        random = np.random.Generator(np.random.Philox(key=rng.seed_of(_MIX, seed, view, index)))
        share = float(random.beta(alpha, alpha))
        if not is_cut:
            return torch.lerp(own.float(), other.float(), share).round_().to(torch.uint8)
        height, width = own.shape[1:]
        high, wide = round(height * math.sqrt(share)), round(width * math.sqrt(share))
        top = int(rng.number(seed, _MIX, view, index, _TOP) * (height - high + 1))
        left = int(rng.number(seed, _MIX, view, index, _LEFT) * (width - wide + 1))
        mixed = own.clone()
        mixed[:, top : top + high, left : left + wide] = other[:, top : top + high, left : left + wide]
        return mixed
