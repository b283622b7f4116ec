"""Files of others, damaged, of another kind, or made to fill the memory: one line, in bounded memory and time."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import tarfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from unic.data.shards.index import INDEX, MANIFEST, ROW
from unic.data.shards.writing import write_shards
from unic.data.sources import open_source
from unic.encoders import load_encoder
from unic.errors import InputError
from unic.eval.suite import load_suite
from unic.recipe.schema import load_recipe
from unic.reporting.read.run_files import read_run
from unic.runs.checkpoint import load_newest
from unic.runs.metrics import read_metrics
from unic.runs.state import newest_state


def refused(act: Callable[[], object]) -> str:
    """The line; within 5 s and 200 MB of Python's memory."""
    started = time.process_time()
    tracemalloc.start()
    try:
        with pytest.raises(InputError) as error:
            act()
        assert tracemalloc.get_traced_memory()[1] < 200_000_000
    finally:
        tracemalloc.stop()
    assert time.process_time() - started < 5
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 600
    return str(error.value)


def jpeg() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16), "red").save(buffer, "JPEG")
    return buffer.getvalue()


def parquet(path: Path, images: list[bytes], labels: list[Any] | None = None, **options: Any) -> Path:
    features: dict[str, Any] = {"image": {"_type": "Image"}}
    columns = {"image": pa.array([{"bytes": data} for data in images], pa.struct([("bytes", pa.binary())]))}
    if labels is not None:
        features["label"] = {"_type": "ClassLabel", "names": ["cat", "dog"]}
        columns["label"] = pa.array(labels)
    table = pa.table(columns).replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, path, **options)
    return path


