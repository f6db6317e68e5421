"""Passes over TFLite files, on a small graph that the converter itself wrote."""

import tempfile

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from switch_tf.errors import ExportError
from switch_tf.export.tflite_file import flatbuffer as tflite_file

POSITIONS = np.random.default_rng(0).normal(size=[64, 32]).astype(np.float32)
SMALL = np.random.default_rng(1).normal(size=[32]).astype(np.float32)


@pytest.fixture(scope="module")
def content() -> bytes:
    """Two signatures that add the same table of 2,048 numbers, and one of 32."""
    module = tf.Module()
    module.positions, module.small = tf.Variable(POSITIONS), tf.Variable(SMALL)
    spec = tf.TensorSpec([None, 64, 32], tf.float32, name="x")
    one = tf.function(lambda x: {"y": (x + module.positions) * module.small}, input_signature=[spec])
    two = tf.function(lambda x: {"y": x * 2.0 + module.positions}, input_signature=[spec])
    module.one, module.two = one, two
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder, signatures={"one": one, "two": two})
        return tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=["one", "two"]).convert()


def ask(content: bytes, name: str, x: np.ndarray) -> np.ndarray:
    return Interpreter(model_content=content).get_signature_runner(name)(x=x)["y"]


def test_large_constants_are_stored_once_in_int8_and_added_as_numbers(content: bytes) -> None:
    model = tflite_file.unpack(content)
    tflite_file.store_constants_in_int8(model)
    smaller = tflite_file.pack(model, {})
    assert len(content) - len(smaller) > 0.6 * 4 * POSITIONS.size - 1000
    sizes = sorted(len(each.data) for each in model.buffers if each.data is not None and len(each.data) > 100)
    assert sizes == [4 * SMALL.size, POSITIONS.size]
    x = np.random.default_rng(2).normal(size=[3, 64, 32]).astype(np.float32)
    scale = np.abs(POSITIONS).max() / 127
    for name, expected in {"one": (x + POSITIONS) * SMALL, "two": 2 * x + POSITIONS}.items():
        off = np.abs(ask(smaller, name, x) - expected)
        assert 0 < off.max() <= scale / 2 * max(1.0, np.abs(SMALL).max()) * 1.001


def test_constants_of_zeros_stay_zero(content: bytes) -> None:
    model = tflite_file.unpack(content)
    for buffer in model.buffers:
        if buffer.data is not None and len(buffer.data) == 4 * POSITIONS.size:
            buffer.data = np.zeros_like(buffer.data)
    tflite_file.store_constants_in_int8(model)
    x = np.ones([1, 64, 32], np.float32)
    np.testing.assert_array_equal(ask(tflite_file.pack(model, {}), "two", x), 2 * x)


def test_what_is_shed_changes_no_answer(content: bytes) -> None:
    model = tflite_file.unpack(content)
    tflite_file.shed(model)
    lighter = tflite_file.pack(model, {})
    assert len(lighter) < len(content)
    for graph in model.subgraphs:
        for index, tensor in enumerate(graph.tensors):
            assert bool(tensor.name) == (index in {*graph.inputs.tolist(), *graph.outputs.tolist()})
    assert len([each for each in model.buffers if each.data is None]) == 1
    x = np.random.default_rng(2).normal(size=[3, 64, 32]).astype(np.float32)
    for name in ("one", "two"):
        np.testing.assert_array_equal(ask(lighter, name, x), ask(content, name, x))


def test_facts_and_files_can_be_read_back(content: bytes) -> None:
    model = tflite_file.unpack(content)
    tflite_file.describe(model, "What it is.", {"labels": '["é"]', "none": ""})
    described = tflite_file.pack(model, {"a.txt": "é\n"})
    facts = tflite_file.read_facts(described)
    assert facts["labels"] == '["é"]' and facts["none"] == ""
    assert tflite_file.unpack(described).description == b"What it is."
    assert ask(described, "one", np.zeros([1, 64, 32], np.float32)).shape == (1, 64, 32)
    with pytest.raises(ValueError, match="does not begin"):
        tflite_file.read_facts(b"PK" + described)


def test_operators_are_named_and_custom_ones_refused(content: bytes) -> None:
    model = tflite_file.unpack(content)
    assert tflite_file.operators(model) == ["ADD", "MUL"]
    tflite_file.refuse_foreign_operators(model)
    model.operatorCodes[0].customCode = b"FlexStringSplit"
    with pytest.raises(ExportError, match="not built into TFLite: FlexStringSplit"):
        tflite_file.refuse_foreign_operators(model)
