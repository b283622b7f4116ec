"""Failures side by side: test images that the student gets wrong and the best teacher right, and the reverse."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from unic.data.sources import DamagedImageError
from unic.eval.datasets import DataPair, resolve
from unic.eval.results.row_title import set_of
from unic.eval.results.schema import Protocol
from unic.reporting.draw.thumbnails import thumbnail
from unic.reporting.notes import reason
from unic.reporting.read.predictions import Predictions, class_names
from unic.reporting.read.scores import Scores
from unic.reporting.read.sets import measured_sets

SETS = 4  # whose images are shown
SHOWN = 6  # images on each side


@dataclass(frozen=True)
class _Duel:
    """The student and the best teacher on one task, right or wrong on each of the same images."""

    task: str
    student: str
    teacher: str
    own: Bool[np.ndarray, " n"]
    theirs: Bool[np.ndarray, " n"]

    @property
    def set(self) -> str:
        return set_of(self.task)

    def counts(self) -> dict[str, Any]:
        own, theirs = self.own, self.theirs
        parts = {
            "both": own & theirs, "student": own & ~theirs, "teacher": ~own & theirs, "neither": ~own & ~theirs,
        }  # fmt: skip
        shares = {f"{kind}_share": float(part.mean()) for kind, part in parts.items()}
        sums = {kind: int(part.sum()) for kind, part in parts.items()}
        return {"task": self.task, "name": self.teacher, **sums, **shares}


def failures(scores: Scores, predictions: Predictions) -> dict[str, Any]:
    """`counts` of right and wrong by task, `sets` with images, `notes` on missing images; or a single `note`."""
    if scores.student is None or not scores.teachers:
        return {"note": "Failures need a student and a teacher to set side by side."}
    duels = _duels(scores, predictions)
    if not duels:
        return {"note": "No task has predicted classes of the student and of its best teacher."}
    firsts = list({duel.set: duel for duel in reversed(duels)}.values())[::-1]
    sets, notes = [], []
    protocol = scores.results.protocol
    for duel in firsts[:SETS]:
        try:
            sets.append(_pictured(duel, scores, predictions, _open(duel.set, protocol)))
        except Exception as error:  # the images may have been removed or replaced
            notes.append(f"{duel.set}: {reason(error)}")
    return {"counts": [duel.counts() for duel in duels], "sets": sets, "seeds": scores.num_seeds, "notes": notes}


def _duels(scores: Scores, predictions: Predictions) -> list[_Duel]:
    found = []
    for task in scores.tasks:
        teacher = scores.best_teacher.get(task)
        own, theirs = predictions.correct(task, scores.student), predictions.correct(task, teacher)
        if own is not None and theirs is not None and scores.student and teacher:
            found.append(_Duel(task, scores.student, teacher, own, theirs))
    return found


def _open(name: str, protocol: Protocol) -> DataPair:
    """The set as it was measured. Paths with its name are tried first, so that other sets are rarely opened."""
    specs, _ = measured_sets(protocol)
    named = [spec for spec in specs if spec.partition("=")[0].partition("?")[0] == name]
    for spec in dict.fromkeys([*named, *specs]):
        pair = resolve(spec, max_train=protocol.max_train, max_test=protocol.max_test)
        if pair.name == name:
            return pair
    raise LookupError("results.json does not say where its images are")


def _pictured(duel: _Duel, scores: Scores, predictions: Predictions, pair: DataPair) -> dict[str, Any]:
    labels, index = predictions.labels(duel.task), predictions.index(duel.task)
    known = pair.test_class_numbers()
    own, theirs = predictions.of(duel.task, duel.student), predictions.of(duel.task, duel.teacher)
    assert own is not None
    assert theirs is not None
    names = class_names(scores.results.protocol, duel.task, int(max(labels.max(), own.max(), theirs.max())) + 1)

    def cards(wanted: Bool[np.ndarray, " n"], wrong: Int[np.ndarray, " n"]) -> list[dict[str, str]]:
        found: list[dict[str, str]] = []
        for place in (place for place in _order(len(labels)) if wanted[place]):
            if len(found) == SHOWN:
                break
            image = int(index[place])
            label = pair.test.label(image) if image < len(pair.test) else None
            if label is None or known[label] != labels[place]:
                raise LookupError("the test images have changed since results.json was written")
            try:
                picture = thumbnail(pair.test.read(image))
            except DamagedImageError:
                continue
            found.append({"src": picture, "true": names[labels[place]], "given": names[wrong[place]]})
        return found

    only_own, only_theirs = cards(duel.own & ~duel.theirs, theirs), cards(~duel.own & duel.theirs, own)
    return {**duel.counts(), "student_only": only_own, "teacher_only": only_theirs}


def _order(count: int) -> list[int]:
    """A fixed random order of the images, because the first ones of a folder are often all of one class."""
    return np.random.default_rng(0).permutation(count).tolist()
