"""Files of a few kilobytes whose graphs ask for gigabytes are refused before they have them."""

import subprocess
import sys
from pathlib import Path
from typing import Any

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


@pytest.mark.slow
def test_a_tflite_graph_that_asks_for_gigabytes() -> None:
    @tf.function(input_signature=[tf.TensorSpec([1, 2**14], tf.float32)])
    def much(x: tf.Tensor) -> tf.Tensor:
        return tf.reduce_max(tf.matmul(x, x, transpose_a=True))

    converter = tf.lite.TFLiteConverter.from_concrete_functions([much.get_concrete_function()])
    interpreter = tflite_file.open_interpreter(model_content=converter.convert())
    with pytest.raises(ModelError, match=r"hostile cannot be used as a TFLite model: its tensor .* \[16384, 16384\]"):
        tflite_file.refuse_large_tensors(interpreter, "hostile")
