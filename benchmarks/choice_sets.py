"""Labelled sets for choosing options: images that no sample recipe trains on, and training images of the seen sets.

    python benchmarks/choice_sets.py        # writes runs/choice-sets, which benchmarks/choice.yaml measures on

The test images of the sample sets are for the final tables, and `stamps` shows what a student does on images it has not
seen. Nothing may be chosen by either, so these take their place while options are compared:

- `clipart`, `emoji`, `glyphs`, `fashion`: training images with their labels, divided in two;
- `script`: 20 capital letters of the Greek and the Cyrillic alphabet, 40 of each, in installed fonts;
- `photographs`: crops of `samples/photos`, grouped to the photographs they were cut from, each of which is a class. As
  they are every encoder tells them apart by their colours, so they are made grey, cut to a half, and mirrored or not;
- `photos.parquet`: the crops of all other photographs, to train on in place of `samples/photos`.

Crops are grouped by the mean of two cosines, of EfficientNet-Lite0's features and of colour histograms. The groups were
looked at: each shows one photograph, or two of one scene.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from PIL import Image, ImageDraw, ImageFont
from sklearn.cluster import AgglomerativeClustering
from torch import Tensor

from unic.data.loader import view_batches
from unic.data.sources import open_source
from unic.encoders import open_encoder

SEEN = ("clipart", "emoji", "glyphs", "fashion")
IMAGES_OF_A_SET = 1800
PHOTOS = "samples/photos/train.parquet"
TEST_SHARE = 0.4
LETTERS = "ΓΔΘΛΞΠΣΦΨΩБДЖИЛЦЧШЭЮЯ"
IMAGES_OF_A_LETTER = 40
HELD_OUT = 70  # photographs of 6 to 25 crops
DISTANCE = 0.85  # between groups, of vectors whose squared length is 1
LEVELS = 6  # of a colour in a histogram


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("runs/choice-sets"))
    out = parser.parse_args().out
    draw = np.random.default_rng(0)
    write_photographs(out, draw)
    write_letters(out / "script", draw)
    for name in SEEN:
        write_training_images(name, out / name, draw)


def write_photographs(out: Path, draw: np.random.Generator) -> None:
    group = groups()
    sizes = np.bincount(group)
    held = draw.permutation(np.flatnonzero((sizes >= 6) & (sizes <= 25)))[:HELD_OUT]
    table = pq.read_table(PHOTOS)
    out.mkdir(parents=True, exist_ok=True)
    pq.write_table(table.filter(pa.array(~np.isin(group, held))), out / "photos.parquet")
    for photograph in held:
        for row in np.flatnonzero(group == photograph):
            image = Image.open(io.BytesIO(table["image"][int(row)].as_py()["bytes"]))
            keep(harder(image, draw), out / "photographs", f"{photograph:04}", row, draw)


def harder(image: Image.Image, draw: np.random.Generator) -> Image.Image:
    side = int(min(image.size) * draw.uniform(0.45, 0.65))
    left, top = (int(draw.integers(0, length - side + 1)) for length in image.size)
    part = image.convert("L").crop((left, top, left + side, top + side)).resize((128, 128), Image.Resampling.BICUBIC)
    grey = np.asarray(part, np.float64)[:, :: int(draw.choice([-1, 1]))]
    equalised = (grey - grey.mean()) / (grey.std() + 5) * 45 + 128
    return Image.fromarray(equalised.clip(0, 255).astype(np.uint8))


def groups() -> Int[np.ndarray, " n"]:
    """The photograph that each crop is of, as a number."""
    encoder = open_encoder("packaged:efficientnet_lite0?size=128", device=torch.device("cpu"), precision="auto")
    features, colours = [], []
    with torch.no_grad():
        for batch in view_batches(open_source(PHOTOS), size=128, batch_size=64):
            features.append(encoder(batch.images.float() / 255).cls.float())
            colours.append(histograms(batch.images))
    seen = torch.cat(features)
    vectors = [F.normalize(seen - seen.mean(0), dim=1), F.normalize(torch.cat(colours).sqrt(), dim=1)]
    clusters = AgglomerativeClustering(n_clusters=None, distance_threshold=DISTANCE, linkage="average")
    return np.asarray(clusters.fit_predict((torch.cat(vectors, dim=1) * 0.5**0.5).numpy()))


def histograms(images: Tensor) -> Float[Tensor, "b c"]:
    levels = (images.long() * LEVELS // 256).flatten(2)
    bins = (levels[:, 0] * LEVELS + levels[:, 1]) * LEVELS + levels[:, 2]
    return torch.stack([torch.bincount(row, minlength=LEVELS**3).float() for row in bins])


def write_letters(out: Path, draw: np.random.Generator) -> None:
    fonts = [font for font in map(str, sorted(Path("/usr/share/fonts").rglob("*.ttf"))) if has_letters(font)]
    assert fonts, "no installed font has Greek and Cyrillic letters"
    for number, letter in enumerate(LETTERS):
        for image in range(IMAGES_OF_A_LETTER):
            keep(drawn(letter, fonts[draw.integers(len(fonts))], draw), out, f"{number:02}", image, draw)


def write_training_images(name: str, out: Path, draw: np.random.Generator) -> None:
    """Some training images with their labels."""
    table = pq.read_table(f"samples/{name}/train.parquet")
    rows = draw.permutation(table.num_rows)[:IMAGES_OF_A_SET]
    tests = int(len(rows) * TEST_SHARE)
    out.mkdir(parents=True, exist_ok=True)
    for part, chosen in (("test", rows[:tests]), ("train", rows[tests:])):
        pq.write_table(table.take(pa.array(np.sort(chosen))), out / f"{part}.parquet")


def keep(image: Image.Image, out: Path, label: str, number: int, draw: np.random.Generator) -> None:
    part = "test" if draw.random() < TEST_SHARE else "train"
    folder = out / part / label
    folder.mkdir(parents=True, exist_ok=True)
    image.save(folder / f"{number}.png")


def has_letters(font: str) -> bool:
    try:
        face = ImageFont.truetype(font, 30)
        shapes = {bytes(face.getmask(letter)) for letter in (*LETTERS, "\uffff")}
    except OSError:  # a font that Pillow cannot read
        return False
    return len(shapes) > len(LETTERS)


def drawn(letter: str, font: str, draw: np.random.Generator) -> Image.Image:
    image = Image.new("L", (64, 64), 255)
    place = tuple(32 + draw.integers(-4, 5, 2))
    face = ImageFont.truetype(font, int(draw.integers(26, 40)))
    ImageDraw.Draw(image).text(place, letter, font=face, fill=0, anchor="mm")
    turned = image.rotate(float(draw.uniform(-18, 18)), Image.Resampling.BILINEAR, fillcolor=255)
    shear = float(draw.uniform(-0.35, 0.35))
    sheared = turned.transform(
        (64, 64), Image.Transform.AFFINE, (1, shear, -32 * shear, 0, 1, 0), Image.Resampling.BILINEAR, fillcolor=255
    )
    return sheared.resize((48, 48))


if __name__ == "__main__":
    main()
