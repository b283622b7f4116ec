"""Vision models of transformers: `hf:ORG/NAME[@REVISION]` or `hf:./FOLDER`, with `?img_size=&mean=&std=`.

Of a CLIP-like model the vision tower is read. Mean, std and input size are those of the model's image processor. A
model in the local cache is read without using the network. Code beside the weights runs only with
`trust_remote_code=true`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from unic import trust
from unic.encoders import Spec
from unic.encoders._hf_encoder import HfEncoder
from unic.encoders._hugging_face import cached_file, commit_of, fetch_card, licence_of, require_hub
from unic.encoders._image_processor import input_size, normalisation
from unic.encoders.base import check_multiple
from unic.errors import InputError

_TOWER = r"vision_(model|tower|encoder)\."
_TOLERANCE = 1e-3  # largest difference of normalised pixels to those of the processor


def load(spec: Spec) -> HfEncoder:
    """The model with its own preprocessing, frozen.

    Options:
        img_size (or size): another input size; position embeddings are interpolated if the model supports it.
        mean, std: for a folder or repository without image processor. Set both; then the processor is not read.
        trust_remote_code: `true` runs Python code of the repository.

    Raises:
        InputError: unknown name or revision, nothing cached and no network, weights that are not those of a vision
            model, a size that the model cannot take, or a processor that does more than resize and normalise.
        UntrustedError: `trust_remote_code=true` in a URI that the user has not typed.
    """
    spec.check("img_size", "size", "mean", "std", "trust_remote_code")
    if spec.flag("trust_remote_code", False):
        trust.require(f"encoder '{spec.uri}'", spec.uri)
    given = {"mean", "std"} & spec.options.keys()
    if len(given) == 1:
        raise InputError(f"encoder '{spec.uri}': set both mean and std, or neither")
    asked, where = spec.input_size(), f"encoder '{spec.uri}'"
    mean, std = spec.mean_std([0.0] * 3, [1.0] * 3)
    source, revision, is_folder = _source(spec)
    with _quiet(_import(spec.uri)):
        model, config, processor = _open(spec, source, revision, is_folder, wants_processor=not given)
    if processor:
        mean, std = normalisation(processor)
    size = asked or _own_size(config, processor)
    encoder = HfEncoder(model, size, mean=mean, std=std, processor=processor)
    if not is_folder:
        encoder.revision = commit_of(cached_file(source, "config.json", revision)) or revision
    encoder.licence = licence_of(source, encoder.revision)
    if asked and encoder.architecture == "vit" and encoder.patch_size:
        check_multiple(where, asked, encoder.patch_size)  # of a given size only: a model's own may cut patches off
    encoder.probe(where)
    error = encoder.normalisation_error()
    if error is not None and error > _TOLERANCE:
        raise InputError(
            f"{where}: its {type(processor).__name__} is not supported, as it does more than resize and normalise "
            f"(pixels differ by {error:.3g})"
        )
    return encoder


def _import(uri: str) -> Any:
    try:
        import transformers
    except ImportError:
        raise InputError(f"encoder '{uri}': needs transformers; run: pip install transformers") from None
    return transformers


def _source(spec: Spec) -> tuple[str, str | None, bool]:
    """Name of the folder or repository, revision, and whether it is a folder."""
    folder = Path(spec.name).expanduser()
    if folder.is_dir():
        return str(folder), None, True
    if spec.name.startswith((".", "/", "~")) or spec.name.count("/") > 1:
        raise InputError(f"encoder '{spec.uri}': no such folder: {folder}")
    name, at, revision = spec.name.partition("@")
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name) or bool(at) != bool(revision):
        raise InputError(f"encoder '{spec.uri}': expected hf:ORG/NAME, hf:ORG/NAME@REVISION or hf:./FOLDER")
    return name, revision or None, False


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """Turns off transformers' progress bars and its tables of the weights that the vision tower does not have."""
    logging = transformers.utils.logging
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def _open(
    spec: Spec, source: str, revision: str | None, is_folder: bool, *, wants_processor: bool
) -> tuple[Any, Any, Any]:
    """Model, configuration and processor: from the local cache if it has all of them, else from the hub."""
    where = f"encoder '{spec.uri}'"
    options = {"revision": revision, "trust_remote_code": spec.flag("trust_remote_code", False)}
    try:
        try:
            return _read(where, source, {**options, "local_files_only": True}, wants_processor)
        except OSError:
            if is_folder:
                raise
            require_hub(where)
        fetch_card(source, revision)
        return _read(where, source, options, wants_processor)
    except InputError:
        raise
    except Exception as error:  # transformers raises many kinds for a damaged configuration or file
        text = str(error).strip() or type(error).__name__
        if "trust_remote_code" in text:
            hint = "this model runs Python code of its repository; if you trust that code, add trust_remote_code=true"
            raise InputError(f"{where}: {hint}") from None
        raise InputError(f"{where}: cannot load it ({text.partition(chr(10))[0]})") from None


