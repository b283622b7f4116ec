"""Messages name flags on the command line and parameters in Python."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import pytest

import unic
from unic import arguments, processes
from unic.arguments import argument, as_flags
from unic.cli import main
from unic.errors import InputError
from unic.recipe.schema import load_recipe

SOURCE = Path(unic.__file__).parent
TYPED_ONLY = ("cli/", "compose.py", "training/diagnosis.py")  # what only a command line reaches


@pytest.mark.parametrize(
    ("given", "python", "flags"),
    [
        (("skip_missing",), "skip_missing", "--skip-missing"),
        (("resume", True), "resume=True", "--resume"),
        (("jobs", 2), "jobs=2", "--jobs 2"),
        (("trust_code", ["my_lab.loss", "py:a b:c"]), "trust_code=['my_lab.loss', 'py:a b:c']",
         "--trust-code my_lab.loss --trust-code 'py:a b:c'"),
    ],
)  # fmt: skip
def test_each_form(given: tuple[Any, ...], python: str, flags: str) -> None:
    assert argument(*given) == python
    with as_flags():
        assert argument(*given) == flags
    assert argument(*given) == python


def test_a_flag_with_another_name() -> None:
    assert argument("to", flag="--out") == "to"
    with as_flags():
        assert argument("to", flag="--out") == "--out"


@pytest.mark.parametrize(
    ("command", "call", "flag", "name"),
    [
        ("encode pixels:8 --data . --out x.npz", lambda: unic.encode("pixels:8", ".", "x.npz"), "--out x", "out x"),
        (
            "distill {recipe} --out .",
            lambda recipe: unic.distill(recipe, out="."),
            "--resume",
            "resume=True",
        ),
        ("export . --format onx", lambda: unic.export(".", formats=["onx"]), "--format 'onx'", "formats 'onx'"),
        (
            "eval pixels:8 --suite finegrained",
            lambda: unic.evaluate(["pixels:8"], suite="finegrained"),
            "--skip-missing",
            "skip_missing=True",
        ),
        ("report {run} --out .", lambda run: unic.report(run, "."), "--out .:", "to .:"),
    ],
    ids=["encode", "distill", "export", "eval", "report"],
)
def test_the_same_mistake_in_both_languages(
    command: str,
    call: Any,
    flag: str,
    name: str,
    recipe: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("UNIC_DATA", str(tmp_path / "none"))
    needed = call.__code__.co_varnames[: call.__code__.co_argcount]
    (tmp_path / "recipe.yaml").write_text(load_recipe(recipe).to_yaml())
    monkeypatch.setattr(sys, "argv", ["unic", *command.format(recipe="recipe.yaml", run=".").split()])
    with pytest.raises(SystemExit, match="2"):
        main()
    typed = capsys.readouterr().err
    with pytest.raises(InputError) as called:
        call(*[{"recipe": recipe, "run": "."}[one] for one in needed])
    assert flag in typed
    assert name in str(called.value)
    assert "--" not in str(called.value)


def test_a_child_process_speaks_as_its_parent() -> None:
    ours, theirs = Pipe()
    for are_flags in (False, True):
        asks = "from unic.arguments import argument; pipe.send(argument('resume', True))"
        child = processes.Spawning().Process(target=exec, args=(asks, {"pipe": theirs}))
        with as_flags() if are_flags else nullcontext():
            child.start()
        assert ours.poll(60)
        assert ours.recv() == ("--resume" if are_flags else "resume=True")
        child.join()
    assert not arguments.are_flags()


def test_no_message_has_a_flag_written_into_it() -> None:
    """Checks all texts except docstrings. A whole command (`unic export RUN --to …`) is exempt."""
    found = [
        f"{file.relative_to(SOURCE)}: {text}"
        for file in sorted(SOURCE.rglob("*.py"))
        if not str(file.relative_to(SOURCE)).startswith(TYPED_ONLY)
        for text in _texts(file)
        if re.search(r"(?<![\w-])--[a-z]", text) and not re.search(r"\b(unic|pip) [a-z]+ |^--[\w-]+ ?…?$|--c:var", text)
    ]
    assert found == []


def _texts(file: Path) -> Iterator[str]:
    tree = ast.parse(file.read_text())
    spoken = {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            spoken |= {id(part) for part in node.values}
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in spoken:
            yield node.value
