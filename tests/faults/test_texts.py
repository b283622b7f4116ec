"""Names come from files. In no language that they are written into are they more than text."""

from __future__ import annotations

import csv
import io
import json
import logging
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from unic._text import csv_cell, latex, markdown, markdown_block, markdown_code, python_string
from unic._usage import usage
from unic.eval.progress import CellProgress
from unic.eval.results.formats import to_csv, to_latex, to_markdown
from unic.eval.results.schema import Results
from unic.eval.results.table import render
from unic.exporting.model_card import model_card
from unic.exporting.provenance import Provenance
from unic.reporting.render import write_page
from unic.runs.metrics import logged_to
from unic.terminal import PlainConsole, tell

EVIL = "x\x1b]0;owned\x07\x1b[31m[/i][red]:smile:\n\r\x9b2J\udce9"  # a title, colours, markup, lines, Latin-1


def results(name: str) -> dict[str, Any]:
    cell = {"score": 44.7, "spread": 0.1, "ci": [40.0, 50.0]}
    return {
        "models": {name: {"role": "student"}, "t": {"role": "teacher"}},
        "tasks": {f"{name}/knn": {name: cell, "t": {"error": name}}},
        "best_teacher": {},
        "gain_over_best_teacher": {},
    }


def screen(terminal: bool) -> tuple[Console, io.StringIO]:
    file = io.StringIO()
    console = PlainConsole(file)
    console._force_terminal = terminal
    return console, file


@pytest.mark.parametrize("terminal", [True, False])
def test_terminals_get_no_commands(terminal: bool) -> None:
    console, file = screen(terminal)
    console.print(render(Results.load(results(EVIL))))
    console.print(EVIL)
    tell(console, EVIL, "red")
    with console.status(EVIL):
        pass
    with CellProgress(console) as progress:
        progress.describe(EVIL)
        progress._bar.refresh()
    shown = file.getvalue()
    assert not {"\x07", "\r\x9b", "\x9b", "\udce9"} & set(shown)
    assert "\x1b]0;" not in shown
    assert "[/i][red]:smile:" in shown.replace("\n", "")
    assert r"\x1b]0;owned\x07" in shown.replace("\n", "").replace(" ", "")


def test_a_console_of_ones_own_gets_lines_without_markup() -> None:
    file = io.StringIO()
    tell(Console(file=file, force_terminal=False), "[/i] [red]x[/red] \x1b[2J")
    assert file.getvalue() == "[/i] [red]x[/red] \\x1b[2J\n"


def test_logs_get_one_line_a_message(tmp_path: Path) -> None:
    with logged_to(tmp_path):
        logging.getLogger("unic").warning("damaged image: %s: %s", EVIL, ValueError("a\nb"))
    (line,) = (tmp_path / "train.log").read_bytes().split(b"\n")[:-1]
    assert b"\x1b" not in line
    assert line.decode("ascii").endswith(r"\udce9: a\nb")


FORMULAS = ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "＝1"]


def test_spreadsheets_get_no_formulas() -> None:
    for text in FORMULAS:
        assert str(csv_cell(text)).startswith("'"), text
    for value in ("-1.2", "+3", "-1e-3", -1.2, None, "a=b", "cats"):
        assert csv_cell(value) == value
    rows = list(csv.reader(io.StringIO(to_csv(Results.load(results('=HYPERLINK("http://x","y")\n'))))))
    assert {len(row) for row in rows} == {12}
    assert rows[1][3] == '\'=HYPERLINK("http://x","y")\\n'
    assert rows[1][5] == "44.7"


