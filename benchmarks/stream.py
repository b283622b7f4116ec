"""A stream of ten million samples: time to the first batch, and memory of this process and its workers over steps.

    python benchmarks/stream.py [--samples 10000000] [--steps 3000] [--workers 2] [--out FILE]

A small shard is written as by `unic shard` and linked under many names, with an index and a manifest of all of them. So
the number of samples is real, and the bytes are few. Memory is measured as anonymous pages, and as everything that is
resident. The latter includes the mapped index, which fills page by page, counts once for each process, and can be
released. Linux only. The slope of anonymous memory over the last three quarters of the steps must be below 1 kB a step,
else the exit code is 1.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from _machine import machine

from unic.data.image_list import ImageList
from unic.data.loader import training_batches
from unic.data.shards.index import scan
from unic.data.shards.writing import write_shards
from unic.data.sources import open_source
from unic.data.sources.arrays import Arrays
from unic.digest import sha256_of_file

IN_SHARD = 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--samples", type=int, default=10_000_000)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["UNIC_CACHE"] = f"{folder}/cache"
        write_set(Path(folder) / "set", options.samples)
        result = measure(f"{folder}/set", options)
    result["machine"] = machine("torch", "numpy")
    print(json.dumps({key: value for key, value in result.items() if key not in ("curve", "machine")}, indent=1))
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n")
    sys.exit(result["slope_kB_per_step"] >= 1)


def write_set(folder: Path, samples: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (IN_SHARD, 8, 8, 3), dtype=np.uint8)
    blobs = Arrays("blobs", pixels, np.arange(IN_SHARD) % 10, list("0123456789"))
    manifest = write_shards(blobs, folder, samples=IN_SHARD)
    first = folder / manifest["shards"][0]["file"]
    rows, count = scan("blobs", first), samples // IN_SHARD
    for shard in range(1, count):
        os.link(first, folder / f"{shard:06d}.tar")
    manifest["shards"] = [manifest["shards"][0] | {"file": f"{shard:06d}.tar"} for shard in range(count)]
    manifest["images"] = count * IN_SHARD
    with (folder / "index.bin").open("wb") as stream:
        for shard in range(count):
            rows["shard"] = shard
            stream.write(rows.tobytes())
    manifest["index"] = sha256_of_file(folder / "index.bin")
    (folder / "manifest.json").write_text(json.dumps(manifest))


def measure(path: str, options: argparse.Namespace) -> dict[str, Any]:
    before = memory()["anonymous"]
    started = time.perf_counter()
    images = ImageList([open_source(path)])
    opened = time.perf_counter() - started
    batches = training_batches(
        images, size=8, augment="none", seed=0, batch_size=options.batch_size, first_step=1, num_steps=10**6,
        workers=options.workers,
    )  # fmt: skip
    next(batches)
    first = time.perf_counter() - started
    curve = []
    for step in range(2, options.steps + 1):
        next(batches)
        if step % max(1, options.steps // 40) == 0:
            curve.append({"step": step, **memory()})
            shown = ", ".join(f"{kind} {curve[-1][kind] / 1e6:.1f} MB" for kind in ("anonymous", "resident"))
            print(f"step {step}: {shown}", flush=True)
    late = curve[len(curve) // 4 :]
    steps = [row["step"] for row in late]
    return {
        "samples": len(images),
        "workers": options.workers,
        "seconds_to_open": round(opened, 2),
        "seconds_to_first_batch": round(first, 2),
        "anonymous_before_MB": round(before / 1e6, 1),
        "anonymous_end_MB": round(curve[-1]["anonymous"] / 1e6, 1),
        "resident_end_MB": round(curve[-1]["resident"] / 1e6, 1),
        "slope_kB_per_step": round(float(np.polyfit(steps, [row["anonymous"] / 1e3 for row in late], 1)[0]), 3),
        "curve": curve,
    }


def memory() -> dict[str, int]:
    """Bytes of this process and its children together."""
    here = psutil.Process()
    found = {"anonymous": 0, "resident": 0}
    for process in (here, *here.children(recursive=True)):
        status = dict(line.split(":", 1) for line in Path(f"/proc/{process.pid}/status").read_text().splitlines())
        for name, key in (("anonymous", "RssAnon"), ("resident", "VmRSS")):
            found[name] += 1024 * int(status[key].split()[0])
    return found


if __name__ == "__main__":
    main()
