"""Every input of every source that decides the output changes the fingerprint; what does not decide it does not."""

from __future__ import annotations

import importlib
import json
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from timm import create_model
from torch import nn

from unic import lookup, own_code
from unic.encoders import build_encoder
from unic.trust import trusting

Change = str | Callable[[Path], object]  # another URI, or an edit of the files


@dataclass
class Case:
    """A source in a folder. `{}` in a URI stands for that folder.

    Attributes:
        make: writes its files.
        decides, idle: changes that must show in the fingerprint, and those that must not.
    """

    uri: str
    make: Callable[[Path], object] = lambda folder: None
    decides: Mapping[str, Change] = field(default_factory=dict)
    idle: Mapping[str, Change] = field(default_factory=dict)


def write(name: str, text: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text(text)


def replace(name: str, old: str, new: str) -> Callable[[Path], object]:
    def edit(folder: Path) -> None:
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new))

    return edit


# timm, safetensors, run


def vit(folder: Path, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    encoder = build_encoder("timm:test_vit?pretrained=false&img_size=32")
    safetensors.torch.save_file(encoder.model.state_dict(), folder / "vit.safetensors")
    return encoder


def renamed(folder: Path) -> None:
    (folder / "copy.safetensors").write_bytes((folder / "vit.safetensors").read_bytes())


def exported(folder: Path, seed: int = 0) -> None:
    from unic.exporting.timm import export_timm

    export_timm(vit(folder, seed), folder / "export")


# onnx


def onnx_model(folder: Path, name: str = "model.onnx", seed: int = 0, weights: str | None = None) -> None:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weight = np.random.default_rng(seed).standard_normal((5, 3, 8, 8)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["image", "weight"], ["map"], kernel_shape=[8, 8], strides=[8, 8]),
        helper.make_node("ReduceMean", ["map"], ["pooled"], axes=[2, 3], keepdims=0),
    ]
    image, pooled = (
        helper.make_tensor_value_info(label, TensorProto.FLOAT, shape)
        for label, shape in (("image", ["b", 3, "h", "w"]), ("pooled", ["b", 5]))
    )
    graph = helper.make_graph(nodes, "g", [image], [pooled], [numpy_helper.from_array(weight, "weight")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 12)], ir_version=8)
    (folder / (weights or "none")).unlink(missing_ok=True)
    options = {"save_as_external_data": True, "location": weights, "size_threshold": 0} if weights else {}
    onnx.save(model, folder / name, **options)


def external(folder: Path) -> None:
    onnx_model(folder, weights="weights.bin")


# code: py, hub, hf

LAB = """
import json
from pathlib import Path

import torch

from lab_layers import SCALE, layer

class Net(torch.nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.layer = layer(int(width))
        self.power = json.loads((Path(__file__).parent / "settings.json").read_text())["power"]
        self.register_buffer("shift", torch.full((1,), float(self.power)), persistent=False)

    def forward(self, x):
        from lab_late import after
        return after(SCALE * self.layer(x).mean((2, 3)) ** self.power + self.shift)

def net(**options): return Net(**options)
"""
LAYERS = """
import torch

SCALE = 1.0

def layer(width):
    torch.manual_seed(0)
    return torch.nn.Conv2d(3, width, 8, 8)
"""


def lab(folder: Path, name: str = "lab_net.py") -> None:
    (folder / name).write_text(LAB)
    (folder / "lab_layers.py").write_text(LAYERS)
    (folder / "lab_late.py").write_text("def after(x): return x\n")
    (folder / "settings.json").write_text('{"power": 1}')


LAB_CHANGES: dict[str, Change] = {
    "an imported constant": replace("lab_layers.py", "1.0", "2.0"),
    "a function imported late": write("lab_late.py", "def after(x): return -x\n"),
    "a value from a file": write("settings.json", '{"power": 2}'),
    "size": "?size=16",
    "mean": "?mean=0.1",
    "std": "?std=0.1",
}
REMOTE = """
import torch
from transformers import PretrainedConfig, PreTrainedModel

class LabConfig(PretrainedConfig):
    model_type = "lab"

class LabModel(PreTrainedModel):
    config_class = LabConfig

    def __init__(self, config):
        super().__init__(config)
        self.layer = torch.nn.Conv2d(3, 5, 8, 8)
        self.post_init()

    def forward(self, pixel_values):
        features = self.layer(pixel_values).flatten(2).mT * 1.0
        return features.mean(1), features
"""


