"""Recipes that are mutated at random: a `Recipe` or one line comes out, never a traceback."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given, note, settings, strategies

from unic.errors import InputError
from unic.recipe.reading import recipe_folder
from unic.recipe.schema import Recipe, load_recipe

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


RECIPES = [path.read_text(encoding="utf-8") for path in sorted(recipe_folder().glob("*.yaml"))]


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


def check(path: Path, draw: random.Random) -> str:
    path.write_text(mutated(draw.choice(RECIPES), draw), encoding="utf-8", errors="surrogatepass")
    overrides = [f"{draw.choice(KEYS)}={draw.choice(TOKENS)}"] if draw.random() < 0.3 else []
    note(f"{overrides} {path.read_bytes()!r}")
    return outcome(path, overrides)


def outcomes(path: Path, examples: int) -> set[str]:
    """Of mutated recipes; hypothesis makes every choice, the same ones each time, and shrinks what fails."""
    seen = set()

    @settings(derandomize=True, database=None, deadline=None, max_examples=examples)
    @given(draw=strategies.randoms(use_true_random=False))
    def property_holds(draw: random.Random) -> None:
        seen.add(check(path, draw))

    property_holds()
    return seen


def test_mutated_recipes(tmp_path: Path) -> None:
    assert outcomes(tmp_path / "recipe.yaml", 150) == {"read", "refused"}


@pytest.mark.long
def test_many_mutated_recipes(tmp_path: Path) -> None:
    assert outcomes(tmp_path / "recipe.yaml", 5000) == {"read", "refused"}
