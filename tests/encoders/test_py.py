from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from unic.encoders import build_encoder, load_encoder
from unic.errors import InputError

MODULE = """
import torch
from unic.encoders import build_encoder
from unic.encoders.schemes.pixels import Pixels
from unic.tokens import Tokens

def encoder(side="8"):
    return Pixels(int(side))

def student(drop_path=0.0):
    return build_encoder("timm:test_vit?pretrained=false&img_size=32", drop_path=drop_path)

def conv(width, bias="true"):
    torch.manual_seed(0)
    return torch.nn.Conv2d(3, int(width), 8, 8, bias=bias == "true")

def anything(**options):
    return torch.nn.Conv2d(3, len(options), 8, 8)

class Shortened(Pixels):
    def encode(self, x):
        tokens = super().encode(x)
        return Tokens(tokens.cls, tokens.patches[:, 1:], tokens.grid)

def shortened():
    return Shortened(8)

def text():
    return "no module"
"""


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"lab_{tmp_path.name}"  # a module of its own: Python keeps what it has imported
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    return name


def test_an_encoder_stays_as_it_is(lab: str) -> None:
    encoder = load_encoder(f"py:{lab}:encoder?side=4")
    assert (encoder.input_size, encoder.embed_dim) == ((4, 4), 48)
    assert encoder.uri == f"py:{lab}:encoder?side=4"
    assert not any(parameter.requires_grad for parameter in encoder.parameters())


def test_a_module_gets_preprocessing_from_the_options(lab: str) -> None:
    encoder = load_encoder(f"py:{lab}:conv?width=5&size=24x32&mean=0.5&std=0.25", precision="fp32")
    images = torch.rand(2, 3, 24, 32)
    torch.manual_seed(0)
    features = torch.nn.Conv2d(3, 5, 8, 8)((images - 0.5) / 0.25)
    tokens = encoder(images)
    assert (tokens.grid, encoder.has_cls) == ((3, 4), False)
    torch.testing.assert_close(tokens.patches, features.flatten(2).mT, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(tokens.cls, features.mean((2, 3)), rtol=1e-5, atol=1e-5)
    assert load_encoder(f"py:{lab}:anything?a=1&b=2&size=8").embed_dim == 2


def test_patches_that_contradict_their_grid_are_one_line(lab: str) -> None:
    encoder = load_encoder(f"py:{lab}:shortened")
    line = r"^tokens: .* shape \(2, 63, 3\); expected 64 of them, 8 rows x 8 columns$"
    with pytest.raises(InputError, match=line):
        encoder(torch.rand(2, 3, 8, 8))


def test_as_a_student_it_takes_drop_path(lab: str, trust: Callable[[str], None]) -> None:
    trust(lab)
    student = build_encoder(f"py:{lab}:student", drop_path=0.2)
    assert len(student.block_dims) == 6
    assert any("KeyedDropPath" in type(module).__name__ for module in student.modules())
    with pytest.raises(InputError, match="drop_path"):
        build_encoder(f"py:{lab}:encoder", drop_path=0.2)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("encoder?sid=4", "'sid'.*'side'"),
        ("encoder?size=4", "'size'"),
        ("conv", "'width'"),
        ("encodr", "'encodr'.*'encoder'"),
        ("text", " str.*Encoder"),
    ],
)
def test_errors(lab: str, name: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        load_encoder(f"py:{lab}:{name}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "message"), [("lab", "expected py:PACKAGE.MODULE:FACTORY"), ("no_lab:encoder", "No module named 'no_lab'")]
)
def test_names(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_encoder(f"py:{name}")
