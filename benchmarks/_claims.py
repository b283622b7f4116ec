"""The paper's claims, each as comparisons of variants of the sweep benchmarks/variants/findings.yaml."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

METHOD = "method"  # the base of the sweep: everything as the paper has it
LONG = "twice as long"
SCRATCH = "from scratch"


class Comparison(NamedTuple):
    """Two variants of the sweep.

    Attributes:
        text: what the row is called.
        preferred: the variant that the paper prefers.
        other: the alternative.
    """

    text: str
    preferred: str
    other: str


class Claim(NamedTuple):
    """A claim of the paper.

    Attributes:
        text: the claim.
        paper: the paper's numbers; None: its text gives none.
        comparisons: what it is compared by here.
    """

    text: str
    paper: str | None
    comparisons: Sequence[Comparison]


CLAIMS = [
    Claim(
        "A ladder of projectors on all blocks teaches more than a projector on the last block.",
        None,
        [
            Comparison("ladder against MLP on the last block", METHOD, "last block"),
            Comparison("ladder against one linear layer", METHOD, "one linear layer"),
            Comparison("… MLP on the last block against one linear layer", "last block", "one linear layer"),
            Comparison("… trained twice as long", LONG, f"{LONG}, last block"),
            Comparison("… from scratch", SCRATCH, f"{SCRATCH}, last block"),
            Comparison("… a ViT-Ti from scratch", f"ViT {SCRATCH}", f"ViT {SCRATCH}, last block"),
        ],
    ),
    Claim(
        "Teacher dropping for each image balances the teachers better than equal weights or learned ones.",
        "p = 0.25 for two teachers, 0.5 for four",
        [
            Comparison("dropping against equal weights", METHOD, "uniform"),
            Comparison("… trained twice as long", LONG, f"{LONG}, uniform"),
            Comparison("… from scratch", SCRATCH, f"{SCRATCH}, uniform"),
            Comparison("dropping of images against dropping of batches", METHOD, "dropping by batch"),
            Comparison("dropping by chance of 0.5 against 0.25", METHOD, "dropping by chance of 0.25"),
            Comparison("dropping against one random teacher for each image", METHOD, "random teacher"),
            Comparison("dropping against uncertainty weights", METHOD, "uncertainty"),
            Comparison("dropping against GradNorm", METHOD, "gradnorm"),
            Comparison("dropping against AdaLoss", METHOD, "adaloss"),
            Comparison("dropping against adaptive weights", METHOD, "adaptive"),
        ],
    ),
    Claim(
        "Teachers' features must be standardised, as their scales differ.",
        None,
        [
            Comparison("standardisation against none", METHOD, "no standardisation"),
            Comparison("… trained twice as long", LONG, f"{LONG}, no standardisation"),
            Comparison("… from scratch", SCRATCH, f"{SCRATCH}, no standardisation"),
            Comparison("… under smooth-L1 alone", "smooth-L1 alone", "smooth-L1 alone, no standardisation"),
            Comparison("each channel (UNIC) against PHI-S", METHOD, "phi_s"),
            Comparison("each channel (UNIC) against each token (layer norm)", METHOD, "layer_norm"),
        ],
    ),
    Claim(
        "Cosine and smooth-L1 together are better than either alone.",
        None,
        [
            Comparison("both against cosine alone", METHOD, "cosine alone"),
            Comparison("both against smooth-L1 alone", METHOD, "smooth-L1 alone"),
        ],
    ),
    Claim(
        "CLS and patches together are better than CLS alone, even for classification.",
        None,
        [
            Comparison("both against CLS alone", METHOD, "CLS alone"),
            Comparison("both against patches alone", METHOD, "patches alone"),
        ],
    ),
    Claim(
        "Every teacher adds something.",
        None,
        [Comparison(f"all four against all but {name}", METHOD, f"without {name}")
         for name in ("lite0", "mobilenet", "vit", "ocr")],
    ),
    Claim(
        "Longer training and a larger student help.",
        "200 epochs; ViT-B/16 and ViT-L/14",
        [
            Comparison("twice as long against once", LONG, METHOD),
            Comparison("3.4 million parameters against 0.1, 150 steps from scratch", SCRATCH, f"{SCRATCH}, small"),
            Comparison("pretrained weights against none", METHOD, SCRATCH),
        ],
    ),
]  # fmt: skip
