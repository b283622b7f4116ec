import io

from rich.console import Console

from unic.eval import progress


def test_where_no_bar_can_be_shown_a_line_comes_now_and_then(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    console = Console(file=io.StringIO(), width=100)
    with progress.CellProgress(console) as shown:
        shown.describe("loading")
        shown.expect(8)
        for second in range(100):
            now[0] = second
            if second % 20 == 10:
                shown.advance(1)
            shown.describe(f"images/knn {second}")
    assert console.file.getvalue().splitlines() == [
        "2 of 8 cells; images/knn 31", "3 of 8 cells; images/knn 62", "5 of 8 cells; images/knn 93"
    ]  # fmt: skip


def test_a_terminal_gets_a_bar_and_no_lines():
    console = Console(file=io.StringIO(), width=100, force_terminal=True)
    with progress.CellProgress(console) as shown:
        shown.expect(2)
        shown.describe("images/knn")
        shown.advance(1)
    assert "1/2" in console.file.getvalue()
    assert "cells;" not in console.file.getvalue()
