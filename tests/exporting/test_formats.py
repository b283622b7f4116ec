import json
from contextlib import nullcontext
from pathlib import Path

import onnxruntime
import pytest
import timm
import torch

from unic.encoders import Encoder, build_encoder, load_encoder
from unic.encoders.timm_encoder import TimmEncoder
from unic.errors import InputError
from unic.exporting import formats
from unic.exporting.deployed import Deployed, check_alone, difference, rounding
from unic.exporting.formats import check_formats, write_graphs
from unic.exporting.onnx import export_onnx
from unic.exporting.timm import export_timm
from unic.tokens import Tokens

IMAGES = torch.rand(3, 3, 40, 40, generator=torch.Generator().manual_seed(0))
VIT = "timm:test_vit?pretrained=false&img_size=32&mean=0.4&std=0.3"
CNN = "timm:test_efficientnet?pretrained=false&img_size=64"


@pytest.mark.usefixtures("unchecked")  # where torch traces the graph (2.6), sizes are tensors
@pytest.mark.parametrize("uri", [VIT, CNN])
def test_graphs_give_what_the_encoder_gives_without_unic(uri, tmp_path):
    encoder = build_encoder(uri).freeze()
    written = write_graphs(encoder, tmp_path, ["onnx", "torch_export"], IMAGES)
    assert [one.path.name for one in written] == ["model.onnx", "model.pt2"]
    assert all(one.deviation <= 1e-5 for one in written)
    images = Deployed(encoder).example(IMAGES)
    back = load_encoder(f"onnx:{tmp_path / 'model.onnx'}?size={encoder.input_size[0]}&output=patches", precision="fp32")
    torch.testing.assert_close(back(images).patches, encoder(images).patches, rtol=0, atol=1e-5)


@pytest.mark.parametrize("uri", [VIT, CNN])
def test_transformers_opens_the_folder(uri, tmp_path):
    encoder = build_encoder(uri).freeze()
    folder, model = export_timm(encoder, tmp_path / "export"), Deployed(encoder)
    images = model.example(IMAGES)
    assert check_alone("transformers", folder, images, model(images)) <= 1e-5


@pytest.mark.usefixtures("unchecked")  # a size that is free equals no other to the checks
def test_any_batch_and_with_a_cnn_any_size(tmp_path):
    encoder = build_encoder(CNN).freeze()
    session = onnxruntime.InferenceSession(str(export_onnx(encoder, tmp_path / "m.onnx", dynamic_size=True)))
    images = torch.rand(5, 3, 96, 64)
    cls, patches = (torch.from_numpy(output) for output in session.run(None, {"images": images.numpy()}))
    tokens = encoder.encode((images - encoder.mean) / encoder.std)
    torch.testing.assert_close(cls, tokens.cls, rtol=0, atol=1e-5)
    assert patches.shape[:2] == (5, tokens.patches.shape[1])
    with pytest.raises(InputError, match="one input size"):
        export_onnx(build_encoder(VIT).freeze(), tmp_path / "v.onnx", dynamic_size=True)


@pytest.mark.usefixtures("unchecked")
def test_padding_that_depends_on_the_size_is_computed_in_a_graph_for_any_size(tmp_path):
    """As EfficientNet-Lite0's. torch.export alone does not come to an end with it."""
    model = timm.create_model("test_efficientnet", pad_type="same", num_classes=0)
    encoder = TimmEncoder(model, "test_efficientnet", {}, (64, 64)).freeze()
    [written] = write_graphs(encoder, tmp_path, ["onnx"], IMAGES, dynamic_size=True)  # compared at two sizes
    assert written.deviation <= 1e-5
    session = onnxruntime.InferenceSession(str(written.path))
    for size in ((97, 130), (75, 64)):
        images = torch.rand(3, 3, *size)
        found = [torch.from_numpy(output) for output in session.run(None, {"images": images.numpy()})]
        tokens = encoder.encode((images - encoder.mean) / encoder.std)
        assert difference((tokens.cls, tokens.patches), tuple(found)) <= 1e-5


