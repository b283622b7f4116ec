"""Students of several runs in one table. The first run is the one that the others are compared with."""

from __future__ import annotations

from collections.abc import Sequence

from unic.eval.results.schema import Cell, Protocol
from unic.eval.results.scoreboard import best_of
from unic.eval.results.seen import Kind, MeanGain
from unic.reporting.read.run_files import RunFiles
from unic.reporting.read.scores import Scores, shown
from unic.reporting.several.paired import Paired


def _settings(protocol: Protocol) -> dict[str, object]:
    """Settings that must be equal for scores to be compared, by name; None where a setting is not recorded."""
    return {
        "size": protocol.size, "view": protocol.view, "max_train": protocol.max_train, "max_test": protocol.max_test,
        "seeds": protocol.seeds or None, "teacher_vector": protocol.teacher_vector,
    }  # fmt: skip


class Compared:
    """The evaluated runs side by side.

    Attributes:
        names: names of all runs.
        measured: indices of the runs whose student was measured.
        tasks: that any of them has.
        common: tasks that all of them have, with the same measure.
    """

    def __init__(self, names: Sequence[str], runs: Sequence[RunFiles]) -> None:
        self.names, self.runs = names, runs
        self.measured = [index for index, run in enumerate(runs) if run.scores and run.scores.student]
        everything = [task for index in self.measured for task in self.scores(index).tasks]
        self.tasks = [task for task in dict.fromkeys(everything) if self._values(task)]
        self.common = [task for task in self.tasks if self._is_common(task)]
        self.paired = Paired(runs)

    def scores(self, index: int) -> Scores:
        scores = self.runs[index].scores
        assert scores is not None
        return scores

    def cell(self, task: str, index: int) -> Cell:
        """The student's cell in results.json; empty if there is none."""
        return self.scores(index).cell(task, self.scores(index).student) if index in self.measured else Cell()

    def unit(self, task: str) -> str:
        """Measure of the task in the first run that has it."""
        return next(self.scores(index).unit(task) for index in self.measured if task in self.scores(index).tasks)

    def lower_is_better(self, task: str) -> bool:
        return any(self.scores(index).lower_is_better(task) for index in self.measured)

    def is_unseen(self, task: str) -> bool:
        """Whether one of the evaluations counts it as a task on images that are no source of training."""
        return any(task in self.scores(index).unseen for index in self.measured)

    def _is_seen(self, task: str) -> bool:
        """Whether one of the evaluations counts it as a seen task."""
        return any(task in self.scores(index).seen for index in self.measured)

    @property
    def kinds(self) -> list[Kind]:
        """The kinds of tasks that were measured."""
        return ["seen", "unseen"] if any(map(self.is_unseen, self.tasks)) else ["seen"]

    def mean_gain(self, index: int, kind: Kind) -> MeanGain | None:
        """Mean gain of a run's student over its own tasks of a kind."""
        known = self.scores(index).mean_gains if index in self.measured else []
        return next((mean for mean in known if mean.kind == kind and mean.gain is not None), None)

    def _values(self, task: str) -> dict[int, float]:
        found = {index: self.cell(task, index).score for index in self.measured}
        return {index: score for index, score in found.items() if score is not None}

    def _is_common(self, task: str) -> bool:
        found = self._values(task)
        return len(found) == len(self.measured) and len({self.scores(index).unit(task) for index in found}) == 1

    def leader(self, task: str) -> int | None:
        """The best run, if paired intervals put it above each other run that has the task."""
        values = self._values(task)
        if len(values) < 2:
            return None
        best = best_of(values, lower_is_better=self.lower_is_better(task))
        return best if best is not None and self.paired.leads(task, best, list(values)) else None

    def mean_tasks(self) -> list[str]:
        """The common seen tasks of the most frequent measure."""
        seen = [task for task in self.common if not self.is_unseen(task)]
        units = [self.unit(task) for task in seen]
        return [task for task, unit in zip(seen, units, strict=True) if unit == max(units, key=units.count)]

    def means(self, tasks: Sequence[str]) -> dict[int, float]:
        if not tasks:
            return {}
        return {index: sum(self._values(task)[index] for task in tasks) / len(tasks) for index in self.measured}

    def to_first(self, tasks: Sequence[str], index: int) -> list[float] | None:
        """Paired interval of the mean difference to the first evaluated run; None for itself."""
        first = self.measured[0]
        return None if index == first else self.paired.mean_difference(tasks, index, first)

    def notes(self) -> list[str]:
        """Remarks that a reader must know before comparing numbers."""
        differing = []
        known = [_settings(self.scores(index).results.protocol) for index in self.measured]
        for key in _settings(Protocol()):
            values = [settings[key] for settings in known]
            if len(set(map(str, values))) > 1:
                named = zip(self.measured, values, strict=True)
                said = ", ".join(f"{self.names[index]} {'–' if value is None else value}" for index, value in named)
                differing.append(f"{key} ({said})")
        notes = [f"These runs were not measured alike: {'; '.join(differing)}."] if differing else []
        mixed = [task for task in self.common if self.is_unseen(task) and self._is_seen(task)]
        if mixed:
            notes.append(
                f"{', '.join(mixed)}: some of these runs count them as unseen and others as seen, so their mean gains "
                "are over different tasks."
            )
        notes += [f"{self.names[index]}: {run.predictions_note}" for index, run in enumerate(self.runs)
                  if run.scores and run.predictions_note]  # fmt: skip
        return notes + [note for index in self.measured for note in self._notes_on_age(index)]

    def _notes_on_age(self, index: int) -> list[str]:
        """Notes on what the intervals of an older results.json lack."""
        name, scores = self.names[index], self.scores(index)
        notes = []
        if scores.holds_best_teacher_fixed:
            notes.append(f"{name}: its results.json is older, so the interval of its mean gain holds the best teachers "
                         "fixed.")  # fmt: skip
        unseeded = ", ".join(task for task in self.common if scores.lacks_seeds(task, scores.student))
        if unseeded:
            notes.append(
                f"{name}: its results.json is older and lacks the score of each seed, so {unseeded} has no paired "
                "interval; unic eval measures it again."
            )
        return notes


def sentence(compared: Compared) -> str:
    """How many runs, and whether one of them has the highest mean by intervals that support it."""
    count = len(compared.measured)
    text = f"{len(compared.names)} runs, {count} of them evaluated" if count < len(compared.names) else f"{count} runs"
    tasks = compared.mean_tasks()
    means = compared.means(tasks)
    if count < 2 or not means:
        return f"{text}. No two of them have a task in common."
    lower, unit = compared.lower_is_better(tasks[0]), compared.unit(tasks[0])
    order = sorted(means, key=lambda index: means[index] * (1 if lower else -1))
    seen = "seen " if len(compared.kinds) > 1 else ""
    text += f", {len(tasks)} {seen}task{'s' if len(tasks) > 1 else ''} in common; the best mean is"
    text += f" {shown(means[order[0]], unit)} ({unit}), of {compared.names[order[0]]}"
    found = {other: compared.paired.mean_difference(tasks, order[0], other) for other in order[1:]}
    level = [compared.names[other] for other, ends in found.items() if ends and ends[0] <= 0]
    if any(ends is None for ends in found.values()):
        return f"{text}; it may be chance, which only predictions of the same images could tell."
    if level:
        return f"{text}; paired intervals do not separate it from {', '.join(level)}."
    return f"{text}, above every other run by paired 95 % intervals."
