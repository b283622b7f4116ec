"""Zero-shot classification: cosine between an image and the names of the classes, in a CLIP-like teacher's joint space.

CLIP (arXiv 2103.00020), §3.1: the vector of a class is the mean of the unit text vectors of its prompts, scaled to
length 1. A student is measured with its kept head for that teacher, whose output is in the space of the teacher's text
tower.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from jaxtyping import Float, Int

from unic.encoders.base import Encoder
from unic.errors import InputError, NotApplicableError, nearest
from unic.eval.outcome import Labelled, Outcome, top1
from unic.eval.prompts import class_words, fill, read_templates
from unic.eval.subject import Subject
from unic.eval.text import SCHEME, TextTower, load_text_tower, own_tower

VERSION = 1
INPUT = "subject"
READS_TEACHERS = True
FILES = ("text", "templates", "names")
CODE = ("text",)
IS_RANDOM = False
_CHUNK = 4096


def run(
    subject: Subject,
    *,
    seed: int = 0,
    text: str | None = None,
    teacher: str | None = None,
    templates: str | list[str] = "simple",
    names: str | None = None,
    project: bool | None = None,
) -> Outcome:
    """Classifies every test image by the class with the most similar prompts; no training image is read.

    Args:
        subject: the model; only the test part of its pair is read.
        seed: unused, as nothing is drawn.
        text: the text tower of `teacher`, see `load_text_tower`; default: the teacher's own, if it is an `open_clip:`
            encoder. Other `open_clip:` models of the evaluation are always measured with their own tower.
        teacher: teacher whose space is used; a student is measured with its head for it. Default: the only `open_clip:`
            teacher.
        templates: see `read_templates`.
        names: see `class_words`.
        project: apply the tower's visual projection to image vectors; default: if their width is not that of the space.

    Returns:
        Top-1 among the classes of the test part; details: `top5`, `text` (the tower), `num_templates`.

    Raises:
        NotApplicableError: the model is no encoder of the space and has no head for it.
        InputError: a wrong option, no labels, or image and text vectors of different widths.
    """
    pair = subject.pair
    sentences, words = tuple(read_templates(templates)), tuple(class_words(pair.test.classes or [], names))
    encoder, spec = _image_side(subject, teacher, text)
    features = subject.features("test", encoder=encoder)
    if features.labels is None:
        raise InputError(f"data '{pair.name}': some images of {pair.test.path} have no label")
    tower, classes = _words_in_space(spec, words, sentences)
    images = _in_space(tower, features.cls, project)
    predicted, rank = _classify(images, classes, features.labels)
    class_of = pair.test_class_numbers()
    details = {
        "top5": round(100 * float((rank < 5).mean()), 3),
        "text": spec,
        "num_templates": len(sentences),
    }
    return top1(class_of[predicted], Labelled(images, class_of[features.labels]), **details)


def _image_side(subject: Subject, teacher: str | None, text: str | None) -> tuple[Encoder | None, str]:
    """The encoder of the image vectors (None: the model itself), and the text tower of their space."""
    uri = subject.encoder.uri
    if subject.name == teacher:
        return None, text or own_tower(uri, teacher)
    if uri.startswith(SCHEME):
        return None, own_tower(uri, subject.name)
    if not subject.heads:
        raise NotApplicableError(f"zero_shot: model '{subject.name}' has no head for a teacher with a text tower")
    teacher = teacher or _only_teacher(subject, text)
    if teacher not in subject.heads:
        raise InputError(
            f"zero_shot: model '{subject.name}' has no head for '{teacher}'{nearest(teacher, subject.heads)}"
        )
    head = subject.heads[teacher]()
    if head.matched == "patches":
        raise NotApplicableError(
            f"zero_shot: teacher '{teacher}' is matched by patches alone, so model '{subject.name}' has no CLS in its "
            "space"
        )
    return head, text or own_tower(_uri(subject, teacher), teacher)


def _only_teacher(subject: Subject, text: str | None) -> str:
    found = [teacher for teacher in subject.heads if _uri(subject, teacher).startswith(SCHEME)]
    if len(found) == 1:
        return found[0]
    kind = NotApplicableError if not found and text is None else InputError
    raise kind(
        f"zero_shot: model '{subject.name}' has {len(found)} {SCHEME} teachers; "
        f"choose one with 'teacher'{nearest('', subject.heads)}"
    )


def _uri(subject: Subject, teacher: str) -> str:
    return subject.teachers[teacher].encoder.uri if teacher in subject.teachers else ""


@lru_cache(maxsize=1)
def _words_in_space(spec: str, words: tuple[str, ...], templates: tuple[str, ...]) -> tuple[TextTower, np.ndarray]:
    """The tower and a unit vector for each class `(K, D)`, kept for the next model of the same evaluation."""
    tower = load_text_tower(spec)
    total = sum(tower.embed([fill(template, name) for name in words]) for template in templates)
    return tower, _unit(np.asarray(total))


def _in_space(tower: TextTower, cls: np.ndarray, project: bool | None) -> Float[np.ndarray, "n d"]:
    if project if project is not None else cls.shape[1] != tower.dim:
        cls = tower.project(cls)
    if cls.shape[1] != tower.dim:
        raise InputError(
            f"zero_shot: image vectors are {cls.shape[1]}-d, but text vectors {tower.dim}-d; see option 'project'"
        )
    return _unit(cls)


def _classify(
    images: Float[np.ndarray, "n d"], classes: Float[np.ndarray, "k d"], labels: Int[np.ndarray, " n"]
) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"]]:
    """The most similar class of each image, and the number of classes that are more similar than the correct one."""
    predicted, rank = [], []
    for start in range(0, len(images), _CHUNK):
        similarity = images[start : start + _CHUNK] @ classes.T
        right = similarity[np.arange(len(similarity)), labels[start : start + _CHUNK]]
        predicted.append(similarity.argmax(1))
        rank.append((similarity > right[:, None]).sum(1))
    return np.concatenate(predicted), np.concatenate(rank)


def _unit(x: np.ndarray) -> np.ndarray:
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
