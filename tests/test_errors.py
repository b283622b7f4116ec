"""An error is one readable line, whatever a user or a file has put into it."""

import ast
import errno
import pickle
from pathlib import Path

import pytest

from unic import errors
from unic.errors import (
    InputError,
    PreemptedError,
    Remedy,
    StoppedError,
    UnicError,
    UntrustedError,
    exit_code_of,
    first_line_of,
    in_one_line,
    nearest,
    reason_of,
)

SOURCE = Path(errors.__file__).parent


@pytest.mark.parametrize("kind", [InputError, StoppedError, PreemptedError])
def test_a_long_line_keeps_what_it_is_about_and_what_to_do(kind: type[Exception]) -> None:
    text = str(kind(f"recipe: 'data.train': {'x' * 100_000}; expected a folder"))
    assert len(text) == 600
    assert text.startswith("recipe: 'data.train': xxx")
    assert " … " in text
    assert text.endswith("xxx; expected a folder")


def test_a_line_of_several_hundred_characters_stays_as_it_is() -> None:
    line = "data " + "/a/long/folder" * 40
    assert str(InputError(line)) == line


def test_a_remedy_ends_the_line_and_may_name_another_command() -> None:
    error = UntrustedError("the code", "hub code")
    assert str(error.continued_with("again")) == "the code"
    error = error.reworded("the code changed", Remedy("continue", "--resume"))
    assert str(error) == "the code changed; continue with --resume"
    for one in (error, pickle.loads(pickle.dumps(error))):
        other = one.continued_with("the same command")
        assert str(other) == "the code changed; continue with the same command"
        assert (type(other), other.what) == (UntrustedError, "hub code")


def test_an_exception_of_a_library_is_cut_too() -> None:
    assert len(in_one_line(ValueError("y" * 70_000))) == 600


def test_of_many_valid_names_some_are_told_and_the_others_counted() -> None:
    names = [f"model_{number:04d}" for number in range(1000)]
    line = nearest("qqqq", names)
    assert line.startswith("; expected one of: model_0000, model_0001, ")
    assert line.endswith(" and 975 more")  # 12 characters each with their comma, 300 in all
    assert len(line) < 400
    assert nearest("model_0007x", names) == "; did you mean 'model_0007'?"


def test_what_an_exception_says_is_cut_and_never_empty() -> None:
    assert reason_of(ValueError("two\n  lines ")) == "two lines"
    assert reason_of(ValueError("two\n  lines "), 5) == "two l"
    assert reason_of(EOFError()) == first_line_of(EOFError()) == "EOFError"
    assert first_line_of(ValueError("\nfirst: 'a  b'\nsecond")) == "first: 'a  b'"
    assert in_one_line(KeyError("a\nb")) == r"KeyError: 'a\nb'"
    assert in_one_line(InputError("a\nb")) == r"a\nb"


def test_the_exit_code_of_each_error() -> None:
    """As in docs/reliability.md: wrong input 2, the machine 1, a run to be resumed 75 (EX_TEMPFAIL)."""

    def below(kind: type[UnicError]) -> list[type[UnicError]]:
        return [kind, *(inner for one in kind.__subclasses__() for inner in below(one))]

    codes = {kind.__name__: exit_code_of(kind("x")) for kind in below(UnicError) if kind is not UnicError}
    wrong_input = ["InputError", "UntrustedError", "NotApplicableError"]
    machine = ["StoppedError", "FullDiskError", "LostPeerError", "WorkerError", "NotFiniteError", "AgreedError"]
    expected = dict.fromkeys(wrong_input, 2) | dict.fromkeys([*machine, "UnfinishedError"], 1) | {"PreemptedError": 75}
    assert codes == expected
    assert exit_code_of(OSError(errno.ENOSPC, "full")) == exit_code_of(ValueError()) == exit_code_of(MemoryError()) == 1
    assert exit_code_of(OSError(errno.ENAMETOOLONG, "long")) == 2
    assert errors.INTERRUPTED == 130


def test_errors_of_a_user_and_exit_codes_stand_in_one_file() -> None:
    kinds = {
        node.name for node in ast.walk(ast.parse((SOURCE / "errors.py").read_text())) if isinstance(node, ast.ClassDef)
    }
    elsewhere, literals = [], []
    for file in set(SOURCE.rglob("*.py")) - {SOURCE / "errors.py"}:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and {ast.unparse(base) for base in node.bases} & kinds:
                elsewhere.append(node.name)
            if isinstance(node, ast.Call) and ast.unparse(node.func) in _ENDS:
                literals += [ast.unparse(node) for value in node.args if _is_number(value)]
    assert elsewhere == []
    assert literals == []


_ENDS = {"SystemExit", "sys.exit", "exit", "os._exit", "_fail", "parser.exit", "typer.Exit"}


def _is_number(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, int)
