"""Writes docs/findings.md: claims of the paper beside what the sweep benchmarks/variants/findings.yaml found.

    python benchmarks/findings.py            # from the small files in benchmarks/results/findings/results
    python benchmarks/findings.py --power    # prints only which differences how many seeds can show

A claim is a list of comparisons, each of what the paper prefers with an alternative. Differences and intervals are
those of `unic sweep` (docs/sweep.md); a positive difference agrees with the paper. Outcomes go by the ends of the
intervals as they are printed, and by p values that are corrected for the number of comparisons.
"""

from __future__ import annotations

import argparse
import itertools
import math
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import yaml
from _claims import CLAIMS, METHOD, Comparison
from _seeds_and_images import MOST, can_show, holm, needed, p_value
from scipy.stats import t as student_t

from unic.eval.results.row_title import set_of
from unic.sweeps.measured import Measured, read_all
from unic.sweeps.paired import Difference, Paired

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks/results/findings/results"
SWEEP = ROOT / "benchmarks/variants/findings.yaml"
TEMPLATE = ROOT / "benchmarks/findings.md"  # the page without its numbers
PAGE = ROOT / "docs/findings.md"
SUITE = "choice"
POINT = 1.0  # a difference that matters
FIRST = range(4)  # seeds of the method that were trained before any other variant
HOLDS, OPPOSITE = "**holds**", "**the opposite**"
HINT, HINT_AGAINST = "a hint that it holds", "a hint of the opposite"
NO_DIFFERENCE, OPEN = "no difference of a point", "open: the interval is too wide"
ONE_SEED, NOT_TRAINED = "one seed: nothing is shown", "not trained yet"


class Findings:
    """All finished trainings of the sweep.

    Args:
        trainings: their small files.
    """

    def __init__(self, trainings: Sequence[Measured]) -> None:
        self.trainings = trainings
        self.paired = Paired(trainings, SUITE)
        first = next((one for one in trainings if one.variant == METHOD), None)
        cells = first.suites[SUITE] if first else {}
        self.tasks = {
            "all": list(cells),
            "seen": [task for task, cell in cells.items() if not cell.is_unseen],
            "unseen": [task for task, cell in cells.items() if cell.is_unseen],
        }

    def seeds(self, variant: str) -> list[int]:
        return self.paired.seeds(variant, self.tasks["all"])

    def mean(self, variant: str, seed: int, kind: str = "all") -> float:
        row = self.paired.scores[variant][seed]
        return statistics.mean(row[task].score for task in self.tasks[kind])

    def difference(self, preferred: str, other: str, kind: str = "all") -> Difference | None:
        return self.paired.difference(self.tasks[kind], preferred, other) if self.tasks[kind] else None

    def deviation_of_method(self) -> float | None:
        """Deviation of a difference of two trainings that share nothing, from the first trainings of the method."""
        seeds = [seed for seed in self.seeds(METHOD) if seed in FIRST] if self.tasks["all"] else []
        scores = [self.mean(METHOD, seed) for seed in seeds]
        return math.sqrt(2) * statistics.stdev(scores) if len(scores) > 2 else None

    def deviation_of_pairs(self) -> float | None:
        """Deviation of the difference of two trainings with one seed, pooled over all variants."""
        squares, freedom = 0.0, 0
        for variant in self.paired.scores:
            both = [seed for seed in self.seeds(variant) if seed in self.seeds(METHOD)]
            if variant == METHOD or len(both) < 2:
                continue
            differences = [self.mean(variant, seed) - self.mean(METHOD, seed) for seed in both]
            squares += statistics.variance(differences) * (len(both) - 1)
            freedom += len(both) - 1
        return math.sqrt(squares / freedom) if freedom else None

    def differences_of_seeds(self, preferred: str, other: str) -> list[float]:
        """Differences of the mean over all tasks, by seed that both have."""
        both = [seed for seed in self.seeds(preferred) if seed in self.seeds(other)]
        return [self.mean(preferred, seed) - self.mean(other, seed) for seed in both]

    def image_error(self, preferred: str, other: str) -> float:
        """Standard error of the difference of the mean over all tasks by other test images; 0 where none are known."""
        both = [seed for seed in self.seeds(preferred) if seed in self.seeds(other)]
        variance = 0.0
        for tasks in self._tasks_of_sets():
            rows = [
                (self.paired.scores[preferred][seed][task].marks(), self.paired.scores[other][seed][task].marks())
                for seed in both
                for task in tasks
            ]
            marks = np.mean(
                [own - rival for own, rival in rows if own is not None and rival is not None] or [[0, 0]], 0
            )
            share = len(tasks) / len(self.tasks["all"])
            variance += share**2 * float(np.var(marks, ddof=1)) / len(marks)
        return math.sqrt(variance)

    def _tasks_of_sets(self) -> list[list[str]]:
        """The tasks of each set, which share its test images."""
        ordered = sorted(self.tasks["all"], key=set_of)
        return [list(tasks) for _, tasks in itertools.groupby(ordered, set_of)]


