"""The tests marked gpu, from the files that have such."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys

from _part import ROOT, Answer, main


def part(options: argparse.Namespace) -> Answer:
    files = [str(file) for file in sorted((ROOT / "tests").rglob("test_*.py")) if "mark.gpu" in file.read_text()]
    # Warnings are errors with the versions that the project pins; those of this machine are others.
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-p", "no:cacheprovider", "-W", "default", *files]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    print(done.stdout, done.stderr)
    counts = {kind: int(count) for count, kind in re.findall(r"(\d+) (passed|failed|skipped|errors?)\b", done.stdout)}
    if done.returncode or (not options.is_toy and counts.keys() != {"passed"}):
        raise SystemExit(f"tests marked gpu: {counts or 'none ran'}")
    return ", ".join(f"{count} {kind}" for kind, count in counts.items()), counts


main(part)
