"""What a pre-flight check found: facts for the screen, and what would go wrong."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Level = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Finding:
    """Attributes:
    level: "error" would fail later; "warning" would work and surprise; "note" is good to know.
    about: the teacher, source or setting.
    """

    level: Level
    about: str
    text: str


@dataclass
class Report:
    """The result of a check.

    Attributes:
        models: a row for the student and for each teacher that could be loaded.
        images: a row for each training source.
        facts: ladder, memory, time, disk: what the run will cost.
        findings: worst first.
        stages: of a recipe with stages, the reports of those after the first.
    """

    recipe: str
    models: list[dict[str, Any]] = field(default_factory=list)
    images: list[dict[str, Any]] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
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
        """Nothing was found that would fail later, in no stage."""
        return not self.num_errors and all(stage.is_ready for stage in self.stages)

    def to_json(self) -> dict[str, Any]:
        return {"ready": self.is_ready, **asdict(self)}