@pytest.mark.usefixtures("unchecked")  # where torch traces the graph (2.6), sizes are tensors
def test_a_size_that_is_written_into_a_graph_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(formats, "export_onnx", lambda encoder, path, **options: export_onnx(encoder, path))
    with pytest.raises(InputError, match="without unic"):
        write_graphs(build_encoder(CNN).freeze(), tmp_path, ["onnx"], IMAGES, dynamic_size=True)


def test_half_is_close_and_half_as_large(tmp_path):
    encoder = build_encoder(VIT).freeze()
    full, half = write_graphs(encoder, tmp_path, ["onnx"], IMAGES, half=True)
    assert half.path.name == "model_fp16.onnx"
    assert 0 < half.deviation < 0.01
    assert half.path.stat().st_size < 0.75 * full.path.stat().st_size
    assert next(encoder.parameters()).dtype == torch.float32


def test_an_export_that_differs_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(formats, "check_alone", lambda *arguments: 2e-5)
    with pytest.raises(InputError, match="differs .* 2.0e-05, .* 1.0e-05"):
        write_graphs(build_encoder(VIT).freeze(), tmp_path, ["torch_export"], IMAGES)


def test_what_cannot_be_loaded_is_one_line(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"nothing")
    with pytest.raises(InputError, match="without unic") as error:
        check_alone("onnx", tmp_path / "model.onnx", IMAGES, (IMAGES,))
    assert "\n" not in str(error.value)


def test_difference_is_relative_to_the_largest_value():
    wanted = (torch.tensor([100.0, 0.0]), torch.tensor([0.5]))
    assert difference(wanted, (torch.tensor([101.0, 0.0]), torch.tensor([0.5]))) == pytest.approx(0.01)
    assert difference(wanted, (torch.tensor([100.0, 0.0]), torch.tensor([0.4]))) == pytest.approx(0.1)


def test_names_get_the_nearest():
    with pytest.raises(InputError, match="formats 'onx'.*'onnx'"):
        check_formats(["timm", "onx"])


def test_a_run_leaves_with_heads_card_and_parity(recipe, tmp_path):
    from rich.console import Console

    from unic import api
    from unic.heads import kept_head
    from unic.recipe.schema import load_recipe
    from unic.training.train import fit

    fit(load_recipe(recipe, ["train.steps=2"]), tmp_path / "run", console=Console(quiet=True))
    folder = api.export(tmp_path / "run", tmp_path / "out", formats=["torch_export"], heads=["cnn"], check=True)
    parity = json.loads((folder / "parity.json").read_text())
    assert set(parity) == {"timm: .", "torch_export: model.pt2", "torch_export: heads/cnn/model.pt2"}
    assert max(parity.values()) <= 1e-5
    head = kept_head(tmp_path / "run", "cnn", device="cpu")
    program = torch.export.load(folder / "heads" / "cnn" / "model.pt2").module()
    images = Deployed(head).example()
    assert program(images)[0].shape[1] == head.embed_dim
    card = (folder / "README.md").read_text()
    assert "| cnn | `timm:test_efficientnet?pretrained=false&img_size=64` |" in card
    assert "`heads/`" in card
    with pytest.raises(InputError, match=r"formats=\['onnx'\].*torch_export"):
        api.export(tmp_path / "run", tmp_path / "other", heads=["cnn"])


