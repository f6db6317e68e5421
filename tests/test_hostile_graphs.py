"""Files of a few kilobytes whose graphs ask for gigabytes are refused before they have them."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tensorflow as tf
from conftest import sealed_onnx
from onnx import TensorProto, helper

from switch_tf.artifacts import tflite_file
from switch_tf.errors import ModelError
from switch_tf.export.onnx_file.format import OnnxFormat
from switch_tf.export.options import ExportOptions
from switch_tf.export.proof.gate import load_exported
from switch_tf.export.tflite_file.conversion import convert_functions
from switch_tf.runs.folder import open_run

# A sixteenth of what there may be, so that the test itself takes little.
CHILD = """
from pathlib import Path
from switch_tf.artifacts import onnx_file
from switch_tf.errors import ModelError
onnx_file._MEMORY_LIMIT //= 16
try:
    onnx_file.OnnxPredictor(Path("hostile.onnx")).probabilities(["a film"])
except ModelError as error:
    print(" ".join(str(error).split()))
print(onnx_file.OnnxPredictor(Path("healthy.onnx")).probabilities(["a film"]).shape)
(peak,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print(int(peak.split()[1]) // 1024)
"""


@pytest.fixture(scope="module")
def content(trained_run: Any) -> bytes:
    run = open_run(trained_run)
    return OnnxFormat().build(run, load_exported(run), ExportOptions("onnx"))


def constant(size: str) -> list[onnx.NodeProto]:
    return [helper.make_node("ConstantOfShape", [size], ["much"], value=helper.make_tensor("v", 1, [1], [0.0]))]


def doubled(size: str) -> list[onnx.NodeProto]:
    """A loop that doubles what it has, 40 times."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["go_on"]),
            helper.make_node("Concat", ["before", "before"], ["after"], axis=0),
        ],
        "body",
        [
            helper.make_tensor_value_info("number", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("before", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("after", TensorProto.FLOAT, None),
        ],
    )
    del size
    return [helper.make_node("Loop", ["forty", "", "zero"], ["much"], body=body)]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="this system tells no peak of memory")
@pytest.mark.parametrize("nodes", [constant, doubled])
def test_an_onnx_graph_that_asks_for_gigabytes(content: bytes, nodes: Any, tmp_path: Path) -> None:
    model = onnx.load_from_string(content)
    for node in model.graph.node:
        for place, name in enumerate(node.output):
            if name == "probabilities":
                node.output[place] = "answer"
    model.graph.initializer.extend(
        [
            helper.make_tensor("size", TensorProto.INT64, [1], [2**34]),
            helper.make_tensor("forty", TensorProto.INT64, [], [40]),
            helper.make_tensor("zero", TensorProto.FLOAT, [1], [0.0]),
        ]
    )
    model.graph.node.extend(
        [
            *nodes("size"),
            helper.make_node("ReduceMax", ["much"], ["none"], keepdims=0),
            helper.make_node("Add", ["answer", "none"], ["probabilities"]),
        ]
    )
    (tmp_path / "healthy.onnx").write_bytes(content)
    (tmp_path / "hostile.onnx").write_bytes(sealed_onnx(model))
    done = subprocess.run([sys.executable, "-c", CHILD], cwd=tmp_path, capture_output=True, check=False, text=True)
    assert done.returncode == 0, done.stderr
    refusal, room, megabytes = done.stdout.splitlines()
    assert refusal.startswith("ONNX Runtime does not run hostile.onnx: ") and "vailable memory" in refusal
    assert room == "(1, 2)" and int(megabytes) < 700


def little(x: tf.Tensor) -> dict[str, tf.Tensor]:
    return {"y": tf.reduce_max(x, axis=1)}


def much(x: tf.Tensor) -> dict[str, tf.Tensor]:
    return {"y": tf.reduce_max(tf.matmul(x, x, transpose_a=True), axis=1)}


def converted(width: int, *functions: Any, precision: Any = "float32") -> bytes:
    """A TFLite file with a signature for each function of float32 [batch, width]."""
    signature = [tf.TensorSpec([None, width], tf.float32)]
    signatures = {each.__name__: tf.function(each, signature, autograph=False) for each in functions}
    return convert_functions([], signatures, precision)


@pytest.mark.slow
@pytest.mark.parametrize("functions", [(much, little), (little, much)])
def test_a_tflite_graph_that_asks_for_gigabytes(functions: Any) -> None:
    content = converted(2**14, *functions)
    interpreter = tflite_file.open_interpreter(model_content=content)
    with pytest.raises(ModelError, match=r"hostile cannot be used as a TFLite model: its tensor .* \[16384, 16384\]"):
        tflite_file.refuse_large_tensors(interpreter, content, "hostile")


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_weights_that_are_as_large_as_a_file_holds(
    precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For 98 MB of embeddings within 4 GiB stand 256 KiB within 1 MiB; float16 is made float32 before it is used."""
    table = np.random.default_rng(0).normal(size=[2**13, 8]).astype(np.float32)

    def embed(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": tf.gather(table, tf.cast(x, tf.int32))}  # [batch, 16, 8]

    content = converted(16, embed, precision=precision)
    path = tmp_path / "model.tflite"
    path.write_bytes(content)
    interpreter = tflite_file.open_interpreter(model_content=content)
    monkeypatch.setattr(tflite_file, "_MEMORY_LIMIT", 2**20)
    for source in (content, path):
        tflite_file.refuse_large_tensors(interpreter, source, "honest")
    with pytest.raises(ModelError, match=r"its tensor .* \[1, 16, 8\]"):  # which grows
        tflite_file.refuse_large_tensors(interpreter, content, "honest", batch=2**12)
    monkeypatch.setattr(tflite_file, "_MEMORY_LIMIT", 2**17)
    with pytest.raises(ModelError, match=r"its tensor .* \[8192, 8\]"):
        tflite_file.refuse_large_tensors(interpreter, path, "honest", batch=1)
