"""Live teachers: rounded weights change nothing, and a view is resized once for each size."""

import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F

from unic.encoders import load_encoder
from unic.training.teachers import LiveTeachers

URI = "timm:test_vit?pretrained=false&img_size=32"


@pytest.mark.parametrize("uri", [URI, "timm:test_efficientnet?pretrained=false&img_size=64"])
def test_rounded_weights_change_no_bit_and_no_fingerprint(uri: str) -> None:
    encoder = load_encoder(uri, precision="bf16")
    images, index = torch.rand(3, 3, 48, 48), torch.arange(3)
    with torch.no_grad():
        expected, fingerprint = encoder(images), encoder.fingerprint()
    found = LiveTeachers({"t": encoder}, expected.grid)(images, index, index)["t"]
    assert torch.bfloat16 in {parameter.dtype for parameter in encoder.parameters()}
    assert torch.equal(found.cls, expected.cls)
    assert torch.equal(found.patches, expected.patches)
    assert encoder.fingerprint() == fingerprint == encoder.round_weights().fingerprint()


def test_one_resize_for_each_size(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes, interpolate = [], F.interpolate
    monkeypatch.setattr(
        F, "interpolate", lambda x, size, **options: sizes.append(size) or interpolate(x, size, **options)
    )
    uris = {"a": URI, "b": URI, "c": URI.replace("32", "64")}
    encoders = {name: load_encoder(uri, precision="fp32") for name, uri in uris.items()}
    LiveTeachers(encoders, encoders["a"].grid)(torch.rand(2, 3, 48, 48), torch.arange(2), torch.arange(2))
    assert sorted(size for size in sizes if size[0] >= 32) == [(32, 32), (64, 64)]


def test_what_cannot_be_compiled_runs_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    encoders = {name: load_encoder(URI, precision="fp32") for name in "ab"}
    encoders["b"].can_compile = False
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda module: compiled.append(module) or module)
    found = LiveTeachers(encoders, encoders["a"].grid, compile=True)(torch.rand(2, 3, 32, 32), *torch.ones(2, 2))
    assert compiled == [encoders["a"]]
    assert list(found) == ["a", "b"]


COUNTED = """
import torch
from unic.encoders import load_encoder
from unic.training.resolutions import Resolutions
from unic.training.teachers import LiveTeachers

graphs = []
make = torch.compile


def counted(graph, inputs):
    graphs.append(1)
    return graph.forward


torch.compile = lambda each: make(each, backend=counted)


def made(uris):
    encoders = {uri: load_encoder(uri, precision="fp32") for uri in uris}
    teachers = LiveTeachers(encoders, (2, 2), compile=True)
    for _ in range(3):
        teachers(torch.rand(2, 3, 32, 32), torch.arange(2), torch.arange(2))
        yield len(graphs)


vits = [f"timm:test_vit?pretrained=false&img_size=32&mean={kind}&std={kind}" for kind in ("imagenet", "clip")]
assert list(made(vits)) == [1, 1, 1], graphs
first, *rest = made([f"timm:test_efficientnet?pretrained=false&img_size={32 + 16 * number}" for number in range(9)])
assert rest == [first, first], (first, rest)

vit, sizes, before = load_encoder(vits[0], precision="fp32"), [(side, side) for side in (32, 48, 64)], len(graphs)
seen = Resolutions({size: vit.grid_at(size) for size in sizes}, {"vit": frozenset(sizes)})
teachers = LiveTeachers({"vit": vit}, (2, 2), seen, compile=True)
made = []
for size in sizes * 2:
    teachers(torch.rand(2, 3, *size), torch.arange(2), torch.arange(2))
    made.append(len(graphs) - before)
assert made[3:] == made[2:3] * 3, made  # none for further batches of a size
assert made[2] <= len(sizes), made
"""


@pytest.mark.long
def test_teachers_share_graphs_and_compile_them_once() -> None:
    """In a process of its own, as what torch compiles stays in it."""
    done = subprocess.run([sys.executable, "-c", COUNTED], capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr
    assert "recompile_limit" not in done.stderr
