from __future__ import annotations

import copy
import pickle
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from unic.encoders import load_encoder
from unic.errors import InputError

SEED = np.random.default_rng(0)
WEIGHT = SEED.standard_normal((5, 3, 4, 4)).astype(np.float32)


def write(
    path: Path, *, batch: int | str = "b", size: int | str = 16, nhwc: bool = False, dtype: int = TensorProto.FLOAT
) -> Path:
    """A patch embedding, its tokens with and without a class token, and a mean: one tensor of every rank."""
    shape = [batch, size, size, 3] if nhwc else [batch, 3, size, size]
    nodes = [helper.make_node("Transpose", ["image"], ["chw"], perm=[0, 3, 1, 2])] if nhwc else []
    source = "chw" if nhwc else "image"
    if dtype != TensorProto.FLOAT:
        nodes.append(helper.make_node("Cast", [source], ["cast"], to=TensorProto.FLOAT))
        source = "cast"
    nodes += [
        helper.make_node("Conv", [source, "weight"], ["map"], kernel_shape=[4, 4], strides=[4, 4]),
        helper.make_node("Transpose", ["map"], ["map_nhwc"], perm=[0, 2, 3, 1]),
        helper.make_node("Reshape", ["map", "flat"], ["flattened"]),
        helper.make_node("Transpose", ["flattened"], ["tokens"], perm=[0, 2, 1]),
        helper.make_node("ReduceMean", ["tokens"], ["first"], axes=[1], keepdims=1),
        helper.make_node("Concat", ["first", "tokens"], ["tokens_with_cls"], axis=1),
        helper.make_node("Slice", ["tokens", "zero", "three", "one"], ["sequence"]),
        helper.make_node("ReduceMean", ["tokens"], ["pooled"], axes=[1], keepdims=0),
        helper.make_node("Sigmoid", ["pooled"], ["scores"]),
    ]
    integers = {"flat": [0, 5, -1], "zero": [0], "three": [3], "one": [1]}
    weights = [numpy_helper.from_array(WEIGHT, "weight")]
    weights += [numpy_helper.from_array(np.array(value, np.int64), name) for name, value in integers.items()]
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("image", dtype, shape)],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [batch, 5])],
        weights,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 12)], ir_version=8), path)
    return path


def maps(x: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.conv2d(x, torch.from_numpy(WEIGHT), stride=4)


@pytest.mark.parametrize(
    ("output", "grid", "has_cls"),
    [
        ("map", (4, 4), False),
        ("map_nhwc", (4, 4), False),
        ("tokens", (4, 4), False),
        ("tokens_with_cls", (4, 4), True),
        ("sequence", (1, 3), False),
        ("pooled", (1, 1), True),
    ],
)
def test_any_tensor_of_any_rank(tmp_path: Path, output: str, grid: tuple[int, int], has_cls: bool) -> None:
    encoder = load_encoder(f"onnx:{write(tmp_path / 'a.onnx')}?output={output}")
    images = torch.rand(2, 3, 16, 16)
    tokens, expected = encoder(images), maps(images).flatten(2).transpose(1, 2)
    assert (tokens.grid, encoder.has_cls, encoder.input_size) == (grid, has_cls, (16, 16))
    assert (encoder.embed_dim, encoder.patch_dim) == (5, 5)
    patches = expected.mean(dim=1, keepdim=True) if output == "pooled" else expected[:, : grid[0] * grid[1]]
    torch.testing.assert_close(tokens.patches, patches, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(tokens.cls, patches.mean(dim=1), rtol=1e-4, atol=1e-5)


def test_first_output_is_the_default(tmp_path: Path) -> None:
    encoder = load_encoder(f"onnx:{write(tmp_path / 'a.onnx')}")
    images = torch.rand(2, 3, 16, 16)
    torch.testing.assert_close(encoder(images).cls, maps(images).mean(dim=(2, 3)).sigmoid(), rtol=1e-4, atol=1e-5)


def test_preprocessing(tmp_path: Path) -> None:
    path = write(tmp_path / "a.onnx", size="s", nhwc=True)
    uri = f"onnx:{path}?output=map&size=8&channels=bgr&scale=255&mean=120,110,100&std=60,50,40"
    images = torch.rand(2, 3, 8, 8)
    mean, std = (torch.tensor(value).view(1, 3, 1, 1) for value in ([120.0, 110.0, 100.0], [60.0, 50.0, 40.0]))
    expected = maps(((images * 255 - mean) / std).flip(1))
    tokens = load_encoder(uri)(images)
    torch.testing.assert_close(tokens.patches, expected.flatten(2).transpose(1, 2), rtol=1e-4, atol=1e-4)


def test_fixed_batch_and_bytes(tmp_path: Path) -> None:
    path = write(tmp_path / "a.onnx", batch=3, dtype=TensorProto.UINT8)
    encoder = load_encoder(f"onnx:{path}?output=pooled&scale=255")
    images = torch.randint(0, 256, (7, 3, 16, 16)) / 255
    torch.testing.assert_close(encoder(images).cls, maps(images * 255).mean(dim=(2, 3)), rtol=1e-4, atol=1e-2)


def test_copies_open_their_own_session(tmp_path: Path) -> None:
    encoder = load_encoder(f"onnx:{write(tmp_path / 'a.onnx')}?output=map")
    images = torch.rand(1, 3, 16, 16)
    for copied in (copy.deepcopy(encoder), pickle.loads(pickle.dumps(encoder))):
        torch.testing.assert_close(copied(images).patches, encoder(images).patches)
        assert copied.fingerprint() == encoder.fingerprint()
    other = load_encoder(f"onnx:{tmp_path / 'a.onnx'}?output=map_nhwc")
    assert other.fingerprint() != encoder.fingerprint()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("output=tokns", "did you mean 'tokens'"),
        ("output=qqqqqqqq", "the last ones are: sequence, pooled, scores"),
        ("size=20", r"takes the size \(16, 16\) alone"),
        ("layout=hwc", "did you mean 'nhwc'"),
        ("channels=gray", "option 'channels' cannot be 'gray'"),
        ("mean=1,2", "one number or three"),
        ("scale=0", "scale and std are not 0"),
        ("scale=1,2", "one number or three"),
        ("tap=map", "unknown option 'tap'"),
    ],
)
def test_errors(tmp_path: Path, options: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_encoder(f"onnx:{write(tmp_path / 'a.onnx')}?{options}")


def test_a_size_that_does_not_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the graph does not run"):
        load_encoder(f"onnx:{write(tmp_path / 'a.onnx', size='s')}?size=2")


def test_not_a_graph(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_text("not a graph")
    with pytest.raises(InputError, match="not an ONNX file"):
        load_encoder(f"onnx:{tmp_path / 'a.onnx'}")
    with pytest.raises(InputError, match="no such file"):
        load_encoder(f"onnx:{tmp_path / 'b.onnx'}")
