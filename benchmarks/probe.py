"""Times the logistic and k-NN probes against straightforward versions, on features of a real encoder, in one run.

    python benchmarks/probe.py [--sets clipart …] [--limit N] [--seeds 0 1 2] [--trials 40] [--out FILE]

Logistic: C searched by TPE with scikit-learn's `LogisticRegression(max_iter=2000)` in each trial, on the same vectors,
the same stratified fifth of training and the same seeds, then refitted. Same C: objective and predictions against
scikit-learn converged in float64. k-NN: the whole matrix of similarities, sorted, in numpy. The sides take turns. Each
measurement has a process of its own, which separates the peaks of memory. Times do not include the features.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _machine import machine

from unic.encoders import load_encoder
from unic.eval.datasets import resolve
from unic.eval.tasks import Labelled, knn, logistic
from unic.features import default_cache_dir, extract

Pair = tuple[Labelled, Labelled]
SETS = ("clipart", "emoji", "glyphs", "fashion")
SIDES = ("unic", "sklearn")
FIXED_C = (1e-4, 1e-2, 1.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="packaged:efficientnet_lite0?size=128")
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--limit", type=int, help="training images of each set; default: all")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    results: dict[str, Any] = {"machine": machine("torch", "numpy", "scikit-learn", "optuna")}
    results["options"] = {key: value for key, value in vars(options).items() if key != "out"}
    encoder = load_encoder(options.model)
    pairs = {name: vectors(encoder, name, options.limit) for name in options.sets}
    results["same C"] = [same_c(name, pair, C) for name, pair in pairs.items() for C in FIXED_C]
    results["searched C"] = [searched(name, pair, options) for name, pair in pairs.items()]
    total(results["searched C"])
    results["knn"] = [neighbours(name, pair, options) for name, pair in [*pairs.items(), ("100k", made_up())]]
    if options.out:
        options.out.write_text(json.dumps(results, indent=1) + "\n")


def vectors(encoder: Any, name: str, limit: int | None) -> Pair:
    pair = resolve(name, max_train=limit)
    train, test = (extract(encoder, part, size=128, cache=default_cache_dir()) for part in (pair.train, pair.test))
    assert train.labels is not None
    assert test.labels is not None
    return Labelled(train.cls, train.labels), Labelled(test.cls, pair.test_labels(test.labels))


def made_up(images: int = 100_000, dim: int = 768, classes: int = 1000) -> Pair:
    """A random set, so large that sorting all similarities is slow."""
    draw = np.random.default_rng(0)
    centres = draw.normal(size=(classes, dim)).astype(np.float32)

    def part(count: int) -> Labelled:
        y = draw.integers(0, classes, count)
        return Labelled(centres[y] + 4 * draw.normal(size=(count, dim)).astype(np.float32), y)

    return part(images), part(2000)


def same_c(name: str, pair: Pair, C: float) -> dict[str, Any]:
    """Compares our solution with scikit-learn's converged one (float64, tolerance 1e-8)."""
    from sklearn.linear_model import LogisticRegression

    train, test = pair
    mean, std = train.x.mean(0, dtype=np.float64), train.x.std(0, dtype=np.float64)
    std[std == 0] = 1
    x, test_x = (train.x - mean) / std, (test.x - mean) / std
    theirs = LogisticRegression(C=C, max_iter=20000, tol=1e-8).fit(x, train.y)
    ours = logistic.fit_classifier(train, C=C)
    penalty = ours.weights[:, :-1].double().square().sum()
    values = [
        float(-torch.as_tensor(logits).double().log_softmax(1)[np.arange(len(train)), train.y].mean())
        + float(square) / (2 * len(train) * C)
        for logits, square in (
            (ours.logits(train.x), penalty), (theirs.decision_function(x), np.square(theirs.coef_).sum())
        )
    ]  # fmt: skip
    equal = float(np.mean(ours.logits(test.x).argmax(1).numpy() == theirs.predict(test_x)))
    row = {"set": name, "C": C, "objective": values[0] / values[1] - 1, "equal": 100 * equal}
    print(f"| {name} | C = {C:g} | objective {row['objective']:+.1e} | {row['equal']:.2f} % equal |", flush=True)
    return row


def searched(name: str, pair: Pair, options: argparse.Namespace) -> dict[str, Any]:
    row: dict[str, Any] = {"set": name, "train": len(pair[0]), "test": len(pair[1]), "dim": pair[0].x.shape[1]}
    for seed in options.seeds:
        for side, way in (("unic", search_by_unic), ("sklearn", search_by_sklearn)):
            measured = alone(way, pair, seed, options.trials, threads=options.threads)
            row.setdefault(side, []).append({"seed": seed, **measured})
    cells = [f"{side} {summary(row[side], 'seconds')} s, top-1 {summary(row[side], 'score')}" for side in SIDES]
    print(f"| {name} | {len(pair[0])} | {' | '.join(cells)} | {faster(row):.1f} × |", flush=True)
    return row


def search_by_unic(train: Labelled, test: Labelled, seed: int, trials: int) -> dict[str, Any]:
    outcome = logistic.run(train, test, seed=seed, trials=trials)
    return {"score": outcome.score, "C": outcome.details["C"], "validation": outcome.details["validation"]}


