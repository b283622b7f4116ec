"""The report of a pre-flight check: facts about the run, and findings about what would go wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from unic.preflight.rows import Facts, Images, Model

Level = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Finding:
    """One finding of a check.

    Attributes:
        level: "error" would fail later; "warning" would work, with a result that surprises; "note" is good to know.
        about: the teacher, source or key that it is about.
        text: one line.
    """

    level: Level
    about: str
    text: str


@dataclass
class Report:
    """The result of a check.

    Attributes:
        recipe: its name.
        models: a row for the student and for each teacher that loads.
        images: a row for each training source.
        facts: sizes of views, projectors (`ladder`), memory, time and disk; spread and duplicates of the images.
        findings: errors, then warnings, then notes.
        stages: the reports of the stages after the first.
    """

    recipe: str
    models: list[Model] = field(default_factory=list)
    images: list[Images] = field(default_factory=list)
    facts: Facts = field(default_factory=Facts)
    findings: list[Finding] = field(default_factory=list)
    stages: list[Report] = field(default_factory=list)

    def add(self, level: Level, about: str, text: str) -> None:
        self.findings.append(Finding(level, about, text))
        self.findings.sort(key=lambda finding: ("error", "warning", "note").index(finding.level))

    @property
    def num_errors(self) -> int:
        return sum(finding.level == "error" for finding in self.findings)

    @property
    def is_ready(self) -> bool:
        """Whether no stage has an error."""
        return not self.num_errors and all(stage.is_ready for stage in self.stages)

    def shared(self, share: Callable[[Any], Any]) -> Report:
        """The report with `share` applied to all its texts, to replace private values; see `WithReferences.shared`."""
        return replace(
            self,
            models=share(self.models),
            images=share(self.images),
            facts=share(self.facts),
            findings=[replace(one, about=share(one.about), text=share(one.text)) for one in self.findings],
            stages=[stage.shared(share) for stage in self.stages],
        )

    def to_json(self) -> dict[str, Any]:
        return {"ready": self.is_ready, **asdict(self)}
