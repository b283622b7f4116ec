"""The table of every alternative in benchmarks/results/epyc-2-cores.md, and the sweep that it is of."""

from __future__ import annotations

import statistics
from pathlib import Path

import yaml

from unic.sweeps.measured import read_all

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_the_page_shows_every_variant_with_the_mean_of_its_record() -> None:
    page = (BENCHMARKS / "results/epyc-2-cores.md").read_text()
    section = page.partition("## Every alternative, trained once\n")[2].partition("\n## ")[0]
    rows = [row.strip("| ").split(" | ") for row in section.splitlines() if row.startswith("| ")][1:]
    shown = {row[0]: row[1] for row in rows}
    trained = {
        one.variant: f"{statistics.mean(cell.score for cell in one.suites['suite'].values()):.1f}"
        for one in read_all(BENCHMARKS / "results/alternatives/results")
    }
    assert shown == trained
    assert list(shown) == list(yaml.safe_load((BENCHMARKS / "variants/alternatives.yaml").read_text())["variants"])