def search_by_sklearn(train: Labelled, test: Labelled, seed: int, trials: int) -> dict[str, Any]:
    import optuna
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    kept, held = logistic.stratified_split(train.y, logistic.VALIDATION, seed)

    def model(C: float) -> Any:
        return make_pipeline(StandardScaler(), LogisticRegression(C=C, max_iter=2000))

    def accuracy(trial: optuna.Trial) -> float:
        found = model(trial.suggest_float("C", *logistic.C_RANGE, log=True)).fit(train.x[kept], train.y[kept])
        return found.score(train.x[held], train.y[held])

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    study.optimize(accuracy, n_trials=trials)
    C = study.best_params["C"]
    score = 100 * model(C).fit(train.x, train.y).score(test.x, test.y)
    return {"score": score, "C": C, "validation": 100 * study.best_value}


def total(rows: Sequence[dict[str, Any]]) -> None:
    cells, seconds = [], []
    for side in SIDES:
        seconds.append(sum(statistics.mean(run["seconds"] for run in row[side]) for row in rows))
        score = statistics.mean(run["score"] for row in rows for run in row[side])
        cells.append(f"{side} {seconds[-1]:.1f} s, top-1 {score:.2f}")
    print(f"| all | | {' | '.join(cells)} | {seconds[1] / seconds[0]:.1f} × |", flush=True)


def neighbours(name: str, pair: Pair, options: argparse.Namespace) -> dict[str, Any]:
    row: dict[str, Any] = {"set": name, "train": len(pair[0]), "test": len(pair[1]), "dim": pair[0].x.shape[1]}
    for _ in range(3):
        for side, way in (("unic", knn_by_unic), ("numpy", knn_by_numpy)):
            row.setdefault(side, []).append(alone(way, pair, threads=options.threads))
    exact = alone(knn_exactly, pair, threads=options.threads)["predicted"]
    cells = []
    for side in ("unic", "numpy"):
        row[f"equal_{side}"] = 100 * float(np.mean(np.array(row[side][0]["predicted"]) == exact))
        for run in row[side]:
            del run["predicted"]
        memory = max(run["mebibytes"] for run in row[side])
        cells.append(
            f"{side} {summary(row[side], 'seconds')} s, {memory} MiB, {row[f'equal_{side}']:.2f} % as in float64"
        )
    print(f"| {name} | {len(pair[0])} | {' | '.join(cells)} | {faster(row, 'numpy'):.1f} × |", flush=True)
    return row


def knn_by_unic(train: Labelled, test: Labelled) -> dict[str, Any]:
    predicted = knn.run(train, test, k=20).predicted
    assert predicted is not None
    return {"predicted": predicted.tolist()}


def knn_by_numpy(train: Labelled, test: Labelled, kind: type = np.float32) -> dict[str, Any]:
    bank, queries = (
        part.x.astype(kind) / np.linalg.norm(part.x.astype(kind), axis=1)[:, None] for part in (train, test)
    )
    similarity = queries @ bank.T
    nearest = np.argsort(-similarity, axis=1, kind="stable")[:, :20]
    weights = np.exp(np.take_along_axis(similarity, nearest, 1) / 0.07)
    votes = np.zeros((len(queries), train.y.max() + 1), kind)
    np.add.at(votes, (np.arange(len(queries))[:, None], train.y[nearest]), weights)
    return {"predicted": votes.argmax(1).tolist()}


def knn_exactly(train: Labelled, test: Labelled) -> dict[str, Any]:
    return knn_by_numpy(train, test, np.float64)


def alone(way: Callable[..., dict[str, Any]], pair: Pair, *arguments: Any, threads: int) -> dict[str, Any]:
    """Runs `way` in a fresh process; adds its seconds and the growth of its peak memory."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measured, (way, pair, arguments, threads))


def _measured(
    way: Callable[..., dict[str, Any]], pair: Pair, arguments: tuple[Any, ...], threads: int
) -> dict[str, Any]:
    torch.set_num_threads(threads)
    import optuna  # noqa: F401 - imported here to keep it out of the time
    import sklearn.linear_model  # noqa: F401

    Path("/proc/self/clear_refs").write_text("5")  # resets the peak, which has included receiving the vectors
    before, started = _kibibytes("VmRSS"), time.perf_counter()
    found = way(*pair, *arguments)
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "mebibytes": (_kibibytes("VmHWM") - before) >> 10, **found}


def _kibibytes(field: str) -> int:
    """A field of Linux's account of this process: `VmRSS`, its memory, `VmHWM`, the peak of it."""
    return int(Path("/proc/self/status").read_text().partition(f"{field}:")[2].split()[0])


def summary(runs: Sequence[dict[str, Any]], key: str) -> str:
    values = [run[key] for run in runs]
    return f"{statistics.mean(values):.2f} ({min(values):.2f}–{max(values):.2f})"


def faster(row: dict[str, Any], other: str = "sklearn") -> float:
    return statistics.mean(run["seconds"] for run in row[other]) / statistics.mean(
        run["seconds"] for run in row["unic"]
    )


if __name__ == "__main__":
    main()
