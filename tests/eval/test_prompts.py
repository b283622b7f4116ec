"""Templates and words for classes: from names, lists and files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from unic.errors import InputError
from unic.eval.prompts import SIMPLE, class_words, fill, read_templates


def test_templates(tmp_path: Path) -> None:
    assert read_templates("simple") == list(SIMPLE)
    assert all(template.count("{}") == 1 for template in SIMPLE)
    assert read_templates(["{} here"]) == ["{} here"]
    (tmp_path / "a.txt").write_text("a {}\n\nthe {} \n")
    (tmp_path / "a.json").write_text('["a {}", "the {}"]')
    assert read_templates(str(tmp_path / "a.txt")) == read_templates(str(tmp_path / "a.json")) == ["a {}", "the {}"]
    assert fill("{}, or a {brace}", "cat {x}") == "cat {x}, or a {brace}"


@pytest.mark.parametrize(
    ("setting", "line"),
    [(["a cat"], "'a cat'"), ([], r"\[\]"), ("nowhere.txt", "'nowhere.txt': no such file"), ([3], "not 3")],
)
def test_wrong_templates(setting: str | list[str], line: str) -> None:
    with pytest.raises(InputError, match=line):
        read_templates(setting)


def test_words(tmp_path: Path) -> None:
    assert class_words(["hot_dog", "cat"], None) == ["hot dog", "cat"]
    (tmp_path / "a.txt").write_text("n2 hot dog\nn1\tcat\n")
    (tmp_path / "a.json").write_text(json.dumps({"n1": "cat", "n2": "hot dog", "n3": "more"}))
    for name in ("a.txt", "a.json"):
        assert class_words(["n1", "n2"], str(tmp_path / name)) == ["cat", "hot dog"]
    with pytest.raises(InputError, match="a.txt: .*'n3'"):
        class_words(["n3"], str(tmp_path / "a.txt"))
    for text in ("{", "3", '["cat"]'):
        (tmp_path / "b.json").write_text(text)
        with pytest.raises(InputError, match=r"names .*b\.json: "):
            class_words(["cat"], str(tmp_path / "b.json"))


def test_prompts_of_openai() -> None:
    pytest.importorskip("open_clip")
    templates = read_templates("openai")
    assert len(templates) == 80
    assert all("{}" in template for template in templates)
    assert class_words(["n01443537", "n01440764"], "openai") == ["goldfish", "tench"]
