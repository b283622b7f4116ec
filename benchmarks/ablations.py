"""Ablations: variants of a recipe, trained with several seeds and measured on any suites.

    python benchmarks/ablations.py                                           # trains, measures, prints Markdown
    python benchmarks/ablations.py benchmarks/variants/general.yaml --seed 0 --variant base --threads 1
    python benchmarks/ablations.py benchmarks/variants/general.yaml --table  # prints what has been measured

A file of variants names the recipe, the suites and, for each variant, its overrides (`KEY=VALUE` of `unic distill`).
Each run writes `VARIANT-SEED.json` to the results folder at its end. Finished runs are not repeated and interrupted
ones are resumed, so several processes can share the work, and seeds can be added later. A variant `{of: NAME, change:
[…]}` resumes the trained run NAME with changes that need no other training (`train.interpolate`).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import yaml

import unic
from unic.eval.online import OnlineKnn
from unic.eval.results.schema import Results
from unic.eval.results.seen import mean_gains
from unic.eval.suite import load_suite
from unic.recipe.schema import Recipe, load_recipe
from unic.runs.metric_names import KNN_MEAN, LOSS
from unic.runs.metrics import read_metrics
from unic.terminal import stderr_console
from unic.training.train import fit

PAPER = Path(__file__).parent / "variants" / "paper.yaml"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("variants", nargs="?", type=Path, default=PAPER, help="file of variants (default: %(default)s)")
    parser.add_argument("--variant", action="append", help="name of a variant; repeatable (default: all)")
    parser.add_argument("--seed", action="append", type=int, help="of the training; repeatable (default: 0, 1, 2)")
    parser.add_argument("--recipe", help="replaces the recipe of the file")
    parser.add_argument("--epochs", type=float, help="replaces the epochs of the recipe")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--runs", type=Path, help="(default: runs/ablations/NAME OF THE FILE)")
    parser.add_argument("--results", type=Path, help="(default: results in that folder)")
    parser.add_argument("--table", action="store_true", help="only print what has been measured")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    plan = yaml.safe_load(options.variants.read_text())
    runs = options.runs or Path("runs/ablations") / options.variants.stem
    results = options.results or runs / "results"
    for seed in [] if options.table else options.seed or [0, 1, 2]:
        for variant in options.variant or plan["variants"]:
            file = results / f"{variant.replace(' ', '-')}-{seed}.json"
            if not file.exists():
                epochs = [f"train.epochs={options.epochs}"] if options.epochs else []
                overrides = [*plan.get("overrides", ()), *overrides_of(variant, plan), *epochs]
                recipe, run = options.recipe or plan["recipe"], runs / file.stem
                if isinstance(asked := plan["variants"][variant], dict) and not run.exists():
                    trained = runs / f"{asked['of'].replace(' ', '-')}-{seed}"
                    shutil.copytree(trained, run, ignore=shutil.ignore_patterns("export"))
                measure(recipe, variant, overrides, seed, plan["suites"], run, file)
    print(table(results, plan))


def overrides_of(variant: str, plan: dict[str, Any]) -> list[str]:
    asked = plan["variants"][variant]
    return [*overrides_of(asked["of"], plan), *asked["change"]] if isinstance(asked, dict) else asked


def measure(
    source: str, variant: str, overrides: Sequence[str], seed: int, suites: Sequence[str], run: Path, file: Path
) -> None:
    """Trains one student and writes its scores, beside those of its start and its teachers."""
    recipe = load_recipe(source, [*overrides, f"seed={seed}"])
    assert isinstance(recipe, Recipe)
    is_new, started = not run.exists(), time.monotonic()
    student = fit(recipe, run, resume=True, console=stderr_console())
    seconds = time.monotonic() - started
    unic.export(run)
    held_out = OnlineKnn(load_suite("quick"))(student, recipe.train.steps or 0)
    last = [row for row in read_metrics(run) if LOSS in row][-1]
    report = {
        "recipe": source,
        "variant": variant,
        "overrides": list(overrides),
        "seed": seed,
        "epochs": recipe.train.epochs,
        "train_s": round(seconds) if is_new else None,  # not known of a resumed run
        "date": time.strftime("%Y-%m-%d"),
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 1),
        "knn_of_training_images": held_out,
        "suites": {suite: on_suite(run, suite) for suite in suites},
        "cosines": {key: value for key, value in last.items() if key.startswith("cos/")},
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(report, indent=1) + "\n")


def on_suite(run: Path, suite: str) -> dict[str, Any]:
    """Scores of all models by task; mean and gain over the best teacher of each task, of the student."""
    results = Results.load(unic.evaluate(run, suite=suite, console=stderr_console()))
    scores = {task: {name: cell.score for name, cell in row.items()} for task, row in results.tasks.items()}
    kinds = {
        kind.kind: {"mean": statistics.mean(scores[task]["student"] for task in kind.tasks), "gain": kind.gain}
        for kind in mean_gains(results)
    }
    return {**kinds, "scores": scores}


def table(results: Path, plan: dict[str, Any]) -> str:
    """Means over tasks, seen and of each unseen set, with the spread (sample standard deviation) over seeds."""
    found = [json.loads(file.read_text()) for file in sorted(results.glob("*.json"))]
    sets = {suite: [spec.partition("=")[0] for spec in load_suite(suite).unseen] for suite in plan["suites"]}
    names = [f"{Path(suite).stem}: {title}" for suite, unseen in sets.items() for title in ("mean", "gain %", *unseen)]
    lines = [
        f"| variant | seeds | k-NN of training images | {' | '.join(names)} |",
        "|---|" + "---:|" * (len(names) + 2),
    ]
    for variant in plan["variants"]:
        rows = [report for report in found if report["variant"] == variant]
        if rows:
            cells = [spread([row["knn_of_training_images"][KNN_MEAN] for row in rows])]
            for suite, unseen in sets.items():
                measured = [row["suites"][suite] for row in rows]
                cells += [spread([one["seen"][value] for one in measured]) for value in ("mean", "gain")]
                cells += [spread([of_set(one["scores"], name) for one in measured]) for name in unseen]
            lines.append(f"| {variant} | {len(rows)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def of_set(scores: dict[str, dict[str, float]], name: str) -> float:
    """The student's mean over the tasks of a set."""
    return statistics.mean(row["student"] for task, row in scores.items() if task.partition("/")[0] == name)


def spread(values: Sequence[float]) -> str:
    deviation = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.1f}{deviation}"


if __name__ == "__main__":
    main()
