"""The whole page: its sections, well-formedness, independence of the network, escaping, and what may be missing."""

from __future__ import annotations

import html
import json
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from unic.reporting import page as page_module
from unic.reporting.page import write_report
from unic.reporting.read.run_files import read_run
from unic.reporting.sections.pictures import Pictures
from unic.runs.state import Position

ALWAYS = ["training", "patches", "neighbours", "details"]
MEASURED = ["scores", "radar", "tasks", "confusion", "failures", "influence", "spectrum"]
SECTIONS = [*MEASURED, *ALWAYS]
Read = Callable[[str], Any]  # conftest.Outline


@pytest.fixture
def without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Encoders take most of the time of a page."""
    monkeypatch.setattr(page_module, "draw_pictures", lambda *_: Pictures())


def test_whole_page(page: str, outline: Read) -> None:
    read = outline(page)
    assert [name for name in read.ids if name in SECTIONS] == SECTIONS
    assert len(read.ids) == len(set(read.ids))
    assert set(re.findall(r'href="#(\w+)"', page)) == set(SECTIONS)
    words = read.words()
    assert "The student beats the best teacher of each task" in words
    assert "over 4 tasks" in words
    assert 'class="radar"' in page
    assert page.count('class="chart"') == 8 + 3
    assert page.count('class="dots"') == 4
    assert page.count('class="patchmap"') == 6 * 3
    assert page.count("<article") == 4
    assert page.count('class="mark"') == 4 * 3 * 5
    (note,) = re.findall('class="note">(.*)<', page)
    assert note.startswith("other: results.json")


def test_nothing_is_loaded(page: str, outline: Read) -> None:
    read = outline(page)
    assert "script" not in read.tags
    assert all(load.startswith(("data:", "#")) for load in read.loads)
    style = page[page.index("<style>") : page.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    assert not re.search(r"https?://", page)


def test_names_are_escaped(page: str, outline: Read) -> None:
    assert "<script" not in page
    assert "<b>one" not in page
    words = outline(page).words()
    assert "run <b>one" in words
    assert '<script>alert("x")&amp; → plain 1 of 4 (vit 0)' in words
    assert '<script>alert("x")&amp;.png' in words
    assert "truncated <file>" in words


def test_lines_are_thinned(page: str) -> None:
    assert max(path.count("L") for path in re.findall(r' d="([^"]*)"', page)) < 400


@pytest.mark.usefixtures("without_pictures")
@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ("results.json", "not been evaluated"),
        ("predictions.safetensors", "no predictions.safetensors"),
        ("metrics.jsonl", "no metrics.jsonl"),
        ("environment.json", "no environment.json"),
        ("damaged.json", "no damaged.json"),
        ("export", "Not exported yet"),
    ],
)
def test_missing_part(run_folder: Path, missing: str, said: str, outline: Read) -> None:
    place = run_folder / missing
    shutil.rmtree(place) if place.is_dir() else place.unlink()
    read = outline(write_report(run_folder).read_text(encoding="utf-8"))
    expected = ALWAYS if missing == "results.json" else SECTIONS
    assert [name for name in read.ids if name in SECTIONS] == expected
    assert said in read.words()


@pytest.mark.usefixtures("without_pictures")
def test_a_run_that_has_saved_and_lists_no_damaged_images_has_none(run_folder: Path, outline: Read) -> None:
    (run_folder / "damaged.json").unlink()
    (run_folder / "checkpoints").mkdir()
    (run_folder / "checkpoints" / "last").write_text("step-900")
    words = outline(write_report(run_folder).read_text(encoding="utf-8")).words()
    assert "Damaged images None." in words
    assert "damaged.json" not in words


def test_without_results_shows_training_images(run_folder: Path) -> None:
    (run_folder / "results.json").unlink()
    text = write_report(run_folder).read_text(encoding="utf-8")
    assert "training images" in text
    assert text.count('class="patchmap"') == 3 * 2  # a fifth of twelve images is held out to ask with


def test_another_place(tmp_path: Path) -> None:
    assert write_report(tmp_path, tmp_path / "new" / "page.html") == tmp_path / "new" / "page.html"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["new", "page.html"]


def test_bare_folder(tmp_path: Path, outline: Read) -> None:
    words = outline(write_report(tmp_path).read_text(encoding="utf-8")).words()
    assert "no recipe.yaml" in words
    assert "no metrics.jsonl" in words


@pytest.mark.usefixtures("without_pictures")
def test_broken_files(run_folder: Path, outline: Read) -> None:
    for name in ("results.json", "environment.json", "damaged.json", "recipe.yaml", "predictions.safetensors"):
        (run_folder / name).write_text('{"a": [', encoding="utf-8")
    words = outline(write_report(run_folder).read_text(encoding="utf-8")).words()
    assert "results.json cannot be read" in words
    assert "recipe cannot be read" in words


@pytest.mark.usefixtures("without_pictures")
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
def test_strange_results_cost_only_their_sections(run_folder: Path, key: str, value: object, outline: Read) -> None:
    results = json.loads((run_folder / "results.json").read_text())
    (run_folder / "results.json").write_text(json.dumps({**results, key: value}))
    text = write_report(run_folder).read_text(encoding="utf-8")
    assert "results.json is not as unic eval" in outline(text).words()
    assert text.count('class="chart"') == 8


def test_model_that_cannot_be_loaded(run_folder: Path, outline: Read) -> None:
    recipe = run_folder / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("timm:test_efficientnet", "timm:no_such_model"))
    text = write_report(run_folder).read_text(encoding="utf-8")
    assert "cnn: encoder" in outline(text).words()
    assert text.count('class="patchmap"') == 6 * 2


@pytest.mark.usefixtures("without_pictures")
def test_strange_descriptions_cost_only_their_sections(run_folder: Path, outline: Read) -> None:
    results = json.loads((run_folder / "results.json").read_text())
    results["descriptions"] = {"shapes/spectrum": {"student": {"details": [{"cls": "wide"}]}}}
    (run_folder / "results.json").write_text(json.dumps(results))
    text = write_report(run_folder).read_text(encoding="utf-8")
    assert "cannot be shown" in outline(text).words()
    assert 'class="scores"' in text


@pytest.mark.usefixtures("without_pictures")
def test_contract_only_results(run_folder: Path) -> None:
    """Intervals and the best teachers may be missing: the contract does not name them."""
    results = json.loads((run_folder / "results.json").read_text())
    kept = ("models", "tasks", "gain_over_best_teacher", "mean_gain", "protocol")
    (run_folder / "results.json").write_text(json.dumps({key: results[key] for key in kept}))
    text = write_report(run_folder).read_text(encoding="utf-8")
    assert "student scores above" in text
    assert "% interval" not in text[: text.index("<main>")]
    assert text.count(' class="best"') > 4


@pytest.mark.usefixtures("without_pictures")
def test_an_unevaluated_run_says_so_once(run_folder: Path, outline: Read) -> None:
    (run_folder / "results.json").unlink()
    words = outline(write_report(run_folder).read_text(encoding="utf-8")).words()
    assert words.count("not been evaluated") == 1
    name = shlex.quote(str(run_folder))
    outs = " ".join(
        f"--out {shlex.quote(str(run_folder / file))}" for file in ("results.json", "predictions.safetensors")
    )
    assert re.search(rf"unic eval {name} {outs};.* unic report {name}", words)
    assert "no evaluation" not in words


@pytest.mark.usefixtures("without_pictures")
def test_what_to_do_next_stands_beneath_the_verdict(run_folder: Path, outline: Read) -> None:
    rows = [{"step": step, "loss": 1.0, "cos/vit/cls": 0.9, "cos/cnn/cls": 0.1} for step in range(1, 41)]
    (run_folder / "metrics.jsonl").write_text("\n".join(map(json.dumps, rows)))
    text = write_report(run_folder).read_text(encoding="utf-8")
    head = outline(text).words().partition("Parameters")[0]
    assert re.search("What to do next .*cnn", head)
    assert "falling" not in head
    (run_folder / "metrics.jsonl").write_text("\n".join(json.dumps(row | {"cos/cnn/cls": 0.9}) for row in rows))
    assert "What to do next" not in write_report(run_folder).read_text(encoding="utf-8")


@pytest.mark.usefixtures("without_pictures")
def test_skipped_steps_are_counted(run_folder: Path, outline: Read) -> None:
    assert "were skipped because" not in outline(write_report(run_folder).read_text(encoding="utf-8")).words()
    rows = [{"step": 1, "loss": 1.0}, {"step": 2, "loss": 1.0, "skipped": 3.0}, {"step": 3, "loss": 1.0}]
    (run_folder / "metrics.jsonl").write_text("\n".join(map(json.dumps, rows)))
    words = outline(write_report(run_folder).read_text(encoding="utf-8")).words()
    assert "3 steps were skipped because a gradient was not finite" in words


@pytest.mark.usefixtures("without_pictures")
def test_a_training_that_has_not_ended_is_told_to_go_on(
    run_folder: Path, outline: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing is said of its loss, which of course still falls."""
    position = Position()
    monkeypatch.setattr(page_module, "newest_state", lambda _: {"position": position.state_dict()})
    words = outline(write_report(run_folder).read_text(encoding="utf-8")).words()
    assert re.search("not ended.* unic distill", words)
    assert "falling" not in words
    position.is_finished = True
    words = outline(write_report(run_folder).read_text(encoding="utf-8")).words()
    assert "has not ended" not in words
    assert "falling" in words


