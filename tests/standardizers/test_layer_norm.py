"""Layer norm of each token against the definition in a float64 loop."""

from __future__ import annotations

import torch

from unic.standardizers.layer_norm import Standardizer
from unic.tokens import Tokens


def test_against_the_definition() -> None:
    torch.manual_seed(0)
    tokens = Tokens(torch.randn(3, 7) * 50 + 9, torch.randn(3, 4, 5) * 0.1 - 2, (2, 2))
    found = Standardizer({"t": (7, 5)})({"t": tokens})["t"]
    for x, y in ((tokens.cls[:, None], found.cls[:, None]), (tokens.patches, found.patches)):
        for vectors, targets in zip(x.double(), y.double(), strict=True):
            for vector, target in zip(vectors, targets, strict=True):
                mean = sum(vector.tolist()) / len(vector)
                variance = sum((value - mean) ** 2 for value in vector.tolist()) / len(vector)
                torch.testing.assert_close(target, (vector - mean) / (variance + 1e-6) ** 0.5, rtol=1e-4, atol=1e-4)