class Judged(NamedTuple):
    """What may be said of a comparison.

    Attributes:
        difference: of the mean over all tasks; None: not trained.
        p: its p value; None with fewer than two seeds.
        outcome: in words.
    """

    difference: Difference | None
    p: float | None
    outcome: str


def judge(found: Findings) -> dict[Comparison, Judged]:
    """Every comparison of every claim. The p values of all that have several seeds are corrected together."""
    comparisons = [comparison for claim in CLAIMS for comparison in claim.comparisons]
    differences = {each: found.difference(each.preferred, each.other) for each in comparisons}
    p_values: dict[Comparison, float] = {}
    for each, difference in differences.items():
        if difference is not None and len(difference.seeds) > 1:
            by_seed = found.differences_of_seeds(each.preferred, each.other)
            error = found.image_error(each.preferred, each.other)
            mean, deviation = statistics.mean(by_seed), statistics.stdev(by_seed)
            p_values[each] = p_value(mean, len(by_seed), deviation, error)
    held = dict(zip(p_values, holm(list(p_values.values())), strict=True))
    return {
        each: Judged(difference, p_values.get(each), outcome(difference, is_held=held.get(each, False)))
        for each, difference in differences.items()
    }


def outcome(difference: Difference | None, *, is_held: bool) -> str:
    """What may be said, of the mean over all tasks.

    Args:
        difference: the difference.
        is_held: its p value holds beside those of the other comparisons.
    """
    if difference is None:
        return NOT_TRAINED
    if len(difference.seeds) < 2 or difference.ci is None:
        return ONE_SEED
    low, high = (round(end, 1) for end in difference.ci)  # as they are printed: further digits are resampling noise
    if low > 0:
        return HOLDS if is_held else HINT
    if high < 0:
        return OPPOSITE if is_held else HINT_AGAINST
    return NO_DIFFERENCE if low > -POINT and high < POINT else OPEN


def power(found: Findings) -> Iterator[str]:
    """A table of what n seeds can show, by the deviation known before other variants and by that known since."""
    before, since = found.deviation_of_method(), found.deviation_of_pairs()
    names = {
        f"as of two unrelated trainings, from the method's first {len(FIRST)}": before,
        "as of two variants with one seed, from all pairs": since,
    }
    known = {name: deviation for name, deviation in names.items() if deviation}
    if not known:
        yield "Too few trainings are finished."
        return
    several = [variant for variant in found.paired.scores if variant != METHOD and len(found.seeds(variant)) > 1]
    error = statistics.median([found.image_error(METHOD, variant) for variant in several] or [0.0])
    numbers = (2, 3, 4, 5, 8)
    heads = [f"{count} seeds" for count in numbers]
    yield f"| standard deviation of a difference, in points | {' | '.join(heads)} | seeds that show one point |"
    yield f"|---|{'---:|' * (len(numbers) + 1)}"
    for name, deviation in known.items():
        cells = [f"{can_show(count, deviation, error):.1f}" for count in numbers]
        count = needed(POINT, deviation, error) or f"more than {MOST}"
        yield f"| {name}: {deviation:.2f} | {' | '.join(cells)} | {count} |"
    yield ""
    whose = "median of the variants against the method"
    yield f"Other test images add a standard error of {error:.2f} points ({whose}), which is counted."


