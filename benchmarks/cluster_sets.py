"""Cuts the quickstart's sources into clusters of the teachers' features, to train on all clusters equally often.

    python benchmarks/cluster_sets.py       # writes runs/choice-sets/clusters; prints the sources of a recipe

In a mixture of files, frequent kinds of images are seen most often. Batches balanced over clusters of the teachers'
features show all kinds equally often, whatever file they are in (SigLino, CVPR 2026). With a file for each cluster and
`weight` a recipe can do this already, so the effect can be measured without a new option.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from sklearn.cluster import KMeans

from unic.data.loader import view_batches
from unic.data.sources import open_source
from unic.encoders import open_encoder
from unic.recipe.schema import load_recipe
from unic.recipe.sections import SourceSection

RECIPE = "recipes/quickstart.yaml"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--clusters", type=int, default=16)
    parser.add_argument("--out", type=Path, default=Path("runs/choice-sets/clusters"))
    options = parser.parse_args()
    recipe = load_recipe(RECIPE)
    sources = [source for source in recipe.data.train if not source.anchor]
    features = np.concatenate([features_of(uri, sources) for uri in recipe.teachers.uris.values()], axis=1)
    cluster = KMeans(options.clusters, random_state=0, n_init=4).fit_predict(features)
    pictures = pa.concat_tables([table_of(source) for source in sources])
    options.out.mkdir(parents=True, exist_ok=True)
    for index in range(options.clusters):
        rows = np.flatnonzero(cluster == index)
        path = options.out / f"{index:02}.parquet"
        pq.write_table(pictures.take(pa.array(rows)), path)
        print(f"{{path: {path}, weight: {len(cluster) / options.clusters / len(rows):.2f}}},")


def table_of(source: SourceSection) -> pa.Table:
    """The pictures of a source that its `limit` admits, without labels, which have another meaning in each file."""
    table = pq.read_table(source.path, columns=["image"]).replace_schema_metadata(None)  # which describes the labels
    chosen = open_source(source.path, limit=source.limit)
    return table.take(pa.array([int(chosen.name(index).partition("[")[2].rstrip("]")) for index in range(len(chosen))]))


def features_of(uri: str, sources: Sequence[SourceSection]) -> np.ndarray:
    """The teacher's CLS vectors without their mean, scaled to length 1."""
    encoder = open_encoder(uri, device=torch.device("cpu"), precision="auto")
    found = []
    with torch.no_grad():
        for source in sources:
            for batch in view_batches(open_source(source.path, limit=source.limit), size=128, batch_size=64):
                found.append(encoder(batch.images.float() / 255).cls.float())
    vectors = torch.cat(found)
    return torch.nn.functional.normalize(vectors - vectors.mean(0), dim=1).numpy()


if __name__ == "__main__":
    main()
