"""The table of a sweep in a terminal: names stay whole, whatever the width."""

from __future__ import annotations

import io
from collections.abc import Sequence

import pytest
from rich.console import Console

from unic.sweeps.measured import Measured, Scored
from unic.sweeps.summary import SuiteSummary, summarise
from unic.sweeps.table import as_markdown, render

NAMES = ["method", "smooth-L1 alone, no standardisation"]


def lines(width: int, *, unseen: bool = True) -> list[str]:
    trainings = [
        Measured(
            variant=name, is_base=name == NAMES[0], seed=seed,
            suites={"s": {"a/knn": Scored(score=60 + seed + place), "b/knn": Scored(score=40.0, is_unseen=unseen)}},
        )
        for place, name in enumerate(NAMES)
        for seed in range(2)
    ]  # fmt: skip
    return [line.strip() for line in rendered(summarise(trainings, NAMES), width).splitlines()]


def rendered(summaries: Sequence[SuiteSummary], width: int = 80) -> str:
    out = io.StringIO()
    Console(file=out, width=width).print(render(summaries))
    return out.getvalue()


@pytest.mark.parametrize(("width", "tables"), [(80, 2), (140, 1)])
def test_kinds_stand_one_below_the_other_where_the_width_asks_for_it(width: int, tables: int) -> None:
    found = lines(width)
    assert max(map(len, found)) <= width
    heads = [line.split() for line in found if line.startswith("variant")]
    whole = ["variant", "seeds", "seen", "to", "method", "unseen", "to", "method"]
    assert heads == ([whole] if tables == 1 else [whole[:5], [*whole[:2], *whole[5:]]])
    assert sum(line.startswith(NAMES[1]) for line in found) == tables


def test_one_kind_folds_its_names() -> None:
    found = lines(50, unseen=False)
    assert max(map(len, found)) <= 50
    assert sum(line.startswith("variant") for line in found) == 1


def measured(name: str, seeds: int = 1, score: float = 60.0) -> list[Measured]:
    cell = Scored(score=score)
    return [
        Measured(variant=name, is_base=name == "base", seed=seed, suites={"s": {"a/knn": cell}})
        for seed in range(seeds)
    ]


def test_what_has_no_finished_training_is_named() -> None:
    """In the terminal, in Markdown and in the notes of the page, which are the same."""
    names = ["base", *(f"v{number}" for number in range(12))]
    [summary] = summarise(measured("v0"), names)
    for text in (rendered([summary]), as_markdown([summary])):
        said = " ".join(text.split())
        assert "without a finished training: base, v1, v2, v3, v4, v5, v6, v7 and 4 more" in said
        assert "no differences, as the base has no finished training" in said
        assert "to base" not in said
        assert "difference to" not in said
    [whole] = summarise([*measured("base"), *measured("v0")], names[:2])
    assert not any("without a finished" in note or "no differences" in note for note in whole.notes())
    assert "to base" in rendered([whole])


@pytest.mark.parametrize(("of_base", "of_variant"), [(4, 1), (1, 4), (4, 4)])
def test_unequal_seeds_are_said(of_base: int, of_variant: int) -> None:
    [summary] = summarise([*measured("base", of_base), *measured("v", of_variant, 61.0)])
    said = "a difference only the seeds that the variant and base have in common"
    assert any(said in note for note in summary.notes()) == (of_base != of_variant)


def test_equal_answers_are_named() -> None:
    right = Scored(score=50.0, right="8A==", num_images=8, images="same")  # 11110000
    other = right.model_copy(update={"right": "Dw=="})  # 00001111
    for variant, is_equal in ((right, True), (other, False)):
        cells = {"a": right, "b": variant}
        trainings = [
            Measured(variant=name, is_base=name == "a", seed=0, suites={"s": {"x/knn": cell}})
            for name, cell in cells.items()
        ]
        [summary] = summarise(trainings)
        assert any("not one test image tells the two apart" in note for note in summary.notes()) == is_equal
