"""Writes labelled sets to choose options by: images that no sample recipe trains on, and training images of seen sets.

    python benchmarks/choice_sets.py        # writes runs/choice-sets, which benchmarks/choice.yaml measures on

The test images of the sample sets are for the final tables, and `stamps` shows how a student does on unseen images. No
option may be chosen by either, so these sets take their place while options are compared:

- `clipart`, `emoji`, `glyphs`, `fashion`: training images with their labels, divided in two;
- `script`: 20 capital letters of the Greek and the Cyrillic alphabet, 40 of each, in installed fonts;
- `photographs`: crops of `samples/photos`, grouped by the photograph they were cut from, which is their class. Every
  encoder could tell them apart by colour, so they are made grey, cut to a half, and mirrored at random;
- `prints`: the same as prints in one ink, with lines as thick as the picture is dark: neither photographs nor drawings;
- `photos.parquet`: the crops of all other photographs, to train on in place of `samples/photos`.

Crops are grouped by the mean of two cosines, of EfficientNet-Lite0's features and of colour histograms. The groups were
looked at: each shows one photograph, or two of one scene.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import shutil
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
FLAT = 3.0  # grey levels of deviation


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("runs/choice-sets"))
    out = parser.parse_args().out
    for name in ("photographs", "prints", "script", *SEEN):  # else pictures of an earlier version would stay
        shutil.rmtree(out / name, ignore_errors=True)
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
            hard = harder(image, draw)
            if hard is not None:
                keep(hard, out / "photographs", f"{photograph:04}", row, draw)
            whole = harder(image, draw, part=(0.85, 1.0))
            if whole is not None:
                keep(printed(whole, draw), out / "prints", f"{photograph:04}", row, draw)


def harder(
    image: Image.Image, draw: np.random.Generator, part: tuple[float, float] = (0.45, 0.65)
) -> Image.Image | None:
    """A grey part of an image with equalised contrast; None if it is flat, as a clear sky is, and shows nothing."""
    side = int(min(image.size) * draw.uniform(*part))
    left, top = (int(draw.integers(0, length - side + 1)) for length in image.size)
    crop = image.convert("L").crop((left, top, left + side, top + side)).resize((128, 128), Image.Resampling.BICUBIC)
    grey = np.asarray(crop, np.float64)[:, :: int(draw.choice([-1, 1]))]
    if grey.std() < FLAT:
        return None
    equalised = (grey - grey.mean()) / (grey.std() + 5) * 45 + 128
    return Image.fromarray(equalised.clip(0, 255).astype(np.uint8))


def printed(grey: Image.Image, draw: np.random.Generator) -> Image.Image:
    """The picture in one ink, with lines as thick as it is dark; their direction, distance and colours are random."""
    side = 256
    light = np.asarray(grey.resize((side, side), Image.Resampling.BICUBIC), np.float64) / 255
    y, x = np.mgrid[:side, :side]
    turn, distance = draw.uniform(0, np.pi), draw.uniform(3, 6)
    lines = 0.5 + 0.5 * np.cos(2 * np.pi * (x * np.cos(turn) + y * np.sin(turn)) / distance)
    ink = 1 / (1 + np.exp((light - 0.15 - 0.7 * lines) / 0.06))
    ink = 0.6 * ink + 0.4 * (1 - light)
    paper, colour = draw.uniform(0.8, 1, 3), draw.uniform(0, 0.4, 3)
    picture = paper * (1 - ink[..., None]) + colour * ink[..., None]
    return Image.fromarray((picture * 255).astype(np.uint8)).resize((128, 128), Image.Resampling.BOX)


def groups() -> Int[np.ndarray, " n"]:
    """The index of the photograph that each crop was cut from."""
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
    for index, letter in enumerate(LETTERS):
        for image in range(IMAGES_OF_A_LETTER):
            keep(drawn(letter, fonts[draw.integers(len(fonts))], draw), out, f"{index:02}", image, draw)


def write_training_images(name: str, out: Path, draw: np.random.Generator) -> None:
    """Writes some training images with their labels, each picture once, so that none is in both parts."""
    table = pq.read_table(f"samples/{name}/train.parquet")
    rows = draw.permutation(table.num_rows)[:IMAGES_OF_A_SET]
    pictures = [picture["bytes"] for picture in table["image"].take(pa.array(rows)).to_pylist()]
    rows = rows[np.unique([hashlib.sha256(_pixels(picture)).digest() for picture in pictures], return_index=True)[1]]
    draw.shuffle(rows)
    tests = int(len(rows) * TEST_SHARE)
    out.mkdir(parents=True, exist_ok=True)
    for part, chosen in (("test", rows[:tests]), ("train", rows[tests:])):
        pq.write_table(table.take(pa.array(np.sort(chosen))), out / f"{part}.parquet")


def _pixels(picture: bytes) -> bytes:
    return Image.open(io.BytesIO(picture)).convert("RGB").tobytes()


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
