"""Files of a few kilobytes whose graphs ask for gigabytes are refused before they have them."""

import resource
from typing import Any

import numpy as np
import onnx
import pytest
import tensorflow as tf
from conftest import sealed_onnx
from onnx import TensorProto, helper

from switch_tf.artifacts import tflite_file
from switch_tf.artifacts.onnx_file import OnnxPredictor
from switch_tf.errors import ModelError
from switch_tf.export.onnx_file.format import OnnxFormat
from switch_tf.export.options import ExportOptions
from switch_tf.export.proof.gate import load_exported
from switch_tf.runs.folder import open_run


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
@pytest.mark.parametrize("nodes", [constant, doubled])
def test_an_onnx_graph_that_asks_for_gigabytes(content: bytes, nodes: Any) -> None:
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
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ModelError, match="ONNX Runtime does not run hostile"):
        OnnxPredictor(sealed_onnx(model), path="hostile").probabilities(["a film"])
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 4.5 * 2**20  # kB
    assert OnnxPredictor(content).probabilities(["a film"]).shape == (1, 2)  # there is room again


@pytest.mark.slow
def test_a_tflite_graph_that_asks_for_gigabytes() -> None:
    size = 2**16
    ones = tf.constant(np.ones([size, 1], np.float32))

    @tf.function(input_signature=[tf.TensorSpec([1, 1], tf.float32)])
    def much(x: tf.Tensor) -> tf.Tensor:
        return tf.reduce_max(tf.matmul(ones * x, ones, transpose_b=True))

    converter = tf.lite.TFLiteConverter.from_concrete_functions([much.get_concrete_function()])
    interpreter = tflite_file.open_interpreter(model_content=converter.convert())
    with pytest.raises(ModelError, match=r"hostile cannot be used as a TFLite model: its tensor .* \[65536, 65536\]"):
        tflite_file._refuse_large_tensors(interpreter, "hostile")
