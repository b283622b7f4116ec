"""How fast each parameter of a student learns beside its projectors: `student.lr_scale` and `student.layer_decay`.

Projectors begin at random weights and need a high rate, which makes a pretrained encoder forget. Its lower layers are
the most general ones, so they may learn slowest (BEiT, arXiv 2106.08254; the layers are timm's).
"""

from __future__ import annotations

from timm.optim import param_groups_layer_decay
from torch import nn

from unic.encoders import Encoder
from unic.encoders.timm_encoder import TimmEncoder
from unic.errors import InputError
from unic.recipe.sections import Student


def student_rates(student: Encoder, setting: Student) -> dict[nn.Parameter, float]:
    """The rate of each trainable parameter of the student, as a multiple of the projectors'.

    Raises:
        InputError: `layer_decay` where timm knows no layers of the architecture.
    """
    trainable = [parameter for parameter in student.parameters() if parameter.requires_grad]
    rates = dict.fromkeys(trainable, setting.lr_scale)
    if setting.layer_decay == 1.0 or not trainable:
        return rates
    assert isinstance(student, TimmEncoder), student  # only timm encoders can be trained
    groups = param_groups_layer_decay(student.model, layer_decay=setting.layer_decay)
    rates |= {parameter: setting.lr_scale * group["lr_scale"] for group in groups for parameter in group["params"]}
    if len(set(rates.values())) == 1:
        raise InputError(
            f"recipe: 'student.layer_decay': timm does not divide '{student.uri}' into layers; leave it out"
        )
    return rates
