"""Arguments of timm that a file may set: those that describe a network, as numbers, text or lists of these.

`timm.create_model` takes dangerous ones in the same way: `checkpoint_path` reads any file, `pretrained_cfg` names an
address to download from.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unic.errors import InputError

_VITS = """img_size patch_size global_pool embed_dim depth num_heads mlp_ratio qkv_bias qk_norm scale_attn_norm
scale_mlp_norm proj_bias init_values class_token pos_embed no_embed_class reg_tokens num_reg_tokens pre_norm final_norm
fc_norm pool_include_prefix dynamic_img_size dynamic_img_pad norm_layer act_layer swiglu_mlp scale_mlp use_abs_pos_emb
use_rot_pos_emb use_post_norm use_fc_norm ref_feat_shape window_size head_dim always_partition strict_img_size"""
_CNNS = """depths dims kernel_sizes ls_init_value stem_type head_init_scale head_norm_first head_hidden_size conv_mlp
conv_bias use_grn norm_eps output_stride layers cardinality base_width stem_width avg_down channels num_features
stem_size fix_stem pad_type head_bias head_norm"""
_ARGUMENTS = frozenset(f"{_VITS} {_CNNS}".split())
_PLAIN = (bool, int, float, str, type(None))


def check_model_args(where: str, arguments: Mapping[str, Any]) -> None:
    """Refuses arguments that do not describe a network.

    Args:
        where: start of the error line: the model and the file.
        arguments: arguments of `timm.create_model`, as the file has them.

    Raises:
        InputError: an unknown argument, or a value that is not plain; the line names the first.
    """
    for key, value in arguments.items():
        if key not in _ARGUMENTS:
            raise InputError(f"{where}: model_args: '{key}' is refused, as it does not describe a network")
        if not all(isinstance(part, _PLAIN) for part in (value if isinstance(value, list) else [value])):
            raise InputError(f"{where}: model_args: '{key}' must be a number, text or a list of these")
