"""The page on parts of one's own suffices to write them: its examples run as they stand, and its names are there."""

from __future__ import annotations

import pkgutil
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import unic
from unic.eval.subject import Subject
from unic.features import Features
from unic.heads import kept_head
from unic.recipe.schema import load_recipe
from unic.runs.metrics import read_metrics
from unic.training.train import fit

PAGE = (Path(__file__).parents[1] / "docs/extending.md").read_text()


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the examples of the page."""
    for name, code in re.findall(r"^```python\n# (my_lab/\w+\.py)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path / "my_lab"


def test_the_names_to_import_are_there() -> None:
    table = PAGE.partition("| from | names |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| `([\w.]+)` \| (.*) \|$", table, re.MULTILINE)
    assert len(rows) > 10
    for module, names in rows:
        for name in re.findall(r"`(\w+)`", names):
            pkgutil.resolve_name(f"{module}:{name}")


def test_a_subject_offers_what_the_page_says() -> None:
    table = PAGE.partition("A `Subject` is one model")[2].partition("```")[0]
    names = {
        name for cell in re.findall(r"^\| (`.*?`) \|", table, re.MULTILINE) for name in re.findall(r"`(\w+)", cell)
    }
    assert len(names) > 10
    assert names <= {*dir(Subject), *Subject.__dataclass_fields__}
    of_features = re.search(r"`Features` of (.*)", table)
    assert of_features
    assert {"cls", "patch_mean", "index", "labels"} <= set(re.findall(r"`(\w+)`", of_features[1])) & set(
        Features.__dataclass_fields__
    )


def test_a_loss_a_weighting_and_a_standardiser_train(
    recipe: dict[str, Any], lab: Path, tmp_path: Path, trust: Callable[[str], None]
) -> None:
    for name in ("huber", "centred", "hardest", "without_mean"):
        trust(f"my_lab.{name}")
    recipe |= {"loss": {"my_lab.huber": {"weight": 1, "delta": 2.0}, "my_lab.centred": 1}, "trackers": {}}
    recipe |= {"weighting": "my_lab.hardest", "standardize": "my_lab.without_mean"}
    fit(load_recipe(recipe, ["train.steps=3", "train.micro_batches=2"]), tmp_path / "run", console=Console(quiet=True))
    assert [row["step"] for row in read_metrics(tmp_path / "run")] == [1, 2, 3]
    assert kept_head(tmp_path / "run", "vit").embed_dim == 64


def test_a_task_on_a_subject_measures(lab: Path, image_folder: Path) -> None:
    found = unic.evaluate(
        "timm:test_vit?pretrained=false&img_size=32", tasks="my_lab.length", data={"blobs": f"{image_folder}?test=0.5"}
    )
    (scores,) = unic.Results.load(found).descriptions.values()
    (cell,) = scores.values()
    assert cell.score is not None
    assert cell.score > 0
