"""results.json as the page reads it: leniently, since older files have only what the contract names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from unic.eval.seen import MeanGain, labelled, mean_gains, tasks_of
from unic.eval.trainings import TRAINING

ROLES = {"student": "Student", "teacher": "Teachers", "concat": "All teachers", "other": "Start", "pixels": "Pixels"}
TOP1 = "top-1 %"


@dataclass(frozen=True)
class Single:
    """The student against the one teacher with the highest mean.

    Attributes:
        score, student: means of the teacher and of the student.
        of: what the means are taken over: "mean score".
        unit: of the means.
        interval: of the student's minus the teacher's, where it was measured.
    """

    name: str
    score: float
    student: float
    of: str
    unit: str = "%"
    interval: list[float] | None = None
    lower_is_better: bool = False

    @property
    def advantage(self) -> float:
        return (self.score - self.student) if self.lower_is_better else (self.student - self.score)


class Scores:
    """The compared tasks of an evaluation.

    Attributes:
        tasks: all of them, by model.
        seen, unseen: which of them are on images that may be, and that are no, source of training. Means and ranks are
            over the seen ones.
        mean_gains: that of the seen tasks and, where there are any, that of the unseen ones.
    """

    def __init__(self, results: Mapping[str, Any]) -> None:
        self.models: Mapping[str, Mapping[str, Any]] = results["models"]
        self.tasks: Mapping[str, Mapping[str, Mapping[str, Any]]] = results["tasks"]
        self.results = results
        self.seen, self.unseen = tasks_of(results, "seen"), tasks_of(results, "unseen")
        self.mean_gains: list[MeanGain] = mean_gains(results)
        self._measures: Mapping[str, Mapping[str, Any]] = results.get("measures") or {}
        ranks = list(ROLES)
        shown = [name for name, facts in self.models.items() if facts.get("role") != TRAINING]
        self.names = sorted(shown, key=lambda name: ranks.index(self.role(name)))
        self.student = next((name for name in self.names if self.role(name) == "student"), None)
        self.teachers = [name for name in self.models if self.role(name) == "teacher"]
        self.best: dict[str, str] = dict(results.get("best_teacher") or {}) or self._best()
        self.gains: Mapping[str, float] = (results.get("gain_over_best_teacher") or {}) if self.student else {}
        own: Mapping[str, Any] = self.models[self.student] if self.student else {}
        self.trainings = list(map(str, own.get("trainings") or []))  # whose mean the student is; none of a single one

    @property
    def drawn(self) -> str:
        """What intervals draw again."""
        return "test images, probe seeds and trainings" if self.trainings else "test images and probe seeds"

    def role(self, name: str) -> str:
        role = str(self.models[name].get("role"))
        return role if role in ROLES else "other"

    def unit(self, task: str) -> str:
        """What the scores of a task are: "top-1 %"."""
        return str((self._measures.get(task) or {}).get("name") or TOP1)

    def labelled(self, label: str) -> str:
        """What a number over the seen tasks is called, which says so where there are others."""
        return labelled(label, self.results)

    def lower_is_better(self, task: str) -> bool:
        return bool((self._measures.get(task) or {}).get("lower_is_better"))

    @property
    def shared_unit(self) -> str | None:
        """The measure of all tasks; None if there are several."""
        units = {self.unit(task) for task in self.tasks}
        return units.pop() if len(units) == 1 else None

    def score(self, task: str, name: str) -> float | None:
        value = self.tasks[task].get(name, {}).get("score")
        return None if value is None else float(value)

    @property
    def num_seeds(self) -> int:
        return len((self.results.get("protocol") or {}).get("seeds") or [0])

    def lacks_seeds(self, task: str, name: str | None) -> bool:
        """Whether seeds changed the score and an older file does not have it of each of them."""
        entry = self.tasks.get(task, {}).get(name or "", {})
        return bool(entry.get("spread")) and not entry.get("by_seed")

    @property
    def holds_best_teacher_fixed(self) -> bool:
        """Whether the intervals are those of an older file, which say "below" too often and leave seeds out."""
        bootstrap = (self.results.get("protocol") or {}).get("bootstrap")
        return bootstrap is not None and "over_teachers" not in bootstrap

    def relative(self, task: str, name: str) -> float | None:
        """Gain over the best teacher in %, positive where it is better."""
        score, best = self.score(task, name), self.score(task, self.best[task])
        if score is None or not best:
            return None
        return (-100 if self.lower_is_better(task) else 100) * (score - best) / best

    def _best(self) -> dict[str, str]:
        best = {}
        for task in self.tasks:
            known = {name: score for name in self.teachers if (score := self.score(task, name)) is not None}
            if known:
                best[task] = (min if self.lower_is_better(task) else max)(known, key=lambda name: known[name])
        return best

    def mean(self, name: str, tasks: Sequence[str]) -> float | None:
        """Mean score over tasks of one measure; None where one of them is missing."""
        values = [self.score(task, name) for task in tasks]
        known = [value for value in values if value is not None]
        return sum(known) / len(known) if known and len(known) == len(values) else None

    def comparable(self) -> list[str]:
        """The seen tasks whose scores may be averaged: all, or those of the most frequent measure."""
        unit = next((unit for unit, _ in Counter(map(self.unit, self.seen)).most_common(1)), None)
        return [task for task in self.seen if self.unit(task) == unit]

    def mean_name(self) -> str:
        """What a mean over `comparable` is called."""
        tasks = self.comparable()
        return "mean score" if self._is_whole(tasks) else f"mean {self.unit(tasks[0])} over {len(tasks)} tasks"

    def _is_whole(self, tasks: Sequence[str]) -> bool:
        """Whether these are all seen tasks."""
        return len(tasks) == len(self.seen)

    def single(self) -> Single | None:
        """None without a student and a teacher that have all the tasks.

        Where tasks have several measures it is the one that results.json names, over all tasks in percent.
        """
        measured, tasks = self.results.get("single_teacher") or {}, self.comparable()
        if not self._is_whole(tasks) and measured:
            means = float(measured["score"]), float(measured["student"])
            return Single(measured["name"], *means, "mean of the tasks in %", "%", measured.get("difference_ci"))
        means_by_name = {name: mean for name in self.teachers if (mean := self.mean(name, tasks)) is not None}
        own = self.mean(self.student, tasks) if self.student else None
        if own is None or not means_by_name:  # also without a seen task
            return None
        lower = self.lower_is_better(tasks[0])
        name = (min if lower else max)(means_by_name, key=lambda name: means_by_name[name])
        interval = measured.get("difference_ci") if measured.get("name") == name and self._is_whole(tasks) else None
        return Single(name, means_by_name[name], own, self.mean_name(), self.unit(tasks[0]), interval, lower)

    def interval(self, task: str) -> list[float] | None:
        """Interval of the student's advantage over the best teacher, in units of the measure."""
        return (self.results.get("difference_ci") or {}).get(task)

    def outcome(self, task: str) -> str:
        """`above`, `below` or `level` with the best teacher, by that interval; empty where it is not known."""
        interval = self.interval(task)
        return side(interval) if interval else ""


