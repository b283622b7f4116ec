"""The scores of results.json as a page names and groups them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from unic.eval.results.schema import Results
from unic.eval.results.scoreboard import Scoreboard
from unic.eval.results.seen import MeanGain, labelled, mean_gains, tasks_of
from unic.eval.results.trainings import TRAINING
from unic.eval.results.units import number
from unic.runs.metric_names import TOP1

ROLES = {"student": "Student", "teacher": "Teachers", "concat": "All teachers", "other": "Start", "pixels": "Pixels"}


@dataclass(frozen=True)
class Single:
    """The student against the one teacher with the highest mean.

    Attributes:
        score, student: means of the teacher and of the student.
        of: name of the mean, for example "mean score".
        unit: unit of the means.
        interval: interval of the student's minus the teacher's, where it was measured.
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


class Scores(Scoreboard):
    """The compared tasks of an evaluation, and how a page names and groups them.

    Attributes:
        names: names of the models that are shown, by role.
        seen, unseen: tasks on images that may be a source of training, and on images that are none. Means and ranks are
            over the seen ones.
        mean_gains: over the seen tasks and, if there are any, over the unseen ones.
        gains: gains of the student over the best teacher, by task.
        trainings: whose mean the student is; empty for a single one.
    """

    def __init__(self, results: Results) -> None:
        roles = {name: model.role for name, model in results.models.items()}
        super().__init__(results.tasks, roles, results.measures, results.best_teacher)
        self.results, self.models = results, results.models
        self.seen, self.unseen = tasks_of(results, "seen"), tasks_of(results, "unseen")
        self.mean_gains: list[MeanGain] = mean_gains(results)
        shown, order = [name for name, role in roles.items() if role != TRAINING], list(ROLES)
        self.names = sorted(shown, key=lambda name: order.index(roles[name]))
        self.gains: Mapping[str, float] = results.gain_over_best_teacher if self.student else {}
        self.trainings = self.models[self.student].trainings if self.student else []

    @property
    def drawn(self) -> str:
        """The things that the bootstrap of the intervals resamples."""
        return "test images, probe seeds and trainings" if self.trainings else "test images and probe seeds"

    def role(self, name: str) -> str:
        return self.roles[name]

    def unit(self, task: str) -> str:
        """The measure of a task: "top-1 %"."""
        return self.metric(task).name

    def labelled(self, label: str) -> str:
        """The label of a number over the seen tasks, which says "seen" if there are unseen ones."""
        return labelled(label, self.results)

    def lower_is_better(self, task: str) -> bool:
        return self.metric(task).lower_is_better

    @property
    def shared_unit(self) -> str | None:
        """The measure of all tasks; None if there are several."""
        units = {self.unit(task) for task in self.tasks}
        return units.pop() if len(units) == 1 else None

    @property
    def num_seeds(self) -> int:
        return len(self.results.protocol.seeds) or 1

    def lacks_seeds(self, task: str, name: str | None) -> bool:
        """Whether seeds changed the score, but an older file does not have the score of each seed."""
        cell = self.cell(task, name)
        return bool(cell.spread) and not cell.by_seed

    @property
    def holds_best_teacher_fixed(self) -> bool:
        """Whether the intervals are of an older file, which says "below" too often and leaves seeds out."""
        bootstrap = self.results.protocol.bootstrap
        return bootstrap is not None and bootstrap.over_teachers is None

    def comparable(self) -> list[str]:
        """The seen tasks whose scores may be averaged: all, or those of the most frequent measure."""
        unit = next((unit for unit, _ in Counter(map(self.unit, self.seen)).most_common(1)), None)
        return [task for task in self.seen if self.unit(task) == unit]

    def mean_name(self) -> str:
        """The name of a mean over `comparable`."""
        tasks = self.comparable()
        return "mean score" if self._is_whole(tasks) else f"mean {self.unit(tasks[0])} over {len(tasks)} tasks"

    def _is_whole(self, tasks: Sequence[str]) -> bool:
        """Whether these are all seen tasks."""
        return len(tasks) == len(self.seen)

    def single(self) -> Single | None:
        """The best single teacher; None without a student and a teacher that have all the tasks.

        If tasks have several measures, it is the teacher that results.json names, over all tasks in percent.
        """
        measured, tasks = self.results.single_teacher, self.comparable()
        if measured and not self._is_whole(tasks):
            of, ends = "mean of the tasks in %", measured.difference_ci
            return Single(measured.name, measured.score, measured.student, of, "%", ends)
        name = self.best_single_teacher(tasks)
        own, theirs = self.mean(self.student, tasks), self.mean(name, tasks)
        if name is None or own is None or theirs is None:  # also if there is no seen task
            return None
        is_measured = measured is not None and measured.name == name and self._is_whole(tasks)
        interval = measured.difference_ci if measured and is_measured else None
        lower = self.lower_is_better(tasks[0])
        return Single(name, theirs, own, self.mean_name(), self.unit(tasks[0]), interval, lower)

    def interval(self, task: str) -> list[float] | None:
        """Interval of the student's advantage over the best teacher, in units of the measure."""
        return self.results.difference_ci.get(task)

    def outcome(self, task: str) -> str:
        """`above`, `below` or `level` with the best teacher, by that interval; empty if it is not known."""
        interval = self.interval(task)
        return side(interval) if interval else ""


def side(interval: Sequence[float]) -> str:
    return "above" if interval[0] > 0 else "below" if interval[1] < 0 else "level"


def signed(value: float, unit: str = "%") -> str:
    """`+1.2` or `−1.2`, with a real minus sign; no sign if it rounds to zero. Without a percentage: three digits."""
    text = number(value, unit, "+")
    return text[1:] if float(text) == 0 else text.replace("-", "−")


def shown(value: float | None, unit: str = TOP1) -> str:
    """A score: one decimal of a percentage, else three digits."""
    return "–" if value is None else number(value, unit)


def span(interval: Sequence[float], unit: str = "%") -> str:
    """The two signed ends of the interval of a difference."""
    return f"{signed(interval[0], unit)} to {signed(interval[1], unit)}"


def told(mean: MeanGain) -> tuple[str, str]:
    """A mean gain and its interval, `+1.2 %` and `−0.3 to +2.7 %`; each is empty if there is none."""
    gain = "" if mean.gain is None else f"{signed(mean.gain)} %"
    return gain, f"{span(mean.ci)} %" if mean.ci else ""


def millions(count: float | None) -> str:
    if not count:
        return ""
    return f"{count / 1e6:.1f} M" if count >= 1e5 else f"{count / 1e3:.1f} k"