def claims(found: Findings, judged: Mapping[Comparison, Judged]) -> Iterator[str]:
    for claim in CLAIMS:
        yield f"### {claim.text}"
        if claim.paper:
            yield f"The paper: {claim.paper}."
            yield ""
        yield "| comparison | variants | all tasks | seen | unseen | seeds | outcome |"
        yield "|---|---|---:|---:|---:|---:|---|"
        for each in claim.comparisons:
            parts = [found.difference(each.preferred, each.other, kind) for kind in found.tasks]
            count = len(parts[0].seeds) if parts[0] else 0
            variants = f"`{each.preferred}` − `{each.other}`"
            cells = [each.text, variants, *map(in_points, parts), str(count), judged[each].outcome]
            yield f"| {' | '.join(cells)} |"
        yield ""


def in_short(found: Findings, judged: Mapping[Comparison, Judged]) -> Iterator[str]:
    """A table of all comparisons of two seeds or more, by what may be said of them; the number of those with fewer.

    Args:
        found: all trainings.
        judged: what `judge` says of them.
    """
    later = Findings([one for one in found.trainings if one.seed])
    rows: dict[str, list[str]] = {}
    for each, (difference, p, said) in judged.items():
        name = f"`{each.preferred}` − `{each.other}`" if each.text.startswith("…") else each.text
        if difference is None or p is None:
            rows.setdefault(said, []).append(name)
            continue
        shown_p = f"{p:.3f}" if p >= 0.001 else "< 0.001"
        alone = later.difference(each.preferred, each.other)
        cells = [name, in_points(difference), shown_p, in_points(alone), str(len(difference.seeds))]
        rows.setdefault(said, []).append(" | ".join(cells))
    yield "| what may be said | comparison | all tasks | p | without seed 0 | seeds |"
    yield "|---|---|---:|---:|---:|---:|"
    for said in (HOLDS, HINT, OPPOSITE, HINT_AGAINST, NO_DIFFERENCE, OPEN):
        yield from (f"| {said} | {row} |" for row in rows.get(said, []))
    fewer = len(rows.get(ONE_SEED, [])) + len(rows.get(NOT_TRAINED, []))
    if fewer:
        yield ""
        yield f"{fewer} more comparisons have one seed or none, which shows nothing."


def in_points(difference: Difference | None) -> str:
    if difference is None:
        return "–"
    # With one seed the interval covers test images alone, which is far too narrow for a claim about trainings.
    ci = difference.ci if len(difference.seeds) > 1 else None
    ends = f" [{ci[0]:+.1f}, {ci[1]:+.1f}]" if ci else ""
    return f"{difference.mean:+.1f}{ends}"


def gains(found: Findings) -> Iterator[str]:
    """The gain of the method over the best teacher of each task."""
    rows = {one.seed: one.mean_gains[SUITE] for one in found.trainings if one.variant == METHOD}
    for kind in ("seen", "unseen"):
        values = [row[kind] for row in rows.values()]
        known = [value for value in values if value is not None]
        if len(known) < 2:
            yield f"{kind}: {len(known)} seeds, nothing is shown"
            continue
        reach = student_t.ppf(0.975, len(known) - 1) * statistics.stdev(known) / math.sqrt(len(known))
        mean = statistics.mean(known)
        yield f"{kind} {mean:+.1f} % [{mean - reach:+.1f}, {mean + reach:+.1f}] over {len(known)} seeds"


def subsets(found: Findings, teachers: Sequence[str]) -> dict[frozenset[str], str]:
    """The variant of each set of teachers."""
    of: dict[frozenset[str], str] = {frozenset(teachers): METHOD}
    for one in found.trainings:
        if len(one.overrides) == 1 and one.overrides[0].startswith("teachers.models="):
            of[frozenset(yaml.safe_load(one.overrides[0].partition("=")[2]))] = one.variant
    return of


