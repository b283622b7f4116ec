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
        ("sequence&num_prefix_tokens=0&grid=1x3", (1, 3), False),
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


@pytest.mark.parametrize("dtype", [TensorProto.UINT8, TensorProto.INT32, TensorProto.INT64])
def test_an_integer_input_gets_0_to_255(tmp_path: Path, dtype: int) -> None:
    path = write(tmp_path / "a.onnx", dtype=dtype)
    images = torch.randint(0, 100, (2, 3, 16, 16), generator=torch.Generator().manual_seed(0)) / 255  # dark
    tokens = load_encoder(f"onnx:{path}?output=map")(images)
    expected = maps(images * 255).flatten(2).transpose(1, 2)
    torch.testing.assert_close(tokens.patches, expected, rtol=1e-4, atol=1e-3)


def test_images_that_do_not_fit_into_the_integers_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.onnx", dtype=TensorProto.INT8)
    with pytest.raises(InputError, match=r"int8, -128 to 127,.* 0 to 255\b"):
        load_encoder(f"onnx:{path}?output=map")
    wide = write(tmp_path / "b.onnx", dtype=TensorProto.INT32)
    with pytest.raises(InputError, match=r"int32,.* -2.118 to 2.64\b.*scale"):
        load_encoder(f"onnx:{wide}?output=map&mean=imagenet&std=imagenet")
    images = torch.randint(0, 256, (2, 3, 16, 16), generator=torch.Generator().manual_seed(0)) / 255
    tokens = load_encoder(f"onnx:{path}?output=map&mean=128")(images)
    expected = maps(images * 255 - 128).flatten(2).transpose(1, 2)
    torch.testing.assert_close(tokens.patches, expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("scale", ["1", "255"])
def test_a_named_pair_is_for_images_in_0_to_1(tmp_path: Path, scale: str) -> None:
    encoder = load_encoder(f"onnx:{write(tmp_path / 'a.onnx')}?scale={scale}&mean=imagenet&std=imagenet")
    torch.testing.assert_close(encoder.mean.flatten(), torch.tensor([0.485, 0.456, 0.406]))
    torch.testing.assert_close(encoder.std.flatten(), torch.tensor([0.229, 0.224, 0.225]))


def write_vit(path: Path, size: tuple[int, int], num_prefix: int, *, stem: str = "", reader: str = "conv") -> Path:
    """Tokens of a patch embedding of 4x4 behind `num_prefix` constants, 7.0 in the class token and 9.0 in registers."""
    prefix = np.full((1, num_prefix, 5), 9, np.float32)
    prefix[:, :1] = 7
    nodes, source = [], "image"
    if stem == "strided":
        nodes.append(helper.make_node("Conv", ["image", "stem"], ["half"], strides=[2, 2], pads=[1, 1, 1, 1]))
        source = "half"
    elif stem == "pooled":
        pool = {"kernel_shape": [2, 2], "strides": [2, 2]}
        nodes.append(helper.make_node("MaxPool", ["image"], ["half"], **pool))
        source = "half"
    elif stem == "plain":  # neither a 3x3 nor a 1x1 convolution of stride 1 cuts patches
        nodes.append(helper.make_node("Conv", ["image", "stem"], ["same"], pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Conv", ["same", "point"], ["mixed"]))
        source = "mixed"
    pads = {"pads": [2, 2, 2, 2]} if reader == "padded" else {}
    nodes += [
        helper.make_node("Conv", [source, "weight"], ["map"], strides=[4, 4], **pads),
        helper.make_node("Reshape", ["map", "flat"], ["flattened"]),
        helper.make_node("Transpose", ["flattened"], ["patches"], perm=[0, 2, 1]),
        helper.make_node("Concat", ["prefix", "patches"], ["tokens"], axis=1),
    ]
    draw = np.random.default_rng(1)
    weights = {
        "weight": WEIGHT,
        "stem": draw.standard_normal((3, 3, 3, 3)).astype(np.float32),
        "point": draw.standard_normal((3, 3, 1, 1)).astype(np.float32),
        "flat": np.array([0, 5, -1], np.int64),
        "prefix": prefix,
    }
    graph = helper.make_graph(
        nodes,
        "vit",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, *size])],
        [helper.make_tensor_value_info("tokens", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 12)], ir_version=8), path)
    return path


