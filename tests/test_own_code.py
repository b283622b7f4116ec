"""The hash of the source files that a module imports; it names what it cannot cover."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from unic import own_code as module
from unic.own_code import OwnCode, own_code

MAIN = """
import numpy
from lab_kit import SCALE
from lab_kit.parts import head

def late():
    import lab_late
"""
FILES = {
    "lab_main.py": MAIN,
    "lab_kit/__init__.py": "SCALE = 2\n",
    "lab_kit/parts/__init__.py": "from ..blocks import block\nfrom . import neck as head\n",
    "lab_kit/parts/neck.py": "",
    "lab_kit/blocks.py": "block = 1\n",
    "lab_late.py": "",
    "lab_idle.py": "nobody imports this\n",
}


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("lab_")]:
        del sys.modules[name]


def fresh(name: str) -> OwnCode:
    """The hash in a new process."""
    for imported in [imported for imported in sys.modules if imported.startswith("lab_")]:
        del sys.modules[imported]
    importlib.invalidate_caches()
    return own_code([name])


@pytest.mark.parametrize("file", sorted(set(FILES) - {"lab_idle.py"}))
@pytest.mark.parametrize("is_imported", [False, True])
def test_every_file_that_imports_lead_to_counts(lab: Path, file: str, is_imported: bool) -> None:
    def found() -> OwnCode:
        before = fresh("lab_main")
        if not is_imported:
            return before
        importlib.import_module("lab_main")
        return own_code(["lab_main"])

    before = found()
    assert not before.unknown
    assert sorted(before.files) == sorted(Path(name).name for name in set(FILES) - {"lab_idle.py"})
    (lab / file).write_text(FILES[file] + "# other\n")
    assert found().digest != before.digest


def test_what_nobody_imports_does_not_count(lab: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    before = fresh("lab_main")
    (lab / "lab_idle.py").write_text("other = 1\n")
    (lab / "notes.txt").write_text("other")
    assert fresh("lab_main") == before


def test_versions_of_packages_count(lab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = fresh("lab_main")
    module._version.cache_clear()
    with monkeypatch.context() as patched:
        patched.setattr(module.metadata, "version", lambda name: "0.0.1")
        assert fresh("lab_main").digest != before.digest
        assert fresh("lab_kit").digest == fresh("lab_kit").digest
    module._version.cache_clear()
    assert fresh("lab_main") == before


def test_of_libraries_no_file_counts() -> None:
    assert own_code(["numpy.linalg", "json", "sys", "unic.tokens"]).files == ()


def test_an_edit_after_the_import_does_not_count(lab: Path) -> None:
    """The hash stays, because this process computes with the code that it has imported."""
    importlib.import_module("lab_main")
    before = own_code(["lab_main"])
    (lab / "lab_kit" / "blocks.py").write_text("block = 2\n")
    assert own_code(["lab_main"]) == before
    importlib.reload(sys.modules["lab_kit.blocks"])
    assert own_code(["lab_main"]).digest != before.digest


@pytest.mark.parametrize(
    "line",
    [
        "importlib.import_module(name)", "__import__(name)", "exec(text)", "eval(text)",
        "spec_from_file_location('x', path)",
    ],
)  # fmt: skip
def test_code_by_computed_names_is_unknown(lab: Path, line: str) -> None:
    (lab / "lab_kit" / "blocks.py").write_text(f"def block():\n    return {line}\n")
    assert fresh("lab_main").unknown.startswith("blocks.py, ")


@pytest.mark.parametrize("line", ["model.eval()", "importlib.import_module('lab_late')", "eval('1 + 1')"])
def test_code_that_is_written_out_is_known(lab: Path, line: str) -> None:
    (lab / "lab_kit" / "blocks.py").write_text(f"def block():\n    return {line}\n")
    assert not fresh("lab_main").unknown


def test_a_module_that_is_named_by_a_call_counts(lab: Path) -> None:
    (lab / "lab_kit" / "blocks.py").write_text("import importlib\nidle = importlib.import_module('lab_idle')\n")
    assert "lab_idle.py" in fresh("lab_main").files


def test_a_module_in_no_file_is_unknown(lab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (lab / "lab_kit" / "blocks.py").write_text("import lab_typed\n")
    assert not fresh("lab_main").unknown  # it may never be there
    monkeypatch.setitem(sys.modules, "lab_typed", ModuleType("lab_typed"))
    assert own_code(["lab_main"]).unknown.startswith("module lab_typed, ")
    monkeypatch.setattr(sys.modules["__main__"], "__file__", "<stdin>", raising=False)
    assert own_code(["__main__"]).unknown == "code in no file"


@pytest.mark.parametrize("line", ["open('x')", "path.read_text()", "np.load('x')", "Image.open('x')"])
def test_files_that_code_opens_are_told(lab: Path, line: str) -> None:
    assert not fresh("lab_main").opens_files
    (lab / "lab_kit" / "blocks.py").write_text(f"def block():\n    return {line}\n")
    assert fresh("lab_main").opens_files == "blocks.py"
