"""Recipes that are mutated at random: a `Recipe` or one line comes out, never a traceback."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from unic.config import Recipe, load_recipe, recipe_folder
from unic.errors import InputError

TOKENS = [
    "null", "~", "true", "-1", "0", "1e400", ".nan", ".inf", "99999999999999999999", "[]", "{}", "[[]]", "{a: {b: c}}",
    "''", '"', "'", ":", "- ", "? ", "&a ", "*a", "!!binary ", "!!set {}", "!!python/name:os.system ", "${seed}", "${",
    "${a.b}", "${oc.env:NOPE}", "???", "|", ">", "%YAML 9.9", "---\n", "...\n", "#", "\t", "\n", "\x00", "\ud800",
    "é", "𝄞", "<<: *a\n",
    "base: quickstart\n", "base: .\n", "base: {}\n", "a.b", "0x10", "0o17", "1_000", "2020-01-01", "=",
]  # fmt: skip
KEYS = [
    "train.lr",
    "data.train",
    "teachers",
    "teachers.models",
    "loss",
    "trackers",
    "weighting",
    "a.b",
    "",
    ".",
    "seed[0]",
    "x",
]


def mutated(text: str, draw: random.Random) -> str:
    for _ in range(draw.randint(1, 4)):
        place = draw.randrange(len(text) + 1)
        end = min(len(text), place + draw.randint(0, 12))
        lines = text.split("\n")
        kind = draw.randrange(6)
        if kind == 0:
            text = text[:place] + text[end:]
        elif kind == 1:
            text = text[:place] + draw.choice(TOKENS) + text[place:]
        elif kind == 2:
            text = text[:place] + draw.choice(TOKENS) + text[end:]
        elif kind == 3:
            text = text[:place] + chr(draw.randrange(1, 1200)) + text[place:]
        elif kind == 4:
            draw.shuffle(lines)
            text = "\n".join(lines)
        else:
            line = draw.randrange(len(lines))
            head, colon, _ = lines[line].partition(":")
            lines[line] = f"{head}{colon} {draw.choice(TOKENS)}"
            text = "\n".join(lines)
    return text


def outcome(source: Path, overrides: list[str]) -> str:
    try:
        recipe = load_recipe(source, overrides)
    except InputError as error:
        if "\n" in str(error):
            raise ValueError("more than one line") from error
        return "refused"
    assert isinstance(recipe, Recipe)
    recipe.to_yaml()
    return "read"


def fuzz(folder: Path, seeds: range) -> set[str]:
    texts = [path.read_text() for path in sorted(recipe_folder().glob("*.yaml"))]
    path, seen = folder / "recipe.yaml", set()
    for seed in seeds:
        draw = random.Random(seed)
        path.write_text(mutated(draw.choice(texts), draw), encoding="utf-8", errors="surrogatepass")
        overrides = [f"{draw.choice(KEYS)}={draw.choice(TOKENS)}"] if draw.random() < 0.3 else []
        try:
            seen.add(outcome(path, overrides))
        except Exception as error:
            raise AssertionError(
                f"seed {seed}: {type(error).__name__}: {error}\n{overrides}\n{path.read_bytes()!r}"
            ) from error
    return seen


def test_mutated_recipes(tmp_path: Path) -> None:
    assert fuzz(tmp_path, range(150)) == {"read", "refused"}


@pytest.mark.long
def test_many_mutated_recipes(tmp_path: Path) -> None:
    assert fuzz(tmp_path, range(150, 5000)) == {"read", "refused"}