def by_number(found: Findings, teachers: Sequence[str]) -> Iterator[str]:
    """Mean scores by number of teachers, on the seeds that every trained set has."""
    of = {chosen: variant for chosen, variant in subsets(found, teachers).items() if variant in found.paired.scores}
    common = set.intersection(*(set(found.seeds(variant)) for variant in of.values())) if of else set()
    yield "| teachers | sets trained | all tasks | seen | unseen | best set (all tasks) |"
    yield "|---|---:|---:|---:|---:|---|"
    for number in range(1, len(teachers) + 1):
        sets = [frozenset(chosen) for chosen in itertools.combinations(teachers, number)]
        trained = {chosen: of[chosen] for chosen in sets if chosen in of and common}
        means = {
            kind: {chosen: mean_of(found, variant, common, kind) for chosen, variant in trained.items()}
            for kind in found.tasks
        }
        cells = [f"{statistics.mean(each.values()):.1f}" if each else "–" for each in means.values()]
        best = max(trained, key=means["all"].__getitem__, default=frozenset[str]())
        text = " + ".join(name for name in teachers if name in best)
        best_score = f" ({means['all'][best]:.1f})" if trained else ""
        yield f"| {number} | {len(trained)} of {len(sets)} | {' | '.join(cells)} | {text or '–'}{best_score} |"


def mean_of(found: Findings, variant: str, seeds: Iterable[int], kind: str = "all") -> float:
    return statistics.mean(found.mean(variant, seed, kind) for seed in seeds)


def every_variant(found: Findings) -> Iterator[str]:
    yield "| variant | seeds | all tasks | seen | unseen | seconds of training |"
    yield "|---|---:|---:|---:|---:|---:|"
    for variant in sorted(found.paired.scores, key=lambda name: (-mean_of(found, name, found.seeds(name)), name)):
        cells = [f"{mean_of(found, variant, found.seeds(variant), kind):.1f}" for kind in found.tasks]
        times = [one.train_s for one in found.trainings if one.variant == variant and one.train_s]
        time = f"{statistics.median(times):.0f}" if times else "–"
        yield f"| {variant} | {len(found.seeds(variant))} | {' | '.join(cells)} | {time} |"


def page(trainings: Sequence[Measured], teachers: Sequence[str]) -> str:
    """The whole page in Markdown.

    Args:
        trainings: the finished ones.
        teachers: names of all teachers, in the order of the recipe.
    """
    found = Findings(trainings)
    judged = judge(found)
    dates = sorted(one.date for one in trainings)
    parts = {
        "count": str(len(trainings)),
        "variants": str(len(found.paired.scores)),
        "dates": " to ".join(dict.fromkeys((dates[0], dates[-1]))) if dates else "not begun",
        "compared": str(sum(each.p is not None for each in judged.values())),
        "power": "\n".join(power(found)),
        "gains": "; ".join(gains(found)),
        "in_short": "\n".join(in_short(found, judged)),
        "claims": "\n".join(claims(found, judged)),
        "by_number": "\n".join(by_number(found, teachers)),
        "every_variant": "\n".join(every_variant(found)),
    }
    text = TEMPLATE.read_text()
    for name, part in parts.items():
        text = text.replace(f"<!-- {name} -->", part)
    return text


def teachers_of(sweep: Path = SWEEP) -> list[str]:
    """Names of the teachers of the sweep's recipe."""
    return list(yaml.safe_load(sweep.read_text())["recipe"]["teachers"]["models"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--power", action="store_true", help="print only what how many seeds can show")
    options = parser.parse_args()
    trainings = read_all(RESULTS)
    if options.power:
        print("\n".join(power(Findings(trainings))))
    else:
        PAGE.write_text(page(trainings, teachers_of()))


if __name__ == "__main__":
    main()
