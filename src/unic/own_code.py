"""The user's own code behind a model or a task, as a hash. Cache keys need it: weights do not show what code computes.

The `import` statements of each file are followed, also those inside functions, as long as they lead to files outside
installed packages; an installed package counts by its version. No module is imported for this. A file is hashed at its
first use: later edits do not change what this process has imported.
"""

from __future__ import annotations

import ast
import importlib.util
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from weakref import WeakKeyDictionary

from unic.digest import sha256, sha256_of_value

_UNIC = Path(__file__).parent
_INSTALLED = frozenset({"site-packages", "dist-packages"})
_STANDARD = tuple(sysconfig.get_path(name) for name in ("stdlib", "platstdlib"))
_RUNS_TEXT = frozenset({"eval", "exec"})  # as plain names: `model.eval()` is something else
_IMPORTS = frozenset({"__import__", "import_module"})
_LOADS_CODE = frozenset({"exec_module", "run_module", "run_path", "spec_from_file_location"})
_OPENS = frozenset({
    "fromfile", "genfromtxt", "imread", "load_file", "loadtxt", "memmap", "open", "read_bytes", "read_csv", "read_json",
    "read_parquet", "read_text", "safe_open", "urlopen",
})  # fmt: skip
_LOADERS = frozenset({"joblib", "np", "numpy", "torch"})  # modules whose `load` opens a file


@dataclass(frozen=True)
class OwnCode:
    """A hash of code, and what the hash does not cover.

    Attributes:
        digest: hash of the files and of the versions of the packages that they import.
        files: names of the user's own files; empty for the code of installed packages.
        unknown: things that the hash does not cover, in words that end "it depends on …"; empty: nothing.
        opens_files: name of a source file that opens other files, which the hash does not cover; empty: no such file.
    """

    digest: str = ""
    files: tuple[str, ...] = ()
    unknown: str = ""
    opens_files: str = ""


def own_code(modules: Iterable[str] = (), files: Iterable[Path] = ()) -> OwnCode:
    """The code of modules and of what they import.

    Args:
        modules: dotted names; `__main__` is the script.
        files: further source files, which need not be importable, such as those of a repository.
    """
    found: dict[str, _File] = {str(file): _read(file, "") for file in files}
    packages: set[str] = set()
    unknown = ""
    asked = set(modules)
    waiting = [name for module in asked for name in _with_parents(module)]
    waiting += [name for file in found.values() for name in file.imports]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        version = _package(name)
        if version is not None:
            packages.add(version)
            continue
        place = _place(name)
        if place is None or not place.is_file():
            # A folder without `__init__.py` has no code. A loaded module without a file was typed in, or made by code.
            if name in asked or (sys.modules.get(name) and not (place and place.is_dir())):
                unknown = unknown or (
                    "code in no file" if name == "__main__" else f"module {name}, which is in no file"
                )
            continue
        found[name] = _read_module(name, place)
        waiting += found[name].imports
    ordered = [found[name] for name in sorted(found)]
    unknown = unknown or next((f"{file.name}, which {file.unknown}" for file in ordered if file.unknown), "")
    digest = sha256_of_value(([file.digest for file in ordered], sorted(packages - {""})))
    opens = next((file.name for file in ordered if file.opens), "")
    return OwnCode(digest[:16], tuple(file.name for file in ordered), unknown, opens)


@dataclass(frozen=True)
class _File:
    """A source file. `unknown`: why its imports are not known, if they are not; `opens`: whether it opens files."""

    name: str
    digest: str
    imports: tuple[str, ...] = ()
    unknown: str = ""
    opens: bool = False


_seen: WeakKeyDictionary[ModuleType, tuple[tuple[int, object], _File]] = WeakKeyDictionary()


def _read_module(name: str, file: Path) -> _File:
    module = sys.modules.get(name)
    if not isinstance(module, ModuleType):
        return _read(file, name if file.name == "__init__.py" else name.rpartition(".")[0])
    # A module that is reloaded gets a new spec; one that transformers runs again, another hash.
    loaded = (id(module.__spec__), getattr(module, "__transformers_module_hash__", None))
    if module not in _seen or _seen[module][0] != loaded:
        _seen[module] = loaded, _read(file, getattr(module, "__package__", None) or "")
    return _seen[module][1]


