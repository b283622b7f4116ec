import ast
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

import unic
from unic import api
from unic.training import diagnosis
from unic.training.build import build

if sys.version_info >= (3, 11):
    import tomllib

SOURCE = Path(unic.__file__).parent
ROOT = SOURCE.parents[1]


def test_functions_are_not_hidden_by_the_packages_of_their_names():
    assert build.__module__ == "unic.training.build"
    for name in unic.__all__:
        assert getattr(unic, name) is getattr(api, name)
    assert set(unic.__all__) <= set(dir(unic))


def test_the_earlier_name_of_the_diagnosis_still_works():
    with pytest.warns(DeprecationWarning, match="unic.training.diagnosis"):
        earlier = importlib.import_module("unic.distill.diagnosis")
    assert earlier.replay is diagnosis.replay
    assert unic.distill is api.distill


def test_importing_it_imports_nothing_heavy():
    code = "import sys, unic; unic.__version__; assert not {'torch', 'timm', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_catching_its_errors_imports_nothing_heavy():
    code = "import sys, unic; unic.InputError('x'); assert not {'torch', 'timm', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="tomllib came with Python 3.11")
def test_every_package_that_is_imported_is_declared():
    """Each imported package is declared: one that comes with another may vanish. Functions import the extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [entry for name, entries in project["optional-dependencies"].items() if name != "dev" for entry in entries]
    core, optional = {_name(entry) for entry in project["dependencies"]}, {_name(entry) for entry in extras}
    found = list(_imports())
    assert {package for package, is_inside in found if not is_inside} <= core
    assert {package for package, _ in found} - core - optional == set()
    unused = core - {package for package, _ in found}
    assert unused == {"tensorboard"}  # accelerate imports it
    assert optional - {package for package, _ in found} == set()


def test_the_versions_that_were_tested_satisfy_what_is_declared():
    tested = _constraints("constraints.txt")
    for name, version in _floors():
        assert _version(tested[name]) >= _version(version), name


def test_the_lowest_versions_that_are_declared_are_those_that_were_tested():
    floors, lowest = _floors(), _constraints("constraints-oldest.txt")
    assert {(name, lowest.get(name)) for name, _ in floors} == set(floors)


def _floors() -> list[tuple[str, str]]:
    """Each package that `pyproject.toml` asks for, with its lowest version; those of several extras more than once."""
    text = (ROOT / "pyproject.toml").read_text().partition("[project]")[2].partition("[project.scripts]")[0]
    return [(_name(name), version) for name, version in re.findall(r'"([\w.-]+)(?:\[\w+\])?>=([\d.]+)"', text)]


def _constraints(file: str) -> dict[str, str]:
    pins = re.findall(r"^([\w.-]+)==([\w.]+)", (ROOT / file).read_text(), re.M)
    return {_name(name): version for name, version in pins}


def _imports() -> Iterator[tuple[str, bool]]:
    """Names of imported distributions, and whether the import is inside a function."""
    owners = packages_distributions()
    for file in SOURCE.rglob("*.py"):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        inside = {
            id(node) for outer in ast.walk(tree) if isinstance(outer, ast.FunctionDef) for node in ast.walk(outer)
        }
        for node in ast.walk(tree):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [str(node.module)] if isinstance(node, ast.ImportFrom) and not node.level else []
            for top in {name.partition(".")[0] for name in names} - sys.stdlib_module_names - {"unic"}:
                yield _name(owners[top][0]), id(node) in inside


def _name(requirement: str) -> str:
    return re.match(r"[\w.-]+", requirement)[0].lower().replace("_", "-")


def _version(text: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", text)))
