from __future__ import annotations

import pytest

from unic.exporting.licences import student_licence


@pytest.mark.parametrize(
    ("licences", "text", "listed", "unknown"),
    [
        ({"a": "MIT", "b": "apache-2.0"}, "apache-2.0", "apache-2.0", ()),
        ({"a": "CC-BY-NC-4.0", "b": "apache-2.0"}, "CC-BY-NC-4.0", "cc-by-nc-4.0", ()),
        ({"a": "cc-by-nc-4.0", "b": None}, "cc-by-nc-4.0 and unknown", None, ("b",)),
        ({"a": None, "b": None}, "unknown", None, ("a", "b")),
        ({"a": "mit", "b": "dinov3-license"}, "dinov3-license", None, ()),
        ({"a": "cc-by-nc-4.0", "b": "dinov3-license"}, "cc-by-nc-4.0 and dinov3-license", None, ()),
        ({"a": "dinov3-license", "b": "gemma", "c": "gemma"}, "dinov3-license and gemma", None, ()),
        ({"a": "", "b": "mit"}, "mit", "mit", ()),
        ({"a": "", "b": None}, "unknown", None, ("b",)),
        ({"a": ""}, None, None, ()),
        # of a student that an earlier student taught
        ({"a": "cc-by-nc-4.0 and unknown", "b": "mit"}, "cc-by-nc-4.0 and unknown", None, ("a",)),
        ({"a": "cc-by-nc-4.0 and gemma", "b": "cc-by-nc-sa-4.0"}, "cc-by-nc-sa-4.0 and gemma", None, ()),
    ],
)
def test_the_strictest_licence_binds_and_the_unknown_is_said(licences, text, listed, unknown) -> None:
    found = student_licence(licences)
    assert (found.text, found.listed, found.unknown) == (text, listed, unknown)