@pytest.mark.parametrize("matched", ["cls", "patches"])
def test_a_head_of_one_kind_of_tokens_takes_any_batch_size(recipe, tmp_path, matched):
    """Its other tensor has no values, and must not fix the batch size of the graph."""
    from rich.console import Console

    from unic import api
    from unic.heads import kept_head
    from unic.recipe.schema import load_recipe
    from unic.training.train import fit

    models = recipe["teachers"]["models"]
    models["vit"] = {"uri": models["vit"], "tokens": matched}
    fit(load_recipe(recipe, ["train.steps=2"]), tmp_path / "run", console=Console(quiet=True))
    head = kept_head(tmp_path / "run", "vit", device="cpu")
    if matched == "cls":
        with pytest.raises(InputError, match="has no patches"):
            api.export(tmp_path / "run", tmp_path / "out", formats=["onnx"], heads=["vit"])
        return
    folder = api.export(tmp_path / "run", tmp_path / "out", formats=["torch_export", "onnx"], heads=["vit"], check=True)
    assert json.loads((folder / "parity.json").read_text())["onnx: heads/vit/model.onnx"] <= 1e-5
    session = onnxruntime.InferenceSession(str(folder / "heads/vit/model.onnx"))
    for count in (1, 3):
        images = torch.rand(count, 3, *head.input_size)
        found = [torch.from_numpy(output) for output in session.run(None, {"images": images.numpy()})]
        tokens = head.encode((images - head.mean) / head.std)
        assert difference((tokens.cls, tokens.patches), tuple(found)) <= 1e-5


def test_graphs_of_the_first_channels(recipe, tmp_path):
    from rich.console import Console

    from unic import api
    from unic.recipe.schema import load_recipe
    from unic.training.train import fit

    fit(load_recipe(recipe, ["train.steps=1", "student.widths=[8]"]), tmp_path / "run", console=Console(quiet=True))
    folder = api.export(tmp_path / "run", tmp_path / "out", formats=["torch_export"], widths=[8, 5], check=True)
    parity = json.loads((folder / "parity.json").read_text())
    assert {f"torch_export: widths/{width}/model.pt2" for width in (8, 5)} < parity.keys()
    images = torch.rand(2, 3, 32, 32)
    whole = torch.export.load(folder / "model.pt2").module()(images)
    for cut, tokens in zip(torch.export.load(folder / "widths/8/model.pt2").module()(images), whole, strict=True):
        assert torch.equal(cut, tokens[..., :8])
    assert "`widths/`" in (folder / "README.md").read_text()
    with pytest.raises(InputError, match=r"widths: a timm folder has all channels.*formats=\['onnx'\] or torch_export"):
        api.export(tmp_path / "run", tmp_path / "other", widths=[8])
    for width in (0, 64):
        with pytest.raises(InputError, match=rf"widths=\[{width}\]: expected fewer channels than the student's 64"):
            api.export(tmp_path / "run", tmp_path / "other", formats=["torch_export"], widths=[width])
    assert not (tmp_path / "other").exists()


class Cancelling(Encoder):
    """Adds 10,000 and takes it away again: float32 keeps 3 decimals of what is left."""

    def __init__(self) -> None:
        super().__init__(mean=[0.0] * 3, std=[1.0] * 3)
        self.input_size, self.embed_dim, self.patch_dim = (8, 8), 3, 3

    def encode(self, x: torch.Tensor) -> Tokens:
        cls = (x.mean((2, 3)) + 1e4) - 1e4
        return Tokens(cls, cls[:, None], (1, 1))


def test_rounding_is_what_float32_loses() -> None:
    images = torch.full((1, 3, 8, 8), 0.3)
    assert rounding(Deployed(Cancelling()), images) == pytest.approx(abs(0.2998046875 - 0.3), rel=1e-3)


@pytest.mark.parametrize(("deviation", "is_written"), [(9e-6, True), (3.9e-5, True), (4.1e-5, False)])
def test_a_graph_may_differ_by_four_times_the_rounding(
    deviation: float, is_written: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(formats, "check_alone", lambda *_: deviation)
    monkeypatch.setattr(formats, "rounding", lambda *_: 1e-5)
    with nullcontext() if is_written else pytest.raises(InputError, match="4.1e-05, more than 4.0e-05"):
        formats._checked("onnx", tmp_path / "model.onnx", Cancelling(), None, True)
