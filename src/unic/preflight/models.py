"""The models of a recipe: what each is, whether it loads, how fast it is, and what does not fit together."""

from __future__ import annotations

import time
from itertools import combinations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from unic.encoders import Encoder, open_encoder, parse_uri
from unic.encoders.base import UNKNOWN, Size
from unic.errors import InputError
from unic.eval.probes.cka import FEWEST, cka
from unic.preflight.findings import Report
from unic.preflight.rows import Model
from unic.recipe.schema import Recipe
from unic.recipe.teachers import Matched
from unic.tokens import Tokens
from unic.training.resolutions import enlargement

_SAME = 0.95  # CKA of two teachers above which one of them adds little
_COARSER = 4.0  # number of student patches for each patch of a teacher from which a warning is due
_MISNORMALISED = 1e-3  # largest difference on a random image; 1e-4 is rounding
_NON_COMMERCIAL = ("-nc", "noncommercial", "non-commercial", "research")


def load_all(recipe: Recipe, device: torch.device, report: Report) -> dict[str, Encoder]:
    """The teachers that load. Each of the others becomes a finding."""
    encoders = {}
    for name, uri in recipe.teachers.uris.items():
        try:
            encoders[name] = open_encoder(uri, device=device, precision=recipe.train.precision)
        except InputError as error:
            report.add("error", f"teacher {name}", str(error))
    return encoders


def describe(name: str, encoder: Encoder, images: Tensor, size: Size) -> tuple[Model, Tokens]:
    """A row of the table, and the tokens of the images at `size`. The speed is that of the faster of two passes."""
    best, tokens = float("inf"), None
    with torch.no_grad():
        for _ in range(2):
            started = time.perf_counter()
            tokens = encoder(images, size)
            if images.device.type == "cuda":
                torch.cuda.synchronize()
            best = min(best, time.perf_counter() - started)
    assert tokens is not None
    row: Model = {
        "name": name,
        "uri": encoder.uri,
        "source": parse_uri(encoder.uri).scheme,
        "licence": encoder.licence,
        "revision": encoder.revision,
        "num_parameters": encoder.num_parameters(),
        "input_size": list(size),
        "mean": [round(value, 4) for value in encoder.mean.flatten().tolist()],
        "std": [round(value, 4) for value in encoder.std.flatten().tolist()],
        "cls": encoder.embed_dim,
        "patch": encoder.patch_dim,
        "has_cls": encoder.has_cls,
        "grid": list(tokens.grid),
        "normalisation_error": encoder.normalisation_error(),
        "precision": encoder.precision,
        "images_per_s": round(len(images) / best, 1),
        "weights_mb": round(sum(p.numel() * p.element_size() for p in encoder.parameters()) / 1e6, 1),
    }
    return row, tokens


def compare(rows: list[Model], tokens: dict[str, Tokens], recipe: Recipe, report: Report) -> None:
    """Adds findings: grids, sizes and licences of the teachers beside the student's, and teachers beside each other."""
    student = rows[0]
    _look_at_licence("the student's start", student["licence"], report)
    for row in rows:
        is_student = row is student
        height, width = row["input_size"]
        text = enlargement(recipe.data.size, (height, width), is_student=is_student)
        if text:
            report.add("warning", "student" if is_student else f"teacher {row['name']}", text)
    for row in rows[1:]:
        about = f"teacher {row['name']}"
        ratio = (student["grid"][0] * student["grid"][1]) / (row["grid"][0] * row["grid"][1])
        if ratio >= _COARSER and row["tokens"] != "cls":
            text = f"its {_by(row['grid'])} patches are stretched to the student's {_by(student['grid'])}"
            report.add("warning", about, f"{text}; a larger input size of the teacher gives a finer grid")
        _look_at_licence(about, row["licence"], report)
        error = row["normalisation_error"]
        if error is not None and error > _MISNORMALISED:
            report.add(
                "error",
                about,
                f"it normalises images otherwise than its own library (by {error:.1e}); set mean and std",
            )
    matched = {row["name"]: row["tokens"] for row in rows[1:]}
    for first, second in combinations(matched, 2):
        one, other = (_vectors(tokens[name], matched[name]) for name in (first, second))
        similarity = cka(one, other) if len(one) >= FEWEST else 0.0
        if similarity >= _SAME:
            text = (
                f"features nearly identical to those of '{second}' (CKA {similarity:.2f}): the pair gets double weight"
            )
            report.add("warning", f"teacher {first}", text)


def _vectors(tokens: Tokens, matched: Matched) -> Float[np.ndarray, "n d"]:
    """A vector of each image: CLS, or the mean of the patches of a teacher that is matched by these alone."""
    vectors = tokens.patch_mean() if matched == "patches" else tokens.cls
    return np.asarray(vectors.float().cpu().numpy())


def _look_at_licence(about: str, licence: str | None, report: Report) -> None:
    if licence is None or UNKNOWN in licence.lower():
        report.add("note", about, "its licence is not known; the student inherits it")
    if any(mark in (licence or "").lower() for mark in _NON_COMMERCIAL):
        report.add("warning", about, f"its licence ({licence}) forbids commercial use of the student")


def _by(size: list[int]) -> str:
    return f"{size[0]}x{size[1]}"
