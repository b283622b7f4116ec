"""Prompts for zero-shot classification: sentences with the words for a class.

CLIP (arXiv 2103.00020), §3.1.4. The templates `simple` are our own. The 80 templates and 1000 class names of OpenAI for
ImageNet-1K, named `openai`, come from the package open_clip.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unic._regular_files import read_json, read_text
from unic.errors import InputError
from unic.eval.text import import_open_clip

SIMPLE = (
    "a {}.",
    "a photo of a {}.",
    "a picture that shows a {}.",
    "a drawing of a {}.",
    "a {} seen from nearby.",
)


def read_templates(setting: str | Sequence[str]) -> list[str]:
    """Sentences with `{}` in place of the class.

    Args:
        setting: a list of sentences, `simple`, `openai`, or a file with one sentence a line (.txt) or a list (.json).

    Raises:
        InputError: no such file, or a sentence without `{}`.
    """
    if setting == "simple":
        return list(SIMPLE)
    if setting == "openai":
        return [sentence("{}") for sentence in import_open_clip("templates openai").OPENAI_IMAGENET_TEMPLATES]
    templates = _read(setting, "templates") if isinstance(setting, str) else list(setting)
    if not templates or not all(isinstance(template, str) and "{}" in template for template in templates):
        wrong = next((template for template in templates if "{}" not in str(template)), templates)
        raise InputError(f"templates: expected a list of sentences with {{}} in place of the class, not {wrong!r}")
    return list(templates)


def class_words(classes: Sequence[str], names: str | None) -> list[str]:
    """The words for each class in a sentence.

    Args:
        classes: names of the classes in the data set.
        names: a file of words by class, JSON (`{"n01440764": "tench"}`) or text (`n01440764 tench` on each line).
            `openai`: OpenAI's words for ImageNet-1K, if the names of the classes are its WordNet numbers. None: the
            names of the classes, with spaces for underscores.

    Raises:
        InputError: no such file, or no words for a class.
    """
    if names is None:
        return [name.replace("_", " ") for name in classes]
    if names == "openai":
        words = _imagenet_words()
    else:
        found = _read(names, "names")
        words = found if isinstance(found, dict) else dict(_pair(line, names) for line in found)
    for name in classes:
        if name not in words:
            raise InputError(f"names {names}: no words for the class '{name}'")
    return [str(words[name]) for name in classes]


def fill(template: str, words: str) -> str:
    return template.replace("{}", words)


def _imagenet_words() -> dict[str, str]:
    from timm.data import ImageNetInfo

    words = import_open_clip("names openai").IMAGENET_CLASSNAMES  # in the order of the classes' WordNet numbers
    return dict(zip(ImageNetInfo("imagenet-1k").label_names(), words, strict=True))


def _read(path: str, what: str) -> list[Any] | dict[str, Any]:
    file = Path(path).expanduser()
    if not file.is_file():
        raise InputError(f"{what} '{path}': no such file; expected a .json or .txt file")
    try:
        if file.suffix != ".json":
            return [line.strip() for line in read_text(file).splitlines() if line.strip()]
        tree = read_json(file)
    except (OSError, ValueError) as error:
        kind = "JSON" if file.suffix == ".json" else "text in UTF-8"
        raise InputError(f"{what} {path}: not {kind} ({error})") from None
    if not isinstance(tree, list | dict):
        raise InputError(f"{what} {path}: expected a list or a mapping")
    return tree


def _pair(line: object, path: str) -> tuple[str, str]:
    parts = str(line).split(maxsplit=1)
    if len(parts) < 2:
        raise InputError(f"names {path}: expected a class and its words on each line, not '{line}'")
    return parts[0], parts[1]
