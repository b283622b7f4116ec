"""What every part has in common: its options, and its answer of one line and some values."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the other benchmarks

ROOT = Path(__file__).resolve().parents[2]

Answer = tuple[str, dict[str, Any]]


def main(part: Callable[[argparse.Namespace], Answer], parser: argparse.ArgumentParser | None = None) -> None:
    """Runs a part and writes its answer.

    Args:
        part: gets the options: `device`, an empty `folder`, `is_toy` (on a CPU everything is small), and `write`, which
            takes an answer so far: what is written counts even if the part is ended at its limit.
        parser: with further options.
    """
    parser = parser or argparse.ArgumentParser()
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    options.is_toy = options.device == "cpu"

    def write(line: str, values: dict[str, Any]) -> None:
        print(line)
        begun: Path = options.out.with_suffix(".begun")
        begun.write_text(json.dumps({"line": line, **values}) + "\n")
        begun.replace(options.out)

    options.write = write
    write(*part(options))
