"""What every file in `unic/encoders/schemes` promises."""

from __future__ import annotations

import inspect

import pytest

from unic import lookup
from unic.encoders import Spec, build_encoder
from unic.errors import InputError

SCHEMES = lookup.names("unic.encoders.schemes")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_module_tells_what_it_is_and_has_load(scheme: str) -> None:
    module = lookup.module("unic.encoders.schemes", scheme)
    assert f"{scheme}:" in lookup.first_line(module)
    first, *options = inspect.signature(module.load).parameters.values()
    assert first.name == "spec"
    assert all(option.kind is option.KEYWORD_ONLY for option in options)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_unknown_name_is_an_input_error_of_one_line(scheme: str) -> None:
    with pytest.raises(InputError) as caught:
        lookup.entry("unic.encoders.schemes", scheme, "load")(Spec(f"{scheme}:no-such-thing", scheme, "no-such-thing"))
    assert "\n" not in str(caught.value)
    assert f"{scheme}:no-such-thing" in str(caught.value)


def test_frozen_encoders_cannot_be_students() -> None:
    with pytest.raises(InputError, match="cannot be a student"):
        build_encoder("pixels:8", drop_path=0.1)
