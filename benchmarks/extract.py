"""Feature extraction in images per second: `unic.features.extract` against a plain timm loop over the same files.

    python benchmarks/extract.py [--model URI …] [--images 512] [--workers 0 1] [--rounds 3] [--out FILE]

The files are sample images enlarged to about 500 px, half JPEG, half PNG. Both sides have the same weights, input size,
batch size, precision, threads and number of workers, and take turns (A B A B …) in one run after a warm-up. Ours writes
a new cache entry each time, hashes included; the loop keeps its vectors in memory. Prints a table, `--out` writes JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from _machine import machine
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder

from unic.data.sources import open_source
from unic.encoders import load_encoder
from unic.encoders.timm_encoder import TimmEncoder
from unic.features import extract

MODELS = (
    "packaged:efficientnet_lite0?size=128",
    "packaged:efficientnet_lite0?size=224",
    "timm:vit_small_patch16_224?pretrained=false",
)
SIDE = 500


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", action="append", help=f"default: {' '.join(MODELS)}")
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    results: dict[str, Any] = {"machine": machine("torch", "torchvision", "timm", "pillow"), "rows": []}
    results["options"] = {key: value for key, value in vars(options).items() if key != "out"}
    print(
        "| model | size | precision | workers | unic img/s | timm loop img/s | ratio | cosine |",
        "|---" * 8 + "|",
        sep="\n",
    )
    with tempfile.TemporaryDirectory() as folder:
        write_images(Path(folder), options.images)
        for uri in options.model or MODELS:
            for workers in options.workers:
                row = compare(uri, folder, workers, options)
                results["rows"].append(row)
                print(
                    f"| {uri} | {row['size']} | {row['precision']} | {workers} | {spread(row['unic'])} | "
                    f"{spread(row['timm'])} | {row['ratio']:.2f} | {row['cosine']:.4f} |",
                    flush=True,
                )
    if options.out:
        options.out.write_text(json.dumps(results, indent=1, default=str) + "\n")


def write_images(folder: Path, count: int) -> None:
    """Writes clip art as JPEG and emoji as PNG, one class each; prints file sizes, which decide the decoding time."""
    for name, suffix, options in (("clipart", "jpg", {"quality": 90}), ("emoji", "png", {})):
        source = open_source(f"samples/{name}/train.parquet")
        (folder / name).mkdir()
        for index in range(count // 2):
            image = source.read(index % len(source))
            scale = SIDE / min(image.size)
            size = (round(image.width * scale), round(image.height * scale))
            image.resize(size, Image.Resampling.BICUBIC).save(folder / name / f"{index:05}.{suffix}", **options)
        sizes = [file.stat().st_size for file in (folder / name).iterdir()]
        print(f"{len(sizes)} {suffix} of {SIDE} px, {statistics.mean(sizes) / 1000:.0f} kB each")


def compare(uri: str, folder: str, workers: int, options: argparse.Namespace) -> dict[str, Any]:
    encoder = load_encoder(uri, device=options.device)
    assert isinstance(encoder, TimmEncoder), uri
    loop = PlainLoop(encoder, folder, workers, options)
    images = open_source(folder)

    def ours() -> np.ndarray:
        with tempfile.TemporaryDirectory() as cache:
            found = extract(encoder, images, batch_size=options.batch_size, workers=workers, cache=Path(cache))
            return np.array(found.cls)

    a, b = ours(), loop.run()  # warm-up: allocator, kernels, the server that forks workers
    cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    rates: dict[str, list[float]] = {"unic": [], "timm": []}
    for side, way in [("unic", ours), ("timm", loop.run)] * options.rounds:
        started = time.perf_counter()
        way()
        rates[side].append(len(images) / (time.perf_counter() - started))
    ratio = statistics.median(one / other for one, other in zip(rates["unic"], rates["timm"], strict=True))
    row = {"model": uri, "size": list(encoder.input_size), "precision": encoder.precision, "workers": workers}
    return row | rates | {"ratio": ratio, "cosine": float(cosine.min())}


class PlainLoop:
    """The usual loop with timm alone: its model, its transform, torchvision's folder, torch's loader."""

    def __init__(self, encoder: TimmEncoder, folder: str, workers: int, options: argparse.Namespace) -> None:
        self.model = timm.create_model(encoder.name, num_classes=0, **encoder.model_args)
        self.model.load_state_dict(encoder.model.state_dict())
        self.model.eval().to(options.device)
        height, width = encoder.input_size
        transform = timm.data.create_transform(
            input_size=(3, height, width), crop_pct=1.0, interpolation="bicubic",
            mean=encoder.mean.flatten().tolist(), std=encoder.std.flatten().tolist(),
        )  # fmt: skip
        self.loader = DataLoader(ImageFolder(folder, transform), batch_size=options.batch_size, num_workers=workers)
        self.device, self.half = torch.device(options.device), encoder.precision == "bf16"

    @torch.inference_mode()
    def run(self) -> np.ndarray:
        vectors = []
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            for images, _ in self.loader:
                vectors.append(self.model(images.to(self.device)).float().cpu().numpy())
        return np.concatenate(vectors)


def spread(rates: list[float]) -> str:
    return f"{statistics.median(rates):.0f} ({min(rates):.0f}–{max(rates):.0f})"


if __name__ == "__main__":
    main()
