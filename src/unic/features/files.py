"""The safetensors file that `unic encode` writes: features as tensors; model, images and names as metadata."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from unic.data.sources import Source
from unic.encoders.base import Encoder
from unic.features import Features
from unic.files import written

_MOST_BYTES = 80_000_000  # of names in the metadata: safetensors refuses a header above 100 MB


def write_features(features: Features, encoder: Encoder, images: Source, target: Path, *, split: str | None) -> None:
    """Writes a safetensors file, whole or not at all.

    Tensors: `cls (n, D)`, `patch_mean (n, E)`, `index (n,)` (indices in the whole set, even if `images` is a subset),
    `labels (n,)` if the images are labelled, and `patches (n, N, E)` if they were kept. Metadata, all of it text: `uri`
    and `revision` of the model, `data`, `split`, and as JSON lists `classes` and `names` (one for each row). If the
    names are too long for metadata, they are a tensor `names`: their bytes, with a zero between names.

    Args:
        features: features of the images.
        encoder: the encoder that computed them.
        images: the set, or a subset of it.
        target: the file; its folder is created.
        split: name of the split that `images` is; None: the set has no splits.
    """
    rows = features.index.tolist()
    arrays = {
        "cls": features.cls,
        "patch_mean": features.patch_mean,
        "index": np.array([images.number(row) for row in rows], dtype=np.int64),
    }
    if features.labels is not None:
        arrays["labels"] = features.labels
    if features.patches is not None:
        arrays["patches"] = np.asarray(features.patches)
    metadata = {"uri": encoder.uri, "revision": encoder.revision, "data": images.path, "split": split}
    if features.classes is not None:
        metadata["classes"] = json.dumps(features.classes)
    names = [images.name(row) for row in rows]
    listed = json.dumps(names)
    if len(json.dumps(listed)) <= _MOST_BYTES:
        metadata["names"] = listed
    else:
        arrays["names"] = np.frombuffer(b"\0".join(map(os.fsencode, names)), np.uint8)
    with written(target) as partial:
        save_file(
            {name: np.ascontiguousarray(array) for name, array in arrays.items()},
            partial,
            # Bytes of a path that are not UTF-8 are escaped, so that other programs can read the metadata.
            {
                key: text.encode(errors="backslashreplace").decode()
                for key, text in metadata.items()
                if text is not None
            },
        )
