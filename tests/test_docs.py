"""The documentation agrees with the code: its lists are complete. `make docs` checks the links."""

import pkgutil
import re
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from unic.cli import app
from unic.eval.suite import load_suite
from unic.recipe.schema import load_recipe

ROOT = Path(__file__).parents[1]
COMMAND_LINE = (ROOT / "docs/cli.md").read_text()


def _words(pattern, text):
    return set(re.findall(pattern, text, flags=re.MULTILINE))


def test_the_readme_is_a_page_that_one_reads_at_once():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120


def test_every_command_is_listed():
    assert _words(r"^\| `unic (\w+)", COMMAND_LINE) == set(get_command(app).commands)


def test_every_environment_variable_is_listed():
    source = "\n".join(path.read_text() for path in (ROOT / "src").rglob("*.py"))
    assert _words(r"^\| `(UNIC_[A-Z_]+)", COMMAND_LINE) == _words(r"\"(UNIC_[A-Z_]+)\"", source)


def test_every_attribute_of_a_task_has_a_contract():
    task = (ROOT / "docs/extending.md").read_text().partition("### Task\n")[2].partition("\n### ")[0]
    source = "\n".join(path.read_text() for path in (ROOT / "src/unic/eval").glob("*.py"))
    assert _words(r"^\| `([A-Z_]+)`", task) == _words(r"getattr\(.*\"([A-Z_]+)\"", source) | {"VERSION"}


def test_every_shipped_recipe_is_listed():
    page = (ROOT / "docs/recipes.md").read_text()
    assert _words(r"^\| `([\w-]+)`", page) == {path.stem for path in (ROOT / "recipes").glob("*.yaml")}


@pytest.mark.parametrize("page", sorted((ROOT / "docs").rglob("*.md")), ids=lambda path: path.stem)
def test_yaml_on_a_page_is_yaml(page):
    assert all(isinstance(block, dict) for block in _yaml(page))


def test_places_that_the_architecture_page_names_are_there():
    names = _words(r"`(unic\.[\w.]+)`", (ROOT / "docs/architecture.md").read_text())
    assert len(names) > 10
    for name in names:
        pkgutil.resolve_name(name)


def _yaml(page):
    return [yaml.safe_load(block) for block in re.findall(r"^```yaml\n(.*?)^```", page.read_text(), re.M | re.S)]


def test_the_recipes_and_suites_of_the_tutorials_are_such(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = [block for page in (ROOT / "docs/tutorials").glob("*.md") for block in _yaml(page)]
    recipes = [load_recipe(block) for block in blocks if {"teachers", "student"} <= block.keys()]
    suites = [load_suite(block) for block in blocks if "tasks" in block]
    assert len(recipes) == len(suites) == 1