def _read(where: str, source: str, options: dict[str, Any], wants_processor: bool) -> tuple[Any, Any, Any]:
    from transformers import AutoConfig, AutoImageProcessor

    config = AutoConfig.from_pretrained(source, **options)
    if "timm_wrapper" in (config.model_type, getattr(_part(config), "model_type", "")):
        # Refused: transformers passes any argument in the configuration on to timm.
        raise InputError(f"{where}: this is a timm model; use timm:NAME, or run:DIR for a folder")
    # The processor first: it is small, and if it is missing, nothing large has been downloaded.
    processor = AutoImageProcessor.from_pretrained(source, **options) if wants_processor else None
    return _tower(where, source, config, options), config, processor


def _tower(where: str, source: str, config: Any, options: dict[str, Any]) -> Any:
    """The model, or the vision tower of a model of images and text."""
    from transformers import MODEL_MAPPING, AutoModel

    tower = _part(config)
    is_whole = tower is not config and type(tower) not in MODEL_MAPPING  # transformers cannot load the tower alone
    # The weights may have the name of the tower as prefix, which not every tower expects, or names of wrappers.
    below, wrappers = rf"(model\.)?{_TOWER}", r"((module|_orig_mod|_fsdp_wrapped_module|model)\.)+"
    # In wrappers, transformers 4 does not find the name of a whole model, as `vit.` in one for classes.
    named = getattr(MODEL_MAPPING.get(type(tower), None), "base_model_prefix", "")
    for prefix in ("", f"^{wrappers}") if is_whole else ("", f"^{below}", rf"^{wrappers}({below}|{named}\.)?"):
        renamed = {"key_mapping": {prefix: ""}} if prefix else {}
        loaded = config if is_whole else tower
        model, info = AutoModel.from_pretrained(source, config=loaded, output_loading_info=True, **options, **renamed)
        missing = [name for name in info["missing_keys"] if not name.endswith("mask_token")]
        if is_whole:
            model, missing = model.vision_model, [name for name in missing if name.startswith("vision_model.")]
        if all("pooler." in name for name in missing):
            break
    else:
        listed = ", ".join(sorted(missing)[:3])
        raise InputError(f"{where}: {len(missing)} weights of {type(model).__name__} are missing ({listed})")
    if missing:
        model.pooler = None  # nothing reads it, and its random weights would change the fingerprint
    return model.float()


def _part(config: Any) -> Any:
    """Configuration of the part to read: the vision tower of a model of images and text, else the whole model."""
    return getattr(config, "vision_config", None) or config


def _own_size(config: Any, processor: Any) -> tuple[int, int]:
    size = input_size(processor) if processor else None
    if size is not None:
        return size
    tower = _part(config)
    side = getattr(tower, "image_size", None) or 224
    return (side, side) if isinstance(side, int) else (side[0], side[-1])
