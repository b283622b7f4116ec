"""What can only be seen on a GPU, in eight minutes: one line a part, and one JSON.

    python benchmarks/gpu [--device cuda] [--minutes 8] [--only PART …] [--out runs/gpu.json]

`make gpu` runs it, on a machine of its own without network; `collect.py` says what is carried there, and docs/gpu.md
what each part asks. A part is a process with a time limit: one that fails or hangs costs its own line only. All limits
together are less than the eight minutes; a part may also use what those before it have left of theirs. Parts come in
the order in which they tell most. The JSON is written before the first part and after each.
With `--device cpu` the same parts run at toy size, which shows that they run and nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CARRIED = ROOT / ".gpu"


@dataclass(frozen=True)
class Part:
    """A script beside this file, how it is called, and the seconds that it may take in any case."""

    name: str
    limit: float
    script: str
    arguments: tuple[str, ...] = ()


PARTS = (
    Part("tests", 40, "marked_tests"),
    Part("syncs", 35, "syncs"),
    Part("unic-b", 95, "step_rates", ("unic-b",)),
    Part("unic-l", 120, "step_rates", ("unic-l",)),
    Part("quickstart", 70, "quickstart"),
    Part("samples-bench", 35, "samples_bench"),
    Part("fsdp", 25, "fsdp"),
    Part("extraction, probes", 30, "probes"),
)
_LEAST = 5.0  # seconds; a part that has fewer left is not begun
_PATIENCE = 60  # seconds for pip, and for a look at the machine
_SLOWER = 10  # times the limits on a CPU, whose cores other work may share


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--minutes", type=float, help="default: 8, on a CPU 80")
    parser.add_argument("--only", nargs="+", choices=[part.name for part in PARTS], metavar="PART")
    parser.add_argument("--out", type=Path, default=ROOT / "runs/gpu.json")
    options = parser.parse_args()
    begun, slower = time.monotonic(), _SLOWER if options.device == "cpu" else 1
    end_at = begun + 60 * (options.minutes or 8 * slower)
    result: dict[str, Any] = {"device": options.device, "errors": [], "parts": {}}

    def write() -> None:  # after each part: the machine may be taken away
        result["seconds"] = round(time.monotonic() - begun, 1)
        options.out.write_text(json.dumps(result, indent=1) + "\n")

    options.out.parent.mkdir(parents=True, exist_ok=True)
    write()
    environment, error = prepared()
    if error:
        result["errors"].append(error)
        print(error, flush=True)
        write()
    result["machine"] = about(environment)
    write()
    chosen = [part for part in PARTS if not options.only or part.name in options.only]
    for place, part in enumerate(chosen):
        limit = limit_of(chosen[place:], end_at - time.monotonic(), slower)
        found = run(part, options.device, limit, environment)
        result["parts"][part.name] = found
        print(f"{found['state']:8} {found['seconds']:6.1f} s  {part.name:18}  {found['line']}", flush=True)
        write()
    print(f"{result['seconds']:.0f} s in all; {options.out}")
    return int(bool(result["errors"]) or any(found["state"] != "ok" for found in result["parts"].values()))


def limit_of(parts: Sequence[Part], left: float, slower: float) -> float:
    """Seconds that the first of these parts may take: its own, and what is left beside those of the others."""
    own, *others = (slower * part.limit for part in parts)
    return min(left, max(own, left - sum(others)))


def prepared() -> tuple[dict[str, str], str]:
    """The environment of the parts, with the wheels that this Python lacks unpacked beside the checkout.

    Returns:
        Variables, and a line that says what failed: the parts run nevertheless.
    """
    site, error = CARRIED / "site", ""
    wheels = [wheel for wheel in sorted((CARRIED / "wheels").glob("*.whl")) if not is_installed(wheel)]
    if not all(is_installed(wheel, site) for wheel in wheels):
        error = unpack(wheels, site)
    paths = [str(ROOT / "src"), str(site), os.environ.get("PYTHONPATH", "")]
    own = {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "PYTHONUNBUFFERED": "1", "HF_HUB_OFFLINE": "1"}
    if (CARRIED / "teachers").is_dir():
        own["UNIC_TEACHERS"] = str(CARRIED / "teachers")
    return os.environ | own, error


def unpack(wheels: Sequence[Path], site: Path) -> str:
    """Installs wheels into a folder, which is there once all of them are. Returns what failed."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-compile"]
    try:
        with tempfile.TemporaryDirectory(prefix="site-", dir=site.parent) as folder:
            target = Path(folder) / "site"
            _, error = asked([*command, f"--target={target}", *map(str, wheels)], None)
            if not error:
                shutil.rmtree(site, ignore_errors=True)
                target.rename(site)
    except OSError as failure:
        error = str(failure)
    return error and f"the wheels were not installed: {error}"


