"""Text towers: a tiny open_clip model at random weights, and a module of one's own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from unic.errors import InputError
from unic.eval.text import TextTower, load_text_tower, own_tower

CONFIG = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 24, "head_width": 12, "patch_size": 16},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 8, "heads": 2, "layers": 1},
}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, str]:
    """The model, and the URI of its saved weights."""
    open_clip = pytest.importorskip("open_clip")
    folder = tmp_path_factory.mktemp("clip")
    (folder / "unic-tiny.json").write_text(json.dumps(CONFIG))
    open_clip.add_model_config(folder)
    torch.manual_seed(0)
    model = open_clip.create_model("unic-tiny").eval()
    torch.save(model.state_dict(), folder / "weights.pt")
    return model, f"open_clip:unic-tiny?checkpoint={folder / 'weights.pt'}"


@torch.no_grad()
def test_embeds_and_projects_as_the_model_does(tiny: tuple[Any, str]) -> None:
    import open_clip

    model, uri = tiny
    tower = load_text_tower(uri, "cpu")
    texts = [f"a photo of {number} cats" for number in range(300)]  # more than a batch
    vectors = tower.embed(texts)
    assert (vectors.shape, vectors.dtype, tower.dim) == ((300, 16), np.float32, 16)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    expected = model.encode_text(open_clip.get_tokenizer("unic-tiny")(texts[-2:]), normalize=True)
    np.testing.assert_allclose(vectors[-2:], expected.numpy(), atol=1e-6)

    before = []
    handle = model.visual.ln_post.register_forward_hook(lambda *args: before.append(args[-1]))
    images = model.encode_image(torch.rand(3, 3, 32, 32))
    handle.remove()
    cls = before[0][:, 0] if before[0].ndim == 3 else before[0]
    np.testing.assert_allclose(tower.project(cls.numpy()), images.numpy(), atol=1e-5)
    with pytest.raises(InputError, match="takes 24-d vectors, not 5-d"):
        tower.project(np.ones((2, 5), np.float32))


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ("unic-tin?checkpoint=WEIGHTS", "'unic-tin'.*'unic-tiny'"),
        ("unic-tiny?checkpoint=nowhere.pt", "no such file: nowhere.pt"),
        ("unic-tiny?chekpoint=WEIGHTS", "'chekpoint'.*'checkpoint'"),
        ("unic-tiny", "weights ''"),
        ("ViT-B-32/openia", "'openia'.*'openai'"),
        ("ViT-B-32?checkpoint=WEIGHTS", "cannot load it"),
    ],
)
def test_what_is_not_there_is_named(tiny: tuple[Any, str], change: str, line: str) -> None:
    with pytest.raises(InputError, match=line) as caught:
        load_text_tower("open_clip:" + change.replace("WEIGHTS", tiny[1].partition("=")[2]), "cpu")
    assert "\n" not in str(caught.value)


def test_a_module_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trust: Callable[[str], None]) -> None:
    for name in ("tower", "empty", "twoer"):
        trust(f"words_lab.{name}")
    (tmp_path / "words_lab").mkdir()
    (tmp_path / "words_lab/empty.py").write_text("")
    (tmp_path / "words_lab/tower.py").write_text(
        "import numpy as np\n"
        "from unic.eval.text import TextTower\n"
        "class Tower(TextTower):\n"
        "    dim = 2\n"
        "    def embed(self, texts):\n"
        "        return np.eye(2, dtype=np.float32)[: len(texts)]\n"
        "load = Tower\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    tower = load_text_tower("words_lab.tower")
    assert isinstance(tower, TextTower)
    with pytest.raises(InputError, match="Tower .*\\b2\\b"):
        tower.project(np.ones((1, 3), np.float32))
    for spec, line in (
        ("words_lab.empty", "'load'"),
        ("words_lab.twoer", "cannot import it"),
        ("ViT-B-32", "expected open_clip:ARCH/PRETRAINED"),
    ):
        with pytest.raises(InputError, match=line):
            load_text_tower(spec)


def test_tower_of_an_encoder() -> None:
    assert own_tower("open_clip:ViT-B-32/openai", "clip") == "open_clip:ViT-B-32/openai"
    assert own_tower("open_clip:X?size=98&checkpoint=a/b.pt", "clip") == "open_clip:X?checkpoint=a/b.pt"
    with pytest.raises(InputError, match=r"'vit' \(timm:vit\).*text tower"):
        own_tower("timm:vit", "vit")
