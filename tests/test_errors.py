"""An error is one line that can be read, whatever a user or a file has put into it."""

import pytest

from unic.errors import InputError, PreemptedError, StoppedError, in_one_line, nearest


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


def test_an_exception_of_a_library_is_cut_too() -> None:
    assert len(in_one_line(ValueError("y" * 70_000))) == 600


def test_of_many_valid_names_some_are_told_and_the_others_counted() -> None:
    names = [f"model_{number:04d}" for number in range(1000)]
    line = nearest("qqqq", names)
    assert line.startswith("; expected one of: model_0000, model_0001, ")
    assert line.endswith(" and 975 more")  # 12 characters each with their comma, 300 in all
    assert len(line) < 400
    assert nearest("model_0007x", names) == "; did you mean 'model_0007'?"
