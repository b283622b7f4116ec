"""results.json as a contract: `unic eval` writes `Results`; report, model card, table and API read it."""

from unic.eval.results.schema.part import Interval
from unic.eval.results.schema.parts import (
    Axis,
    Cell,
    Difference,
    Differences,
    Gain,
    Influence,
    Metric,
    ModelEntry,
    Role,
    SingleTeacher,
)
from unic.eval.results.schema.protocol import Bootstrap, Counts, Protocol
from unic.eval.results.schema.results import VERSION, Results

__all__ = [
    "VERSION", "Axis", "Bootstrap", "Cell", "Counts", "Difference", "Differences", "Gain", "Influence", "Interval",
    "Metric", "ModelEntry", "Protocol", "Results", "Role", "SingleTeacher",
]  # fmt: skip