@pytest.mark.parametrize(
    ("size", "num_prefix", "grid"),
    [
        ((16, 16), 5, (4, 4)),  # four registers: 21 tokens are neither a square nor one more
        ((8, 32), 1, (2, 8)),  # 17 tokens: a square and one more, and no square
        ((12, 12), 0, (3, 3)),
        ((8, 8), 5, (2, 2)),  # 9 tokens: a square, and more of them before the patches than patches
    ],
)
@pytest.mark.parametrize("stem", ["", "plain"])
def test_patches_are_told_from_registers(
    tmp_path: Path, size: tuple[int, int], num_prefix: int, grid: tuple[int, int], stem: str
) -> None:
    encoder = load_encoder(f"onnx:{write_vit(tmp_path / 'a.onnx', size, num_prefix, stem=stem)}")
    images = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0))
    tokens = encoder(images)
    assert (tokens.grid, encoder.has_cls) == (grid, num_prefix > 0)
    assert tokens.patches.shape[1] == grid[0] * grid[1]
    if num_prefix:
        torch.testing.assert_close(tokens.cls, torch.full((1, 5), 7.0))
    if not stem:
        torch.testing.assert_close(tokens.patches, maps(images).flatten(2).transpose(1, 2), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("stem", "reader", "side"), [("strided", "conv", 2), ("pooled", "conv", 2), ("", "padded", 5)])
def test_a_grid_that_the_patch_embedding_does_not_tell_is_asked_for(
    tmp_path: Path, stem: str, reader: str, side: int
) -> None:
    path = write_vit(tmp_path / "a.onnx", (16, 16), 1, stem=stem, reader=reader)
    with pytest.raises(InputError, match="tokens .*grid=.*num_prefix_tokens"):
        load_encoder(f"onnx:{path}")
    tokens = load_encoder(f"onnx:{path}?grid={side}&num_prefix_tokens=1")(torch.rand(1, 3, 16, 16))
    assert tokens.grid == (side, side)
    torch.testing.assert_close(tokens.cls, torch.full((1, 5), 7.0))


def test_another_split_is_another_fingerprint(tmp_path: Path) -> None:
    path = write_vit(tmp_path / "a.onnx", (16, 16), 1)
    uris = [f"onnx:{path}{options}" for options in ("", "?grid=4x4", "?grid=2x8", "?grid=1x17&num_prefix_tokens=0")]
    prints = [load_encoder(uri).fingerprint() for uri in uris]
    assert prints[0] == prints[1]
    assert len(set(prints)) == 3


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
        ("output=tokns", "'tokens'"),
        ("output=qqqqqqqq", "sequence, pooled, scores"),
        ("size=20", r"\(16, 16\)"),
        ("layout=hwc", "'nhwc'"),
        ("channels=gray", "'channels'.*'gray'"),
        ("mean=1,2", "one number or three"),
        ("scale=0", "scale.* 0"),
        ("scale=1,2", "one number or three"),
        ("mean=imagnet", "'imagnet'.*'imagenet'"),
        ("output=tokens&num_prefix_tokens=1", "16 tokens .* 4x4.*num_prefix_tokens=1.*grid="),
        ("output=tokens&grid=5", "16 tokens .* 5x5.*grid=HEIGHTxWIDTH"),
        ("output=sequence", "3 tokens .*grid=HEIGHTxWIDTH.*num_prefix_tokens"),
        ("output=tokens&num_prefix_tokens=x", "'num_prefix_tokens'.*'x'"),
        ("output=map&grid=4", "'grid'.*'map'"),
        ("output=pooled&num_prefix_tokens=1", "'num_prefix_tokens'.*'pooled'"),
        ("tap=map", "'tap'"),
    ],
)
def test_errors(tmp_path: Path, options: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_encoder(f"onnx:{write(tmp_path / 'a.onnx')}?{options}")


def test_a_size_that_does_not_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="graph"):
        load_encoder(f"onnx:{write(tmp_path / 'a.onnx', size='s')}?size=2")


def test_not_a_graph(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_text("not a graph")
    with pytest.raises(InputError, match="not an ONNX file"):
        load_encoder(f"onnx:{tmp_path / 'a.onnx'}")
    with pytest.raises(InputError, match="no such file"):
        load_encoder(f"onnx:{tmp_path / 'b.onnx'}")
