from __future__ import annotations

from pathlib import Path

import pytest
import torch

from unic.encoders import load_encoder
from unic.encoders._outputs import OutputReader
from unic.errors import InputError

HUBCONF = """
import torch

open({witness!r}, "w").close()

class Net(torch.nn.Module):
    patch_size = 8

    def __init__(self, registers=0):
        super().__init__()
        torch.manual_seed(0)
        self.patches = torch.nn.Conv2d(3, 6, 8, 8)
        self.registers = registers

    def forward_features(self, x):
        patches = self.patches(x).flatten(2).mT
        return dict(x_norm_clstoken=patches.mean(1) + 1, x_norm_patchtokens=patches)

    def forward(self, x):
        return self.forward_features(x)["x_norm_clstoken"]

class Sequence(Net):
    def forward_features(self, x):
        patches = self.patches(x).flatten(2).mT
        return torch.cat([patches[:, :1] * 2] * 5 + [patches], 1)

def net(): return Net()
def sequence(): return Sequence()
def number(): return 3
def broken(): raise KeyError("no weights")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "repo").mkdir()
    (tmp_path / "repo" / "hubconf.py").write_text(HUBCONF.format(witness=str(tmp_path / "ran")))
    return tmp_path / "repo"


def patches_of(images: torch.Tensor, mean: float, std: float) -> torch.Tensor:
    torch.manual_seed(0)
    return torch.nn.Conv2d(3, 6, 8, 8)((images - mean) / std).flatten(2).mT


@pytest.mark.parametrize("size", ["32", "16x40"])
def test_parts_are_read_by_their_names(folder: Path, size: str) -> None:
    encoder = load_encoder(f"hub:{folder}:net?trust_remote_code=true&size={size}&mean=0.4&std=0.5", precision="fp32")
    images = torch.rand(2, 3, *encoder.input_size)
    tokens, patches = encoder(images), patches_of(images, 0.4, 0.5)
    assert tokens.grid == (encoder.input_size[0] // 8, encoder.input_size[1] // 8)
    assert (encoder.has_cls, encoder.embed_dim, encoder.patch_dim) == (True, 6, 6)
    torch.testing.assert_close(tokens.patches, patches, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(tokens.cls, patches.mean(1) + 1, rtol=1e-5, atol=1e-5)


def test_registers_are_what_the_grid_leaves(folder: Path) -> None:
    encoder = load_encoder(f"hub:{folder}:sequence?trust_remote_code=true&size=32&mean=0&std=1", precision="fp32")
    images = torch.rand(1, 3, 32, 32)
    tokens, patches = encoder(images), patches_of(images, 0, 1)
    assert (tokens.grid, encoder.has_cls) == ((4, 4), True)
    torch.testing.assert_close(tokens.patches, patches, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(tokens.cls, patches[:, 0] * 2, rtol=1e-5, atol=1e-5)


def test_imagenet_is_the_default(folder: Path) -> None:
    encoder = load_encoder(f"hub:{folder}:net?trust_remote_code=true")
    assert encoder.input_size == (224, 224)
    assert encoder.mean.flatten().tolist() == pytest.approx([0.485, 0.456, 0.406])
    assert encoder.std.flatten().tolist() == pytest.approx([0.229, 0.224, 0.225])


def test_nothing_runs_without_trust(folder: Path) -> None:
    for option in ("", "?trust_remote_code=false"):
        with pytest.raises(InputError, match="trust_remote_code=true"):
            load_encoder(f"hub:{folder}:net{option}")
    assert not (folder.parent / "ran").exists()


@pytest.mark.parametrize(
    ("entry", "options", "message"),
    [
        ("nothing", "", "cannot load it .*nothing"),
        ("broken", "", "cannot load it .*no weights"),
        ("number", "", " int.*module"),
        ("net", "&size=30", "patch.* 8"),
        ("net", "&mean=1,2", "one number or three"),
        ("net", "&num_prefix_tokens=one", "num_prefix_tokens.*number"),
        ("net", "&num_prefix=1", "'num_prefix_tokens'"),
        ("sequence", "&num_prefix_tokens=1&size=32", "20 patches.* 32x32"),
    ],
)
def test_errors(folder: Path, entry: str, options: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        load_encoder(f"hub:{folder}:{entry}?trust_remote_code=true{options}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("dinov2_vits14", "expected hub:OWNER/NAME:ENTRY"),
        ("./no/folder:net", "no such folder"),
        ("a/b/c:net", "no such folder"),
    ],
)
def test_names(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_encoder(f"hub:{name}?trust_remote_code=true")


def test_github_out_of_reach_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    with pytest.raises(InputError, match="https://github.com "):
        load_encoder("hub:lab/project:net?trust_remote_code=true")


@pytest.mark.parametrize(
    ("shape", "reader", "grid", "num_prefix"),
    [
        ((1, 5), OutputReader((32, 32)), (1, 1), None),
        ((1, 5, 3, 4), OutputReader((24, 32)), (3, 4), None),
        ((1, 16, 5), OutputReader((32, 32)), (4, 4), 0),
        ((1, 17, 5), OutputReader((32, 32)), (4, 4), 1),
        ((1, 12, 5), OutputReader((24, 32)), (3, 4), 0),
        ((1, 19, 5), OutputReader((32, 32), num_prefix_tokens=3), (4, 4), 3),
        ((1, 16, 5), OutputReader((32, 32), patch_size=(8, 8)), (4, 4), 0),
        ((1, 21, 5), OutputReader((32, 32), patch_size=(8, 8)), (4, 4), 5),
        ((1, 2, 5), OutputReader((32, 64), patch_size=(4, 4)), (1, 2), 0),
        ((1, 1, 5), OutputReader((32, 32)), (1, 1), 0),
    ],
)
def test_shapes_tell_what_an_output_is(
    shape: tuple[int, ...], reader: OutputReader, grid: tuple[int, int], num_prefix: int | None
) -> None:
    output = torch.rand(shape)
    tokens, has_cls = reader.read(output)
    assert tokens.grid == grid
    assert has_cls == (num_prefix != 0 and len(shape) != 4)
    if num_prefix:
        torch.testing.assert_close(tokens.cls, output[:, 0])
        torch.testing.assert_close(tokens.patches, output[:, num_prefix:])


def test_pairs_are_cls_and_patches() -> None:
    cls, features = torch.rand(2, 7), torch.rand(2, 5, 3, 4)
    for output in ((cls, features), [cls, features.flatten(2).mT], {"summary": cls, "features": features}):
        tokens, has_cls = OutputReader((24, 32)).read(output)
        assert (tokens.grid, has_cls) == ((3, 4), True)
        torch.testing.assert_close(tokens.cls, cls)
        torch.testing.assert_close(tokens.patches, features.flatten(2).mT)


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (3, " int"),
        ({"a": torch.rand(1, 2), "b": 1}, "it has the parts a, b|has the parts a, b"),
        (torch.rand(1, 2, 2, 2, 2), "expected rank 2, 3 or 4"),
        (torch.rand(1, 15, 2), "15 tokens"),
        ((torch.rand(1, 2), torch.rand(1, 15, 2)), "15 patches"),
    ],
)
def test_other_outputs_are_refused(output: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        OutputReader((32, 32)).read(output)
