"""A name stands for a module, and a dotted path for foreign code; an error names the nearest valid name."""

import pytest

from unic import lookup
from unic.errors import InputError, nearest


def test_name_and_dotted_path(trust) -> None:
    trust("unic.losses.mse")
    assert lookup.module("unic.losses", "mse") is lookup.module("unic.losses", "unic.losses.mse")


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("ladderr", "projector.*'ladderr'.*'ladder'"),
        ("zzz", "projector.*'zzz'.*ladder, linear"),
        ("no_such_lab.thing", "projector 'no_such_lab.thing'.*import"),
    ],
)
def test_a_miss_is_one_line(name: str, line: str, trust) -> None:
    trust("no_such_lab.thing")
    with pytest.raises(InputError, match=line):
        lookup.module("unic.projectors", name)


def test_a_module_without_the_entry(trust) -> None:
    trust("json.tool")
    with pytest.raises(InputError, match="'json.tool'.*'loss'.*unic.losses"):
        lookup.entry("unic.losses", "json.tool", "loss")


def test_options_are_the_keyword_only_parameters() -> None:
    def build(context: int, *, width: int = 3) -> None: ...

    lookup.check_options(build, {"width": 4}, "part")
    with pytest.raises(InputError, match="part: .*'widht'.*'width'"):
        lookup.check_options(build, {"widht": 4}, "part")
    with pytest.raises(InputError, match="'context'"):
        lookup.check_options(build, {"context": 4}, "part")


def test_an_option_without_a_default_must_be_given() -> None:
    def build(context: int, *, seed: int, width: int, depth: int = 1) -> None: ...

    lookup.check_options(build, {"width": 4}, "part", passed=["seed"])
    line = "part: needs the option 'width', which has no default"
    with pytest.raises(InputError, match=f"^{line}$"):
        lookup.check_options(build, {"depth": 4}, "part", passed=["seed"])
    with pytest.raises(InputError, match="^recipe: projector 'own': needs the option 'seed', which has no default$"):
        lookup.check_component(build, "projector", "own", {"width": 4})


def test_options_of_another_type_are_dropped_by_a_whole_component() -> None:
    def build(*, width: int = 3) -> None: ...

    with pytest.raises(InputError, match=r"'level'.*; weighting=\{type: plain\} "):
        lookup.check_component(build, "weighting", "plain", {"level": "image"})


def test_nearest_lists_all_when_nothing_is_near() -> None:
    assert "a, b" in nearest("qqqq", ["b", "a"])
    assert nearest("x", []) == ""


@pytest.mark.parametrize("name", [".parquet", "a..b", "a.b-c", ".", "a.\n"])
def test_what_cannot_be_a_dotted_path_is_one_line(name: str) -> None:
    with pytest.raises(InputError, match="loss.*") as error:
        lookup.module("unic.losses", name)
    assert "\n" not in str(error.value)
