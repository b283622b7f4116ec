"""What can only be seen on a GPU, in eight minutes: one line a part, and one JSON.

    python benchmarks/gpu [--device cuda] [--minutes 8] [--only PART …] [--out runs/gpu.json]

`make gpu` runs it, on a machine of its own without network; `collect.py` says what is carried there, and docs/gpu.md
what each part asks. A part is a process with a time limit: one that fails or hangs costs its own line only. Parts come
in the order in which they tell most, so that what is left out for want of time is what matters least.
With `--device cpu` the same parts run at toy size, which shows that they run and nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CARRIED = ROOT / ".gpu"


@dataclass(frozen=True)
class Part:
    """A script beside this file, how it is called, and its longest time in seconds."""

    name: str
    limit: float
    script: str
    arguments: tuple[str, ...] = ()


PARTS = (
    Part("tests", 60, "marked_tests"),
    Part("syncs", 45, "syncs"),
    Part("unic-b", 60, "step_rates", ("unic-b",)),
    Part("unic-b compiled", 110, "step_rates", ("unic-b", "--compile")),
    Part("unic-l", 75, "step_rates", ("unic-l",)),
    Part("unic-l compiled", 120, "step_rates", ("unic-l", "--compile")),
    Part("quickstart", 120, "quickstart"),
    Part("samples-bench", 90, "samples_bench"),
    Part("fsdp", 45, "fsdp"),
    Part("extraction, probes", 60, "probes"),
)
_LEAST = 5.0  # seconds; a part that has fewer left is not begun
_SLOWER = 10  # times the limits on a CPU, whose cores other work may share


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--minutes", type=float, help="default: 8, on a CPU 80")
    parser.add_argument("--only", nargs="+", choices=[part.name for part in PARTS], metavar="PART")
    parser.add_argument("--out", type=Path, default=ROOT / "runs/gpu.json")
    options = parser.parse_args()
    begun, slower = time.monotonic(), _SLOWER if options.device == "cpu" else 1
    minutes = options.minutes or 8 * slower
    options.out.parent.mkdir(parents=True, exist_ok=True)
    environment = prepared()
    result: dict[str, Any] = {"device": options.device, "machine": about(environment), "parts": {}}
    for part in PARTS:
        if options.only and part.name not in options.only:
            continue
        left = 60 * minutes - (time.monotonic() - begun)
        found = run(part, options.device, min(slower * part.limit, left), environment)
        result["parts"][part.name] = found
        print(f"{found['state']:8} {found['seconds']:6.1f} s  {part.name:18}  {found['line']}", flush=True)
        result["seconds"] = round(time.monotonic() - begun, 1)
        options.out.write_text(json.dumps(result, indent=1) + "\n")  # after each part: the machine may be taken away
    print(f"{result['seconds']:.0f} s in all; {options.out}")
    return int(any(found["state"] != "ok" for found in result["parts"].values()))


def prepared() -> dict[str, str]:
    """The environment of the parts, with the wheels that this Python lacks unpacked beside the checkout."""
    wheels, site = CARRIED / "wheels", CARRIED / "site"
    missing = [str(wheel) for wheel in sorted(wheels.glob("*.whl")) if not is_installed(wheel.name.partition("-")[0])]
    if missing and not site.is_dir():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-compile"]
        subprocess.run([*command, f"--target={site}", *missing], check=True)
    paths = [str(ROOT / "src"), str(site), os.environ.get("PYTHONPATH", "")]
    own = {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "PYTHONUNBUFFERED": "1", "HF_HUB_OFFLINE": "1"}
    if (CARRIED / "teachers").is_dir():
        own["UNIC_TEACHERS"] = str(CARRIED / "teachers")
    return os.environ | own


def is_installed(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True


def about(environment: dict[str, str]) -> Any:
    """`_machine.py` in a process of its own: importing torch is not this one's work, and may fail."""
    packages = "'torch', 'torchvision', 'timm', 'accelerate', 'transformers', 'numpy', 'pydantic'"
    code = f"import json, _machine; print(json.dumps(_machine.machine({packages})))"
    asked = {**environment, "PYTHONPATH": os.pathsep.join([str(HERE.parent), environment["PYTHONPATH"]])}
    done = subprocess.run([sys.executable, "-c", code], env=asked, capture_output=True, text=True, check=False)
    return json.loads(done.stdout) if done.returncode == 0 else {"error": done.stderr[-2000:]}


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
        if state == "ok":
            found = json.loads(out.read_text())
            return {"state": "ok", "seconds": seconds, "line": found.pop("line"), "values": found}
        last = said.strip().rpartition("\n")[2][:200]
        line = f"no end within {limit:.0f} s; last line: {last}" if state == "hung" else f"exit code {code}: {last}"
        return {"state": state, "seconds": seconds, "line": line, "log": said[-8000:]}


def end(process: subprocess.Popen[bytes]) -> None:
    """Kills what is left of a part, its children too."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()


if __name__ == "__main__":
    sys.exit(main())
