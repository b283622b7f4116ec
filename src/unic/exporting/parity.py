"""`parity.json` of an export: how far the outputs of each checked file deviate from those of the trained encoder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from unic._regular_files import read_json
from unic.exporting.formats import Written
from unic.files import write_text
from unic.runs.export_folder import ExportFolder


@dataclass
class Parity:
    """Deviations by format and file, `{"onnx: model.onnx": 3e-6}`."""

    deviations: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, folder: Path) -> Parity:
        """Reads the file of a folder; empty if it is missing or damaged."""
        with suppress(OSError, ValueError):
            found = read_json(ExportFolder(folder).parity)
            return cls(dict(found) if isinstance(found, dict) else {})
        return cls()

    def note(self, written: Sequence[Written], folder: Path) -> None:
        """Updates the deviations of files written below `folder`; a file that was not checked loses its deviation."""
        for one in written:
            key = f"{one.format}: {one.path.relative_to(folder)}"
            self.deviations.pop(key, None)
            if one.deviation is not None:
                self.deviations[key] = one.deviation

    def write(self, folder: Path) -> None:
        """Writes the file; removes it if there are no deviations."""
        file = ExportFolder(folder).parity
        if self.deviations:
            write_text(file, json.dumps(self.deviations, indent=1) + "\n")
        else:
            file.unlink(missing_ok=True)
