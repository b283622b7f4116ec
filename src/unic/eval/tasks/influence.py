"""Influence of each teacher on a student: CKA of their tokens, and how well the student's kept heads imitate them."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float

from unic.errors import NotApplicableError
from unic.eval.outcome import Measure, Outcome
from unic.eval.probes.cka import FEWEST, cka
from unic.eval.subject import Subject
from unic.features import Features

VERSION = 1
INPUT = "subject"
DATA = "any"
READS_TEACHERS = True
IS_RANDOM = False


def _first(means: Float[np.ndarray, "r k"]) -> Float[np.ndarray, " r"]:
    return means[:, 0]


MEASURE = Measure("least CKA with a teacher", _first, is_score=False)


def run(subject: Subject, *, seed: int = 0, heads: bool = True) -> Outcome:
    """Compares a model with every teacher of the same evaluation on the test images.

    Args:
        subject: the model, with the teachers of the same evaluation.
        seed: unused, as nothing is drawn.
        heads: also measure the kept heads, each of which needs a forward pass of the student.

    Returns:
        The outcome. Its value is the smallest CKA between the model's CLS and that of a teacher. A mean over the
        teachers would hide that a student is close to one of them and ignores another. The value is one number for the
        whole set, so every image has the same mark and the interval has no width. `details["teachers"][T]` has

        - `cka_cls`, and `cka_patch` of the means of the patches;
        - `cosine_cls` and `cosine_patch`: mean cosine between the vectors of the head for T and those of T, both
          standardised as in training (by `standards` of the head, else by mean and deviation of T over these images);
        - `cosine_cls_raw` and `cosine_patch_raw`: the same without standardisation.

        The cosines are None if the model has no head for T, and of tokens that T is not matched by.

    Raises:
        NotApplicableError: no teachers to compare with, a concatenation, or fewer than 4 images.
    """
    if not subject.teachers:
        raise NotApplicableError(f"influence: no teacher to compare model '{subject.name}' with")
    own = subject.features("test")
    if len(own) < FEWEST:
        raise NotApplicableError(
            f"influence: needs {FEWEST} test images, but data '{subject.pair.name}' has {len(own)}"
        )
    teachers = {name: _compared(subject, name, own, heads) for name in subject.teachers}
    least = min(entry["cka_cls"] for entry in teachers.values())
    return Outcome(np.full((len(own), 1), least, dtype=np.float64), MEASURE, {"teachers": teachers})


def _compared(subject: Subject, teacher: str, own: Features, heads: bool) -> dict[str, Any]:
    theirs = subject.teachers[teacher].features("test")
    assert np.array_equal(own.index, theirs.index), "both encoders must have read the same images"
    entry: dict[str, Any] = {
        "cka_cls": round(cka(own.cls, theirs.cls), 4),
        "cka_patch": round(cka(own.patch_mean, theirs.patch_mean), 4),
    }
    head = subject.heads[teacher]() if heads and teacher in subject.heads else None
    imitated = None if head is None else subject.features("test", encoder=head)
    for kind, field, of_recipe in (("cls", "cls", "cls"), ("patch", "patch_mean", "patches")):
        standardised = raw = None
        if imitated is not None and head is not None and head.matched in ("both", of_recipe):
            x, y = getattr(imitated, field), getattr(theirs, field)
            mean, scale = getattr(head, "standards", {}).get(kind) or _standard(y)
            standardised, raw = _mean_cosine((x - mean) / scale, (y - mean) / scale), _mean_cosine(x, y)
        entry |= {f"cosine_{kind}": standardised, f"cosine_{kind}_raw": raw}
    return entry


def _standard(y: Float[np.ndarray, "n d"]) -> tuple[np.ndarray, np.ndarray]:
    std = y.std(0)
    return y.mean(0), np.where(std > 1e-6 * std.max(), std, np.inf)  # leaves out constant channels


def _mean_cosine(x: np.ndarray, y: np.ndarray) -> float:
    lengths = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
    return round(float(np.mean((x * y).sum(1) / np.maximum(lengths, 1e-12))), 4)