def side(interval: Sequence[float]) -> str:
    return "above" if interval[0] > 0 else "below" if interval[1] < 0 else "level"


def signed(value: float, unit: str = "%") -> str:
    """`+1.2` or `−1.2`, with a real minus sign; what rounds to zero has none. No percentage: three digits."""
    text = f"{value:+.1f}" if unit.endswith("%") else f"{value:+.3g}"
    return text[1:] if float(text) == 0 else text.replace("-", "−")


def shown(value: float | None, unit: str = TOP1) -> str:
    """A score: one decimal of a percentage, else three digits."""
    if value is None:
        return "–"
    return f"{value:.1f}" if unit.endswith("%") else f"{value:.3g}"


def span(interval: Sequence[float], unit: str = "%") -> str:
    """The two signed ends of the interval of a difference."""
    return f"{signed(interval[0], unit)} to {signed(interval[1], unit)}"


def told(mean: MeanGain) -> tuple[str, str]:
    """A mean gain and its interval, `+1.2 %` and `−0.3 to +2.7 %`; empty where there is none."""
    gain = "" if mean.gain is None else f"{signed(mean.gain)} %"
    return gain, f"{span(mean.ci)} %" if mean.ci else ""


def millions(count: float | None) -> str:
    if not count:
        return ""
    return f"{count / 1e6:.1f} M" if count >= 1e5 else f"{count / 1e3:.1f} k"