def test_of_several_stages_the_last_one_s_losses_count(run_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no checkpoint says with which step it began, nothing is said of them."""
    rows = [{"step": step, "loss": 9.0 if step <= 45 else 1.0} for step in range(1, 61)]
    (run_folder / "metrics.jsonl").write_text("\n".join(map(json.dumps, rows)))
    recipe = yaml.safe_load((run_folder / "recipe.yaml").read_text())
    recipe["stages"] = [{"train": {"steps": 45}}, {"train": {"steps": 15}}]
    (run_folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    found = page_module._next_steps(read_run(run_folder), None)
    assert found == []
    position = Position(stage=1, first=10, is_finished=True)
    monkeypatch.setattr(page_module, "newest_state", lambda _: {"position": position.state_dict()})
    assert "still falling" in page_module._next_steps(read_run(run_folder), None)[0]
    position.first = 45
    assert page_module._next_steps(read_run(run_folder), None) == []


def test_columns_that_are_no_rivals_are_told_apart_where_they_stand(page: str, outline: Read) -> None:
    words = outline(page).words()
    for said in (
        "start: the weights ",
        "concat: the vectors ",
        "px: the image ",
    ):
        assert words.count(said) == 3, said  # the table, the tasks, the spectra


@pytest.mark.usefixtures("without_pictures")
def test_a_model_measured_beside_them_is_no_start(run_folder: Path, outline: Read) -> None:
    results = json.loads((run_folder / "results.json").read_text())
    text = json.dumps(results).replace('"start"', '"rival"')
    (run_folder / "results.json").write_text(text)
    words = outline(write_report(run_folder).read_text(encoding="utf-8")).words()
    assert "rival: measured " in words
    assert "Others" in words


def test_colours_of_the_failures_have_a_legend(page: str) -> None:
    start = page.index('id="failures"')
    legend = page[page.index('<ul class="legend swatches"', start) :].partition("</ul>")[0]
    assert re.findall(r'<i class="(\w+)"></i>([^<]*)', legend) == [
        ("both", "both right"), ("own", "only student right"), ("theirs", "only the teacher right, in its colour"),
        ("neither", "both wrong"),
    ]  # fmt: skip
    used = set(re.findall(r'<i class="(\w+)" style', page))
    assert used == {"both", "own", "theirs", "neither"}


def test_shares_of_the_influence_are_explained_at_their_table(page: str) -> None:
    figure = page[page.index("Share in the training") :].partition("</figure>")[0]
    assert "gradient: the teacher's share" in html.unescape(figure)
    assert "kept: the share of images" in html.unescape(figure)


def test_a_table_that_is_wider_than_a_phone_shows_that_it_scrolls(page: str) -> None:
    """A shadow at the edge that hides columns, and a line where the browser can tell; every wide table has them."""
    style = page[page.index("<style>") : page.index("</style>")]
    rule = style[style.index("\n.scroll {") :].partition("}")[0]
    assert re.search(r"right / \d+px 100% no-repeat local", rule)
    assert re.search(r"right / \d+px 100% no-repeat scroll", rule)
    hint = style[style.index(".scroll::before {") :].partition("}")[0]
    assert "scroll sideways" in hint
    assert "animation-timeline: scroll(nearest inline)" in hint
    tables = [
        (found[1], page[: found.start()].rstrip().rpartition("\n")[2])
        for found in re.finditer(r'<table class="(\w+)', page)
    ]
    assert {kind for kind, before in tables if not before.startswith('<div class="scroll')} == {"meters"}
    assert {"scores", "confusion", "duels", "ranks", "pictures"} <= {kind for kind, _ in tables}


def test_options_of_teachers_are_named(run_folder: Path, without_pictures: None, outline: Read) -> None:
    assert "Teachers with options" not in write_report(run_folder).read_text()
    recipe = yaml.safe_load((run_folder / "recipe.yaml").read_text())
    name, uri = next(iter(recipe["teachers"]["models"].items()))
    recipe["teachers"]["models"][name] = {"uri": uri, "tokens": "patches", "weight": 2}
    (run_folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    words = outline(write_report(run_folder).read_text()).words()
    assert f"Teachers with options: {name}: weight 2, matched by patches alone." in words
