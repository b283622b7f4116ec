"""unic ships its types: a script that uses every public name passes `mypy --strict`, and a wrong argument does not."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import unic

SCRIPT = """
from pathlib import Path

from torch import Tensor

import unic

recipe = unic.Recipe.model_validate({"teachers": {}})
report = unic.check(recipe, processes=2, price=1.5, overrides={"train.lr": 1e-4}, train__epochs=2)
ready: bool = report.is_ready
run: Path = unic.distill("quickstart", out="run", seeds=[0, 1], resume=True, overrides={"train.lr": 1e-4})
encoder: unic.Encoder = unic.load_encoder(run)
tokens: unic.Tokens = encoder(Tensor(1, 3, 32, 32))
cls: Tensor = unic.load_encoder(encoder, device="cpu").forward(Tensor(1, 3, 32, 32)).cls
results: dict[str, object] = unic.evaluate([run, "best=timm:x", encoder], tasks="knn", data={"mine": "images/"})
score: float | None = unic.Results.load(results).tasks["clipart/knn"]["student"].score
swept: Path = unic.sweep("quickstart", out="sweep", vary={"projector.blocks": ["all", "last"]}, seeds=[0, 1])
page: Path = unic.compare([run, unic.export(run, formats=["onnx"])], unic.report(run))
features: Path = unic.encode(encoder, "images/", "f.safetensors", patches=True)
shards: dict[str, object] = unic.synthesise({"a": encoder}, "out", images=10)
length: int = len(unic.open_source("images/", limit=3))
try:
    unic.load_encoder(3)  # type: ignore[arg-type]
    unic.distill("quickstart", seeds=[0])  # type: ignore[call-arg]
    unic.evaluate(encoder, jobs="2")  # type: ignore[arg-type]
    wrong: str = unic.encode(encoder, "images/", "f.safetensors")  # type: ignore[assignment]
except unic.InputError as error:
    line: str = str(error)
"""


def test_the_marker_is_in_the_package() -> None:
    assert (Path(unic.__file__).parent / "py.typed").is_file()


def test_the_script_uses_every_public_name() -> None:
    assert set(re.findall(r"\bunic\.(\w+)", SCRIPT)) == set(unic.__all__)


@pytest.mark.long  # a minute: mypy reads torch
def test_a_script_of_a_user_is_strictly_typed(tmp_path: Path) -> None:
    """An argument that is ignored and right would be an error, too: so the types are known, and are these."""
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", "--config-file=", "script.py"],
        env={**os.environ, "MYPYPATH": str(Path(unic.__file__).parents[1])},
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