@pytest.mark.parametrize("kind", ["dictionary", "zeros"])
def test_parquet_rows_that_inflate(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One value of a dictionary in every row; and rows of zeros, packed a thousand times. The limit is small here."""
    monkeypatch.setattr("unic.data.sources._parquet_files._ROOM", 32 << 20)
    value, count = bytes(1 << 16), 8000
    noise = pa.array(np.random.default_rng(0).integers(0, 2**60, count))
    indices = pa.array(np.zeros(count, np.int32))
    image = pa.DictionaryArray.from_arrays(indices, pa.array([value], pa.binary()))
    with pq.ParquetWriter(
        tmp_path / "bomb.parquet", pa.schema([("image", image.type), ("noise", pa.int64())]), compression="zstd",
        store_schema=False, use_dictionary=kind == "dictionary",
    ) as writer:  # fmt: skip
        for start in range(0, count, count if kind == "dictionary" else 250):
            part = slice(start, start + (count if kind == "dictionary" else 250))
            writer.write_table(pa.table({"image": image[part], "noise": noise[part]}))
    assert (tmp_path / "bomb.parquet").stat().st_size < 1_000_000
    source = open_source(str(tmp_path / "bomb.parquet"))
    before = max(pa.default_memory_pool().max_memory(), 100 << 20)
    assert "grows from" in refused(lambda: source.read(0))
    assert pa.default_memory_pool().max_memory() <= before


def test_parquet_that_claims_rows(tmp_path: Path) -> None:
    file = tmp_path / "many.parquet"
    pq.write_table(pa.table({"image": pa.array([b""] * 2_000_000)}), file)
    assert file.stat().st_size < 100_000
    assert "claims 2000000 rows in" in refused(lambda: open_source(str(file)))


def test_damaged_parquet_is_one_line(tmp_path: Path) -> None:
    file = parquet(tmp_path / "x.parquet", [jpeg()] * 50, [0, 1] * 25, compression="none", use_dictionary=False)
    assert open_source(str(file)).label(1) == 1
    whole = file.read_bytes()
    draw, lines = np.random.default_rng(0), []
    for number in range(150):
        data = bytearray(whole)
        at = 4 + int(draw.integers(0, 300)) if number % 2 else int(draw.integers(len(data) * 3 // 4, len(data)))
        data[at : at + 8] = draw.integers(0, 256, 8, dtype=np.uint8).tobytes()
        file.write_bytes(data)
        try:
            open_source(str(file)).stored(0)
        except InputError as error:
            lines.append(str(error))
    assert len(lines) > 5
    assert not any("\n" in line for line in lines)


def test_parquet_labels_that_are_none(tmp_path: Path) -> None:
    line = refused(lambda: open_source(str(parquet(tmp_path / "a.parquet", [jpeg()] * 2, ["cat", "dog"]))))
    assert "column 'label'" in line
    line = refused(lambda: open_source(str(parquet(tmp_path / "b.parquet", [jpeg()] * 2, [0, 7]))))
    assert re.search(r"\b7\b.*\b2 classes", line)
    assert open_source(str(parquet(tmp_path / "c.parquet", [jpeg()] * 2, [None, 1]))).label(0) is None


@pytest.mark.parametrize("content", ['{"cat": 0}', "3", '[["cat"]]', "[" * 100_000, "\xff", '"cats"'])
def test_names_of_classes_of_another_shape(tmp_path: Path, content: str) -> None:
    with tarfile.open(tmp_path / "0.tar", "w") as shard:
        for name, data in (("0.jpg", jpeg()), ("0.cls", b"0"), ("1.jpg", jpeg()), ("1.cls", b"1")):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            shard.addfile(member, io.BytesIO(data))
    (tmp_path / "classes.json").write_text(content, encoding="latin-1")
    assert "classes.json" in refused(lambda: open_source(str(tmp_path)))


def test_an_index_with_a_label_of_a_billion(tmp_path: Path, image_folder: Path) -> None:
    """A name is made for every class: it took 5.8 GB. The headers of the shards are believed in its place."""
    write_shards(open_source(str(image_folder)), tmp_path / "shards")
    index = tmp_path / "shards" / INDEX
    rows = np.fromfile(index, ROW)
    rows["label"][0] = 2**30
    rows.tofile(index)
    manifest = json.loads((tmp_path / "shards" / MANIFEST).read_text())
    manifest["index"] = hashlib.sha256(index.read_bytes()).hexdigest()
    (tmp_path / "shards" / MANIFEST).write_text(json.dumps(manifest))
    tracemalloc.start()
    source = open_source(str(tmp_path / "shards"))
    assert tracemalloc.get_traced_memory()[1] < 20_000_000
    tracemalloc.stop()
    assert {source.label(number) for number in range(len(source))} == {0, 1}


@pytest.mark.parametrize("name", ["{0..99999999}.tar", "{0..99999999}{9..0}.tar", "{9..0}.tar"])
def test_ranges_of_names(tmp_path: Path, name: str) -> None:
    assert "data '" in refused(lambda: open_source(str(tmp_path / name)))


def test_references_that_multiply_in_a_suite(tmp_path: Path) -> None:
    chain = "\n".join(f"a{number}: ${{a{number - 1}}}${{a{number - 1}}}" for number in range(1, 40))
    (tmp_path / "suite.yaml").write_text(f"data: [digits]\na0: xxxxxxxx\n{chain}\n")
    assert "reference" in refused(lambda: load_suite(tmp_path / "suite.yaml"))
    (tmp_path / "list.yaml").write_text("- a\n")
    assert "expected a mapping" in refused(lambda: load_suite(tmp_path / "list.yaml"))


def loop(rounds: int | None, inner: int | None = None) -> Any:
    """A model whose loop adds the image to itself so many times; `inner`: a loop in the loop."""
    from onnx import TensorProto, helper

    body_nodes = [
        helper.make_node("Identity", ["keep"], ["keep_on"]), helper.make_node("Add", ["sum", "sum"], ["total"]),
    ]  # fmt: skip
    if inner is not None:
        innermost = helper.make_graph(
            [helper.make_node("Identity", ["k"], ["k2"]), helper.make_node("Identity", ["s"], ["s2"])], "inner",
            [helper.make_tensor_value_info("i", TensorProto.INT64, []),
             helper.make_tensor_value_info("k", TensorProto.BOOL, []),
             helper.make_tensor_value_info("s", TensorProto.FLOAT, None)],
            [helper.make_tensor_value_info("k2", TensorProto.BOOL, []),
             helper.make_tensor_value_info("s2", TensorProto.FLOAT, None)],
            [],
        )  # fmt: skip
        number = helper.make_tensor("m", TensorProto.INT64, [], [inner])
        body_nodes[1:] = [
            helper.make_node("Constant", [], ["m"], value=number),
            helper.make_node("Loop", ["m", "keep", "sum"], ["total"], body=innermost),
        ]
    body = helper.make_graph(
        body_nodes, "body",
        [helper.make_tensor_value_info("number", TensorProto.INT64, []),
         helper.make_tensor_value_info("keep", TensorProto.BOOL, []),
         helper.make_tensor_value_info("sum", TensorProto.FLOAT, None)],
        [helper.make_tensor_value_info("keep_on", TensorProto.BOOL, []),
         helper.make_tensor_value_info("total", TensorProto.FLOAT, None)],
    )  # fmt: skip
    constants = [helper.make_tensor("true", TensorProto.BOOL, [], [True])]
    constants += [] if rounds is None else [helper.make_tensor("rounds", TensorProto.INT64, [], [rounds])]
    graph = helper.make_graph(
        [helper.make_node("ReduceMean", ["image"], ["mean"], axes=[2, 3], keepdims=0),
         helper.make_node("Loop", ["" if rounds is None else "rounds", "true", "mean"], ["y"], body=body)],
        "g", [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)], constants,
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def test_an_onnx_loop_that_never_ends(tmp_path: Path) -> None:
    import onnx

    def load(model: Any) -> object:
        onnx.save(model, tmp_path / "x.onnx")
        return load_encoder(f"onnx:{tmp_path / 'x.onnx'}", device=torch.device("cpu"))

    assert "4611686018427387904 rounds" in refused(lambda: load(loop(2**62)))
    assert "not fixed" in refused(lambda: load(loop(None)))
    assert "9000000 rounds" in refused(lambda: load(loop(3000, 3000)))
    assert load(loop(3))


def test_pipes_in_a_run_folder_are_not_waited_for(tmp_path: Path) -> None:
    for name in ("results.json", "recipe.yaml", "environment.json", "metrics.jsonl", "damaged.json"):
        os.mkfifo(tmp_path / name)
    (tmp_path / "checkpoints/step-3").mkdir(parents=True)
    for name in ("state.json", "SHA256SUMS", "tensors.safetensors"):
        os.mkfifo(tmp_path / "checkpoints/step-3" / name)
    assert newest_state(tmp_path) is None
    assert "not a regular file" in refused(lambda: load_newest(tmp_path))
    with pytest.raises(OSError, match="not a regular file"):
        read_metrics(tmp_path)
    assert "results.json" in read_run(tmp_path).results_note
    assert "no such file" in refused(lambda: load_recipe(tmp_path / "recipe.yaml"))


def test_pipes_among_shards_and_in_an_export(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "0.tar")
    assert "no images" in refused(lambda: open_source(str(tmp_path)))
    os.mkfifo(tmp_path / "config.json")
    refused(lambda: load_encoder(f"run:{tmp_path}", device=torch.device("cpu")))


def test_json_nested_without_end(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text("[" * 200_000)
    assert "nested too deeply" in read_run(tmp_path).results_note
    (tmp_path / "config.json").write_text("[" * 200_000)
    assert "not a timm config" in refused(lambda: load_encoder(f"run:{tmp_path}", device=torch.device("cpu")))


def test_onnx_functions_that_call_each_other_without_end() -> None:
    """Forty functions that each call the next one twice are 2^40 calls; a number may also come from the caller."""
    from onnx import helper

    from unic.encoders._onnx_loops import endless_loop

    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("f", 1)]

    def function(number: int) -> Any:
        inner = "Identity" if number == 39 else f"f{number + 1}"
        domain = "" if number == 39 else "f"
        nodes = [helper.make_node(inner, ["x"], [name], domain=domain) for name in ("a", "y")]
        return helper.make_function("f", f"f{number}", ["x"], ["y"], nodes, opsets)

    value = helper.make_tensor_value_info("x", 1, [1])
    graph = helper.make_graph([helper.make_node("f0", ["x"], ["y"], domain="f")], "g", [value], [value])
    model = helper.make_model(graph, functions=[function(number) for number in range(40)], opset_imports=opsets)
    begun = time.monotonic()
    assert "functions" in (endless_loop(model) or "")
    assert time.monotonic() - begun < 60


def test_an_onnx_loop_whose_number_the_caller_gives() -> None:
    from onnx import AttributeProto, helper

    from unic.encoders._onnx_loops import endless_loop

    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("f", 1)]
    rounds = helper.make_node("Constant", [], ["n"])
    rounds.attribute.append(AttributeProto(name="value_int", ref_attr_name="count", type=AttributeProto.INT))
    body = loop(1).graph.node[-1].attribute[0].g
    nodes = [rounds, helper.make_node("Loop", ["n", "", "x"], ["y"], body=body, name="theirs")]
    function = helper.make_function("f", "f0", ["x"], ["y"], nodes, opsets, attributes=["count"])
    value = helper.make_tensor_value_info("x", 1, [1])
    node = helper.make_node("f0", ["x"], ["y"], domain="f", count=2**62)
    model = helper.make_model(
        helper.make_graph([node], "g", [value], [value]), functions=[function], opset_imports=opsets
    )
    assert "'theirs'" in (endless_loop(model) or "")