def test_latex_gets_no_commands() -> None:
    hostile = r"\input{/etc/passwd}\write18{rm} 50% a_b c&d e#f $x$ ~ ^ {y}"
    text = latex(hostile)
    assert r"\input" not in text
    assert r"\write" not in text
    for sign in "%_&#$":
        assert text.count(sign) == text.count(f"\\{sign}") == hostile.count(sign)
    assert r"\textbackslash{}input\{/etc/passwd\}" in text
    assert r"\textasciitilde{} \textasciicircum{} \{y\}" in text
    assert latex("[1cm] * ") == "{[}1cm] {*} "  # at the start of a row an argument of the \\ before
    body = [line for line in to_latex(Results.load(results("a&b\n\\\\"))).splitlines() if line.endswith(r"\\")]
    assert {line.replace(r"\&", "").count("&") for line in body} == {3}


def test_markdown_gets_no_marks() -> None:
    hostile = "a|b <img src=x onerror=alert(1)> [x](javascript:1) ![y](http://z) `c` *d* _e_ https://f www.g.h &lt;"
    text = markdown(hostile)
    for mark in ("<", "[", "](", "`", "*", "|", "&"):
        assert text.count(mark[0]) == text.count(f"\\{mark[0]}"), mark
    assert text.count("://") == text.count(r"\://") == 2
    assert "www." not in text
    assert markdown("vit_small top-1 % +12.3 mean_knn/x") == "vit_small top-1 % +12.3 mean_knn/x"
    rows = [line for line in to_markdown(Results.load(results("x|y\n# z"))).splitlines() if line]
    assert all(line.startswith("|") for line in rows)
    assert {line.replace(r"\|", "").count("|") for line in rows} == {5}
    assert markdown_code("a`b``c|d", in_table=True) == r"```a`b``c\|d```"
    assert markdown_block("```\n# x", "yaml") == "````yaml\n```\n# x\n````"


def test_python_gets_a_string() -> None:
    path = 'a"); import os; os.system("x'
    assert eval(python_string(path)) == path
    assert python_string("été") == '"été"'
    line = next(line for line in usage(Path(path)).splitlines() if line.startswith("model ="))
    calls: list[str] = []

    class Timm:
        def create_model(self, name: str, pretrained: bool) -> Any:
            calls.append(name)
            return self

        def eval(self) -> None: ...

    exec(line, {"timm": Timm()})
    assert calls == [f"local-dir:{path}"]


def test_a_card_is_what_it_says() -> None:
    uri = "hf:x|y`z?a=<script>"
    facts = {"uri": uri, "licence": "mit\nevil: true\n---\n# [x](http://y)", "revision": "a|b"}
    recipe = {"data": {"train": [{"path": "a`b\n```\n# c"}], "size": 9}, "x": "```\n# d\n${oc.env"}
    recipe |= {part: {"type": "a`b\n# c"} for part in ("projector", "standardize", "weighting")}
    card = model_card("r\n# e <b>", Provenance(None, {"t": facts}), recipe, None, {}, usage(Path("```\nq")))
    _, head, body = card.split("---\n", 2)
    assert set(yaml.safe_load(head)) == {"library_name", "pipeline_tag", "tags", "license", "license_name"}
    outside, in_code = [], ""
    for line in body.splitlines():
        ticks = line[: len(line) - len(line.lstrip("`"))]
        if len(ticks) >= 3 and (not in_code or line == in_code):
            in_code = "" if in_code else ticks
        elif not in_code:
            outside.append(line)
    headings = [line for line in outside if line.startswith("#")]
    assert headings == [
        "# r\\n# e \\<b\\>".replace("r\\n", "r\\\\n"), "## Teachers and licences", "## Use", "## Files", "## Training",
        "## Limits",
    ]  # fmt: skip
    assert not any("<script" in line and "`" not in line for line in outside)
    (row,) = (line for line in outside if line.startswith("| t "))
    assert row.replace(r"\|", "").count("|") == 5


def test_a_page_with_names_that_are_not_utf8(tmp_path: Path) -> None:
    write_page("caf\udce9", tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text() == r"caf\udce9"


def test_json_keeps_names_as_they_are() -> None:
    assert json.loads(json.dumps(results(EVIL))) == results(EVIL)
