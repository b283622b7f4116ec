"""The whole page: its sections, well-formedness, independence of the network, escaping, and what may be missing."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

from unic.report.page import write_report

SECTIONS = ["scores", "radar", "training", "patches", "neighbours", "details"]
VOID = {"meta", "link", "img", "br", "hr", "input"}


class Outline(HTMLParser):
    """Checks that tags are balanced; collects ids, tags and what would be loaded."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        named = {key: value or "" for key, value in attrs}
        assert len(named) == len(attrs), (tag, attrs)
        if "id" in named:
            self.ids.append(named["id"])
        self.loads += [named[key] for key in ("src", "srcset", "href", "data", "poster", "xlink:href") if key in named]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def words(self) -> str:
        return " ".join("".join(self.text).split())


def test_whole_page(page: str) -> None:
    outline = Outline(page)
    sections = [name for name in outline.ids if name in SECTIONS]
    assert sections == SECTIONS
    assert len(outline.ids) == len(set(outline.ids))
    words = outline.words()
    assert "The student beats the best teacher of each task" in words
    assert "over 4 tasks" in words
    assert 'class="radar"' in page
    assert page.count('class="chart"') == 8
    assert page.count('class="patchmap"') == 6 * 3
    assert page.count("<article") == 4
    assert page.count('class="mark"') == 4 * 3 * 5
    assert 'class="note"' not in page


def test_nothing_is_loaded(page: str) -> None:
    outline = Outline(page)
    assert "script" not in outline.tags
    assert all(load.startswith(("data:", "#")) for load in outline.loads)
    style = page[page.index("<style>") : page.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    assert not re.search(r"https?://", page)


def test_names_are_escaped(page: str) -> None:
    assert "<script" not in page
    assert "<b>one" not in page
    words = Outline(page).words()
    assert "run <b>one" in words
    assert '<script>alert("x")&amp;.png' in words
    assert "truncated <file>" in words


def test_lines_are_thinned(page: str) -> None:
    assert max(path.count("L") for path in re.findall(r' d="([^"]*)"', page)) < 400


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ("results.json", "This run has not been evaluated yet"),
        ("metrics.jsonl", "There is no metrics.jsonl"),
        ("environment.json", "There is no environment.json"),
        ("damaged.json", "There is no damaged.json"),
        ("export", "Not exported yet"),
    ],
)
def test_missing_part(run_folder: Path, missing: str, said: str) -> None:
    place = run_folder / missing
    shutil.rmtree(place) if place.is_dir() else place.unlink()
    outline = Outline(write_report(run_folder).read_text(encoding="utf-8"))
    assert [name for name in outline.ids if name in SECTIONS] == SECTIONS
    assert said in outline.words()


def test_without_results_shows_training_images(run_folder: Path) -> None:
    (run_folder / "results.json").unlink()
    text = write_report(run_folder).read_text(encoding="utf-8")
    assert "training images" in text
    assert text.count('class="patchmap"') == 3 * 2  # a fifth of twelve images is held out to ask with


def test_bare_folder(tmp_path: Path) -> None:
    words = Outline(write_report(tmp_path).read_text(encoding="utf-8")).words()
    assert "There is no recipe.yaml" in words
    assert "There is no metrics.jsonl" in words


def test_broken_files(run_folder: Path) -> None:
    for name in ("results.json", "environment.json", "damaged.json", "recipe.yaml"):
        (run_folder / name).write_text('{"a": [', encoding="utf-8")
    words = Outline(write_report(run_folder).read_text(encoding="utf-8")).words()
    assert "results.json cannot be read" in words
    assert "The recipe cannot be read" in words


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("models", {"student": 3}),
        ("tasks", {"shapes/knn": ["student"]}),
        ("gain_over_best_teacher", dict.fromkeys(("shapes/knn", "shapes/logistic", "other/knn"), float("nan"))),
        ("mean_gain_ci", [1.0]),
        ("protocol", "none"),
    ],
)
def test_strange_results_cost_only_their_sections(run_folder: Path, key: str, value: object) -> None:
    results = json.loads((run_folder / "results.json").read_text())
    (run_folder / "results.json").write_text(json.dumps({**results, key: value}))
    text = write_report(run_folder).read_text(encoding="utf-8")
    assert "results.json is not as unic eval writes it" in Outline(text).words()
    assert text.count('class="chart"') == 8
    assert 'class="patchmap"' in text


def test_model_that_cannot_be_loaded(run_folder: Path) -> None:
    recipe = run_folder / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("timm:test_efficientnet", "timm:no_such_model"))
    text = write_report(run_folder).read_text(encoding="utf-8")
    assert "cnn: encoder" in Outline(text).words()
    assert text.count('class="patchmap"') == 6 * 2


def test_contract_only_results(run_folder: Path) -> None:
    """Intervals and the best teachers may be missing: the contract does not name them."""
    results = json.loads((run_folder / "results.json").read_text())
    kept = ("models", "tasks", "gain_over_best_teacher", "mean_gain", "protocol")
    (run_folder / "results.json").write_text(json.dumps({key: results[key] for key in kept}))
    text = write_report(run_folder).read_text(encoding="utf-8")
    assert "The student scores above" in text
    assert "% interval" not in text[: text.index("<main>")]
    assert text.count(' class="best"') > 4
