"""ℓ[t, i] against METHOD §4 written as loops, in float64."""

import torch
import torch.nn.functional as F

from unic.distill.distiller import Distiller
from unic.encoders import build_encoder
from unic.losses import build_losses
from unic.projectors import build_projector
from unic.tokens import Tokens


def test_losses_in_a_naive_loop() -> None:
    torch.manual_seed(0)
    student = build_encoder("timm:test_vit?pretrained=false&img_size=32").double().eval()
    dims = {"a": (5, 7), "b": (3, 3)}
    projectors = {
        name: build_projector("ladder", list(student.block_dims), out, student.embed_dim, {}).double()
        for name, out in dims.items()
    }
    blocks = list(range(len(student.block_dims)))
    distiller = Distiller(student, projectors, build_losses({"cosine": 0.5, "smooth_l1": 0.5}), blocks, seed=0)
    images, index = torch.rand(3, 3, 32, 32, dtype=torch.float64), torch.arange(3)
    n = student.grid[0] * student.grid[1]
    targets = {name: Tokens(torch.randn(3, c), torch.randn(3, n, p), student.grid) for name, (c, p) in dims.items()}
    losses, cosines = distiller.eval()(images, targets, 1, index)
    rungs = student.intermediates(images, blocks)
    for t, name in enumerate(dims):
        out = projectors[name](rungs)
        for i in range(3):
            values = []
            for z, y in ((out.cls[i][None], targets[name].cls[i][None]), (out.patches[i], targets[name].patches[i])):
                per_token = [
                    0.5 * (1 - F.cosine_similarity(a, b, dim=0)) + 0.5 * F.smooth_l1_loss(a, b)
                    for a, b in zip(z, y, strict=True)
                ]
                values.append(sum(per_token) / len(per_token))
            torch.testing.assert_close(losses[t, i], sum(values) / 2, atol=1e-5, rtol=1e-5)
        expected = F.cosine_similarity(out.patches, targets[name].patches, dim=-1).mean()
        torch.testing.assert_close(cosines[t, 1], expected, atol=1e-5, rtol=1e-5)
