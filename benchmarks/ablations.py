"""What ladder, dropping, standardisation, its floor and all patches are worth: with and without, several seeds.

    python benchmarks/ablations.py [--variant full …] [--seed 0 …] [--epochs 3] [--threads 1]     # trains, measures
    python benchmarks/ablations.py --recipe recipes/quickstart.yaml --variant "no floor" --variant "floor 0.1"
    python benchmarks/ablations.py --table                                                        # prints Markdown

Trains a recipe from cached targets and measures the student on the `quick` suite, and by k-NN among training images,
which is what a default is chosen by. Each run is one `VARIANT-SEED.json` in the results folder; finished ones are not
repeated and interrupted ones go on, so several processes can share the work.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import torch

from unic.config import load_recipe
from unic.distill.train import fit
from unic.eval.online import OnlineKnn
from unic.eval.runner import evaluate_models
from unic.eval.suite import load_suite
from unic.metrics import read_metrics
from unic.terminal import stderr_console

VARIANTS = {
    "full": [],
    "no ladder": ["projector.blocks=last"],
    "no dropping": ["weighting={type: uniform}"],
    "no standardisation": ["standardize={type: none}"],
    "half the patches": ["train.patch_share=0.5"],
    "a quarter of the patches": ["train.patch_share=0.25"],
    "no floor": ["standardize.floor=0"],
    "floor 0.1": ["standardize.floor=0.1"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--recipe", default="recipes/samples-vit.yaml")
    parser.add_argument("--variant", action="append", choices=VARIANTS)
    parser.add_argument("--seed", action="append", type=int)
    parser.add_argument("--epochs", type=float)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--runs", type=Path, default=Path("runs/ablations"))
    parser.add_argument("--results", type=Path, default=Path("runs/ablations/results"))
    parser.add_argument("--table", action="store_true", help="only print what has been measured")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for seed in [] if options.table else options.seed or [0, 1, 2]:
        for variant in options.variant or VARIANTS:
            file = options.results / f"{variant.replace(' ', '-')}-{seed}.json"
            if not file.exists():
                measure(options.recipe, variant, seed, options.epochs, options.runs / file.stem, file)
    print(table(options.results))


def measure(source: str, variant: str, seed: int, epochs: float | None, run: Path, file: Path) -> None:
    """Trains one student and writes its scores."""
    overrides = [*VARIANTS[variant], f"seed={seed}", *([f"train.epochs={epochs}"] if epochs else [])]
    recipe, suite = load_recipe(source, overrides), load_suite("quick")
    is_new, started = not run.exists(), time.monotonic()
    student = fit(recipe, run, resume=True, console=stderr_console())
    seconds = time.monotonic() - started
    held_out = OnlineKnn(suite)(student, recipe.train.steps or 0)
    results = evaluate_models({"student": student}, {"student": "student"}, suite=suite)
    last = [row for row in read_metrics(run) if "loss" in row][-1]
    report = {
        "recipe": source,
        "variant": variant,
        "seed": seed,
        "epochs": recipe.train.epochs,
        "train_s": round(seconds) if is_new else None,  # not known of one that went on
        "date": time.strftime("%Y-%m-%d"),
        "threads": torch.get_num_threads(),
        "knn_of_training_images": held_out,
        "scores": {task: row["student"]["score"] for task, row in results["tasks"].items()},
        "cosines": {key: value for key, value in last.items() if key.startswith("cos/")},
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(report, indent=1) + "\n")


def table(results: Path) -> str:
    """Mean over the four sets by task, with the spread (sample standard deviation) over seeds."""
    found = [json.loads(file.read_text()) for file in sorted(results.glob("*.json"))]
    lines = ["| variant | seeds | k-NN of training images | k-NN | logistic | mean |", "|---|---:|---:|---:|---:|---:|"]
    for variant in VARIANTS:
        rows = [report for report in found if report["variant"] == variant]
        if rows:
            columns = [[mean_of(row["scores"], task) for row in rows] for task in ("knn", "logistic", "")]
            held_out = [row["knn_of_training_images"]["knn/mean"] for row in rows if "knn_of_training_images" in row]
            cells = [spread(held_out) if held_out else "–", *map(spread, columns)]
            lines.append(f"| {variant} | {len(rows)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def mean_of(scores: dict[str, float], task: str) -> float:
    return statistics.mean(score for name, score in scores.items() if name.endswith(task))


def spread(values: list[float]) -> str:
    deviation = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.1f}{deviation}"


if __name__ == "__main__":
    main()