def is_installed(wheel: Path, folder: Path | None = None) -> bool:
    """Whether the package of a wheel is in a folder; default: in what this Python finds."""
    where = {} if folder is None else {"path": [str(folder)]}
    return any(True for _ in distributions(name=wheel.name.partition("-")[0], **where))


def about(environment: dict[str, str]) -> Any:
    """`_machine.py` in a process of its own: importing torch is not this one's work, and may fail."""
    packages = "'torch', 'torchvision', 'timm', 'accelerate', 'transformers', 'numpy', 'pydantic'"
    code = f"import json, _machine; print(json.dumps(_machine.machine({packages})))"
    paths = os.pathsep.join([str(HERE.parent), environment["PYTHONPATH"]])
    answer, error = asked([sys.executable, "-c", code], environment | {"PYTHONPATH": paths})
    return {"error": error} if error else read(answer) or {"error": f"no JSON: {answer[-200:]}"}


def asked(command: list[str], environment: dict[str, str] | None) -> tuple[str, str]:
    """What a command prints, and what failed."""
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=_PATIENCE)
    except (OSError, subprocess.TimeoutExpired) as failure:
        return "", str(failure)[-2000:]
    return done.stdout, f"exit code {done.returncode}: {done.stderr.strip()[-2000:]}" if done.returncode else ""


def read(text: str) -> dict[str, Any] | None:
    """The object in a JSON text; None if there is no such."""
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def run(part: Part, device: str, limit: float, environment: dict[str, str]) -> dict[str, Any]:
    """One part to its end, or to its limit; then all of its processes are killed."""
    if limit < _LEAST:
        return {"state": "left out", "seconds": 0.0, "line": "no time was left"}
    with tempfile.TemporaryDirectory(prefix="unic-gpu-") as folder:
        out, log = Path(folder) / "out.json", Path(folder) / "log"
        command = [sys.executable, str(HERE / f"{part.script}.py"), *part.arguments, "--device", device]
        command += ["--folder", folder, "--out", str(out)]
        begun = time.monotonic()
        with log.open("w") as output:
            process = subprocess.Popen(
                command, stdout=output, stderr=subprocess.STDOUT, cwd=ROOT, env=environment, start_new_session=True
            )
            try:
                code = process.wait(limit)
                state = "failed" if code else "ok"
            except subprocess.TimeoutExpired:
                code, state = None, "hung"
            finally:
                end(process)
        seconds = round(time.monotonic() - begun, 1)
        said = log.read_text(errors="replace")
        answer = read(out.read_text()) if out.exists() else None
        if state == "ok" and answer is not None and "line" in answer:
            return {"state": "ok", "seconds": seconds, "line": answer.pop("line"), "values": answer}
        last = said.strip().rpartition("\n")[2][:200]
        line = f"no end within {limit:.0f} s; last line: {last}" if state == "hung" else f"exit code {code}: {last}"
        if state == "ok":
            state, line = "failed", f"it ended without an answer: {last}"
        found = {"state": state, "seconds": seconds, "line": line, "log": said[-8000:]}
        return found | {"values": answer} if answer else found  # what it wrote before its end


def end(process: subprocess.Popen[bytes]) -> None:
    """Kills what is left of a part, its children too."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()


if __name__ == "__main__":
    sys.exit(main())
