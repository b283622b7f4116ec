"""Collects what a GPU machine without network lacks, and prints the size of all that travels there.

    python benchmarks/gpu/collect.py [--out .gpu] [--python 3.12] [--archive FILE.tar]

OUT/wheels: the packages of `wheels.txt` for that Python on Linux x86-64, at the versions of `constraints.txt`.
OUT/teachers: Lite0, MobileNetV2 and the text recogniser in float16, for `UNIC_TEACHERS`. The ViT-S is larger than all
of this; `_vit.py` puts random weights in its place. With `--archive`, also one file with OUT and what a run there needs
of the checkout: no documentation, of the tests those marked gpu, of the results those that `probes.py` compares with.
Exit code 1: more than 64 MiB.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tarfile
from pathlib import Path

from safetensors.torch import save_file

from unic.encoders import load_encoder
from unic.encoders.schemes.packaged import TextRecogniser
from unic.encoders.timm_encoder import TimmEncoder

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
LIMIT = 64  # MiB
TEACHERS = ("efficientnet_lite0", "mobilenet_v2", "ppocr_v4_rec")
MARK = "@pytest.mark.gpu"
_PLATFORMS = ("2_28", "2_27", "2_17")  # glibc; pip matches each exactly
_NEEDED = (
    "src/", "recipes/", "samples/", "benchmarks/gpu/", "benchmarks/results/quickstart.json", "tests/support/",
    "Makefile", "pyproject.toml",
)  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / ".gpu")
    parser.add_argument("--python", default="3.12", help="version of the GPU machine's python3")
    parser.add_argument("--archive", type=Path, help="also write a tar of all that a run needs")
    options = parser.parse_args()
    out: Path = options.out.resolve()
    wheels, teachers = out / "wheels", out / "teachers"
    collect_wheels(wheels, options.python)
    teachers.mkdir(parents=True, exist_ok=True)
    for name in TEACHERS:
        store(name, teachers / f"{name}.safetensors")
    files = checkout()
    carried = sorted(wheels.iterdir()) + sorted(teachers.iterdir())
    few = [path for path in files if is_needed(path)]
    whole, part = size(files) + size(carried), size(few) + size(carried)
    print(f"wheels {size(wheels.iterdir()):.1f} MiB, teachers {size(teachers.iterdir()):.1f} MiB")
    print(f"with the whole checkout {whole:.1f} MiB, with what a run needs of it {part:.1f} MiB; limit {LIMIT} MiB")
    if options.archive:
        with tarfile.open(options.archive, "w") as archive:
            for path in few:
                archive.add(path, path.relative_to(ROOT))
            for path in carried:
                archive.add(path, Path(".gpu") / path.relative_to(out))
        print(f"{options.archive}: unpack it, then run make gpu there")
    return int(min(whole, part if options.archive else whole) > LIMIT)


def collect_wheels(folder: Path, python: str) -> None:
    """Downloads what is not there yet; wheels of other versions are removed."""
    folder.mkdir(parents=True, exist_ok=True)
    for wheel in folder.glob("*.whl"):
        wheel.unlink()
    platforms = [f"--platform=manylinux_{glibc}_x86_64" for glibc in _PLATFORMS]
    platforms += [f"--platform=manylinux{year}_x86_64" for year in (2014, 1)]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    command += [f"--python-version={python}", "--implementation=cp", *platforms, f"--dest={folder}"]
    command += [f"--requirement={HERE / 'wheels.txt'}", f"--constraint={ROOT / 'constraints.txt'}"]
    subprocess.run(command, check=True)


def store(name: str, file: Path) -> None:
    """Writes the weights of a packaged model in float16, under the names that its module has."""
    encoder = load_encoder(f"packaged:{name}", precision="fp32")
    if isinstance(encoder, TextRecogniser):
        state, metadata = encoder.graph.state_dict(), encoder.graph.description()
    else:
        assert isinstance(encoder, TimmEncoder)
        state, metadata = encoder.model.state_dict(), {}
    half = {key: value.half() if value.is_floating_point() else value for key, value in state.items()}
    save_file({key: value.contiguous() for key, value in half.items()}, file, metadata)


def checkout() -> list[Path]:
    """Files that git tracks or does not ignore."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return sorted(path for name in listed.split("\0") if name and (path := ROOT / name).is_file())


def is_needed(path: Path) -> bool:
    """Whether a run on the GPU reads this file of the checkout."""
    name = path.relative_to(ROOT).as_posix()
    if name.startswith(_NEEDED) or (path.parent == ROOT / "benchmarks" and path.suffix == ".py"):
        return True
    return name == "tests/conftest.py" or (
        name.startswith("tests/") and path.suffix == ".py" and MARK in path.read_text()
    )


def size(paths: object) -> float:
    """MiB of files."""
    return sum(path.stat().st_size for path in paths) / 2**20  # type: ignore[attr-defined]


if __name__ == "__main__":
    sys.exit(main())