def _read(file: Path, package: str) -> _File:
    try:
        content = file.read_bytes()
    except OSError:
        return _File(file.name, "", unknown="cannot be read")
    digest = sha256(content)
    if file.suffix != ".py":  # compiled
        return _File(file.name, digest)
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError):
        return _File(file.name, digest, unknown="is not Python")
    nodes = list(ast.walk(tree))
    calls = [node for node in nodes if isinstance(node, ast.Call)]
    unknown = "imports or runs code by computed names" if any(_hides_code(call) for call in calls) else ""
    imports = {name for node in nodes for name in _imported(node, package)}
    return _File(file.name, digest, tuple(sorted(imports)), unknown, any(_opens(call) for call in calls))


def _imported(node: ast.AST, package: str) -> Iterator[str]:
    """Modules that a statement may import; the last name may also be a function or a class."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield from _with_parents(alias.name)
    elif isinstance(node, ast.ImportFrom):
        above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level and package else []
        base = ".".join([*above, *([node.module] if node.module else [])])
        if base:
            yield from _with_parents(base)
            yield from (f"{base}.{alias.name}" for alias in node.names if alias.name != "*")
    elif isinstance(node, ast.Call) and _called(node) in _IMPORTS and not _hides_code(node):
        name = str(node.args[0].value)  # type: ignore[attr-defined]
        yield from _with_parents(package + name if name.startswith(".") else name)


def _with_parents(name: str) -> Iterator[str]:
    parts = name.split(".")
    yield from (".".join(parts[:end]) for end in range(1, len(parts) + 1))


def _called(call: ast.Call) -> str:
    return str(getattr(call.func, "id", None) or getattr(call.func, "attr", ""))


def _hides_code(call: ast.Call) -> bool:
    name = _called(call)
    if name in _LOADS_CODE:
        return True
    if name in _RUNS_TEXT and not isinstance(call.func, ast.Name):
        return False
    is_written_out = bool(call.args) and isinstance(call.args[0], ast.Constant)
    return name in _IMPORTS | _RUNS_TEXT and not is_written_out


def _opens(call: ast.Call) -> bool:
    owner = getattr(getattr(call.func, "value", None), "id", "")
    return _called(call) in _OPENS or (_called(call) == "load" and owner in _LOADERS)


def _package(name: str) -> str | None:
    """Name and version of a module's installed package; empty for Python and unic; None for the user's own code."""
    top = name.partition(".")[0]
    place = _place(top)
    if place is None:
        return "" if top in sys.builtin_module_names else None
    if _UNIC in (place, *place.parents) or place.name in ("built-in", "frozen"):
        return ""
    if not _INSTALLED.isdisjoint(place.parts):
        return _version(top)  # None for a copy without metadata, whose files then count
    return "" if str(place).startswith(_STANDARD) else None


@cache
def _version(top: str) -> str | None:
    try:
        return f"{top} {metadata.version(top)}"
    except metadata.PackageNotFoundError:
        names = sorted(set(_distributions().get(top, ())))
        return " ".join(f"{name} {metadata.version(name)}" for name in names) or None


@cache
def _distributions() -> dict[str, list[str]]:
    return dict(metadata.packages_distributions())


def _place(name: str) -> Path | None:
    """The file of a module, or the folder of a package that has no file."""
    module = sys.modules.get(name)
    spec = _spec(name) if module is None else getattr(module, "__spec__", None)
    places = [getattr(module, "__file__", None) or getattr(spec, "origin", None)]
    places += getattr(module, "__path__", None) or getattr(spec, "submodule_search_locations", None) or ()
    return next((Path(place) for place in places if place), None)


def _spec(name: str) -> ModuleSpec | None:
    """The spec of a module that is not imported; its parents are not imported either."""
    parts = name.split(".")
    try:
        found = importlib.util.find_spec(parts[0])
    except (ImportError, ValueError):
        return None
    for end in range(2, len(parts) + 1):
        if found is None or found.submodule_search_locations is None:
            return None
        found = PathFinder.find_spec(".".join(parts[:end]), list(found.submodule_search_locations))
    return found