def remote(folder: Path, seed: int = 0) -> None:
    (folder / "modeling.py").write_text(REMOTE)
    auto_map = {"AutoConfig": "modeling.LabConfig", "AutoModel": "modeling.LabModel"}
    (folder / "config.json").write_text(json.dumps({"model_type": "lab", "auto_map": auto_map}))
    torch.manual_seed(seed)
    layer = torch.nn.Conv2d(3, 5, 8, 8)
    torch.save({f"layer.{name}": value for name, value in layer.state_dict().items()}, folder / "pytorch_model.bin")


# torchscript, official, open_clip


def script(folder: Path, seed: int = 0) -> None:
    torch.manual_seed(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(nn.Conv2d(3, 4, 8, 8), torch.zeros(1, 3, 32, 32)), folder / "net.pt")


def released(folder: Path, seed: int = 0) -> None:
    torch.manual_seed(seed)
    state = create_model("vit_base_patch16_224", depth=1, img_size=32, num_classes=0).state_dict()
    state = {f"encoder.{key}".replace("blocks.", "blocks.0."): value for key, value in state.items()}
    torch.save({"model": state}, folder / "released.pth")


def clip(folder: Path, seed: int = 0) -> None:
    open_clip = pytest.importorskip("open_clip")
    vision = {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 8}
    text = {"context_length": 8, "vocab_size": 100, "width": 16, "heads": 2, "layers": 1}
    for name, extra in {"lab-print": {}, "lab-quick": {"quick_gelu": True}}.items():
        config = {"embed_dim": 12, "vision_cfg": vision, "text_cfg": text, **extra}
        (folder / f"{name}.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder)
    torch.manual_seed(seed)
    torch.save(open_clip.create_model("lab-print").state_dict(), folder / "clip.pt")


CLIP = "checkpoint={}/clip.pt&mean=0.5&std=0.5"
RELEASED = "official:unic?checkpoint={}/released.pth"
SAFE = "safetensors:{}/vit.safetensors?arch=test_vit&img_size=32&mean=0.5&std=0.5"
TIMM = "timm:test_vit?checkpoint={}/vit.safetensors&img_size=32&mean=0.5&std=0.5"
CASES = {
    "pixels": Case("pixels:8", decides={"size": "pixels:4"}),
    "packaged": Case("packaged:mobilenet_v2?size=64", decides={"size": "packaged:mobilenet_v2?size=96"}),
    "timm": Case(
        TIMM,
        vit,
        {
            "weights": lambda folder: vit(folder, 1), "size": TIMM.replace("=32", "=64"),
            "mean": TIMM.replace("mean=0.5", "mean=0.4"), "std": TIMM.replace("std=0.5", "std=0.4"),
        },
        {
            "the file's name": TIMM.replace("vit.s", "copy.s"),
            "order": "timm:test_vit?std=0.5&mean=0.5&img_size=32&checkpoint={}/vit.safetensors",
        },
    ),
    "safetensors": Case(
        SAFE,
        vit,
        {
            "weights": lambda folder: vit(folder, 1), "size": SAFE.replace("=32", "=64"),
            "mean": SAFE.replace("mean=0.5", "mean=0.4"), "std": SAFE.replace("std=0.5", "std=0.4"),
        },
        {"the file's name": SAFE.replace("vit.s", "copy.s")},
    ),
    "run": Case(
        "run:{}",
        exported,
        {
            "weights": lambda folder: exported(folder, 1), "size": "run:{}?img_size=64",
            "mean": replace("export/config.json", "0.485", "0.4"),
        },
        {"where it is said": "run:{}/export", "a note": write("export/README.md", "other")},
    ),
    "onnx": Case(
        "onnx:{}/model.onnx?size=32",
        onnx_model,
        {
            "weights": lambda folder: onnx_model(folder, seed=1), "output": "onnx:{}/model.onnx?size=32&output=map",
            "size": "onnx:{}/model.onnx?size=64", "channels": "onnx:{}/model.onnx?size=32&channels=bgr",
            "mean": "onnx:{}/model.onnx?size=32&mean=0.5", "std": "onnx:{}/model.onnx?size=32&std=0.5",
            "scale": "onnx:{}/model.onnx?size=32&scale=255",
        },
        {"a neighbour of a longer name": write("model.onnx.txt", "other")},
    ),
    "onnx with weights beside it": Case(
        "onnx:{}/model.onnx?size=32",
        external,
        {"weights": lambda folder: onnx_model(folder, seed=1, weights="weights.bin")},
        {"another file": write("weights.bin.old", "other")},
    ),
    "onnx with a name that is a pattern": Case(
        "onnx:{}/model[1].onnx?size=32",
        lambda folder: onnx_model(folder, "model[1].onnx"),
        {"weights": lambda folder: onnx_model(folder, "model[1].onnx", 1)},
        {"the file that the pattern means": lambda folder: onnx_model(folder, "model1.onnx", 2)},
    ),
    "torchscript": Case(
        "torchscript:{}/net.pt?trust_remote_code=true&size=32",
        script,
        {
            "weights": lambda folder: script(folder, 1),
            "mean": "torchscript:{}/net.pt?trust_remote_code=true&size=32&mean=0.1",
            "size": "torchscript:{}/net.pt?trust_remote_code=true&size=64",
        },
    ),
    "official": Case(
        RELEASED, released, {"weights": lambda folder: released(folder, 1), "mean": f"{RELEASED}&mean=0.1"}
    ),
    "open_clip": Case(
        f"open_clip:lab-print?{CLIP}",
        clip,
        {
            "weights": lambda folder: clip(folder, 1),
            "mean": f"open_clip:lab-print?{CLIP}".replace("mean=0.5", "mean=0.4"),
            "what is taken": f"open_clip:lab-print?{CLIP}&projected=true", "activation": f"open_clip:lab-quick?{CLIP}",
        },
    ),
    "hf": Case(
        "hf:{}?mean=0.5&std=0.5&img_size=16&trust_remote_code=true",
        remote,
        {
            "weights": lambda folder: remote(folder, 1), "code": replace("modeling.py", "mT * 1.0", "mT * 2.0"),
            "size": "hf:{}?mean=0.5&std=0.5&img_size=32&trust_remote_code=true",
            "mean": "hf:{}?mean=0.4&std=0.5&img_size=16&trust_remote_code=true",
        },
        {"a note": write("README.md", "other")},
    ),
    "py": Case(
        "py:lab_net:net",
        lab,
        {
            **{name: f"py:lab_net:net{edit}" if isinstance(edit, str) else edit for name, edit in LAB_CHANGES.items()},
            "its own file": replace("lab_net.py", "mean((2, 3))", "amax((2, 3))"),
            "an argument": "py:lab_net:net?width=5",
        },
        {"a file that nothing imports": write("lab_idle.py", "other = 1")},
    ),
    "hub": Case(
        "hub:{}:net?trust_remote_code=true",
        lambda folder: lab(folder, "hubconf.py"),
        {
            **{
                name: f"hub:{{}}:net{edit}&trust_remote_code=true" if isinstance(edit, str) else edit
                for name, edit in LAB_CHANGES.items()
            },
            "its own file": replace("hubconf.py", "mean((2, 3))", "amax((2, 3))"),
        },
        {"a note": write("README.md", "other")},
    ),
}  # fmt: skip
CHANGES = [
    pytest.param(case, change, decides, id=f"{name}-{label}")
    for name, case in CASES.items()
    for decides, changes in ((True, case.decides), (False, case.idle))
    for label, change in changes.items()
]


@pytest.fixture(autouse=True)
def _new_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    pytest.importorskip("transformers")
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    forget()


def forget() -> None:
    """As in a new process."""
    for name in [name for name in sys.modules if name.startswith(("lab_", "transformers_modules."))]:
        del sys.modules[name]
    importlib.invalidate_caches()


def fingerprint(uri: str, folder: Path) -> str:
    forget()
    uri = uri.replace("{}", str(folder))
    with trusting(uri):
        return build_encoder(uri).fingerprint()


@pytest.mark.parametrize(("case", "change", "decides"), CHANGES)
def test_fingerprint(case: Case, change: Change, decides: bool, tmp_path: Path) -> None:
    case.make(tmp_path)
    if "copy" in str(change):
        renamed(tmp_path)
    before = fingerprint(case.uri, tmp_path)
    assert fingerprint(case.uri, tmp_path) == before
    if callable(change):
        change(tmp_path)
    after = fingerprint(change if isinstance(change, str) else case.uri, tmp_path)
    assert (after != before) is decides


@pytest.mark.parametrize("name", ["py", "hub", "hf"])
def test_versions_of_packages_count_where_code_is_the_users_own(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    CASES[name].make(tmp_path)
    before = fingerprint(CASES[name].uri, tmp_path)
    own_code._version.cache_clear()
    monkeypatch.setattr(own_code.metadata, "version", lambda package: "0.0.1")
    after = fingerprint(CASES[name].uri, tmp_path)
    monkeypatch.undo()
    own_code._version.cache_clear()
    assert after != before


def test_every_source_is_here() -> None:
    assert {case.uri.partition(":")[0] for case in CASES.values()} == set(lookup.names("unic.encoders.schemes"))
