"""What an ONNX file stores, read from the file itself: weights, tables of the front-ends, and the names of classes."""

import json
from collections.abc import Iterator

import numpy as np
import onnx
from onnx import numpy_helper

from switch_tf.export.onnx_file import passes
from switch_tf.export.proof.readback import Holds, Part, Stored
from switch_tf.text.spec import FIRST_WORD_ID

_HOLDS: dict[str, frozenset[Holds]] = {
    "text": frozenset({"weights", "words", "threshold"}),
    "ids": frozenset({"weights", "words", "threshold"}),
    "bytes": frozenset({"weights", "bytes", "threshold"}),
}


def read_part(model: onnx.ModelProto, door: str) -> Part:
    """All constants that an operator uses; int8 ones with the scale that they are multiplied by."""
    return Part("", _HOLDS[door], list(_stored(model)), _words(model))


def spoken_labels(model: onnx.ModelProto) -> list[str] | None:
    """The class names that the output `label` is looked up in; None where it is an index."""
    for node in model.graph.node:
        if node.op_type == "Gather" and node.output[0] == "label":
            for tensor in model.graph.initializer:
                if tensor.name == node.input[0]:
                    return [name.decode("utf-8", "replace") for name in tensor.string_data]
    return None


def _stored(model: onnx.ModelProto) -> Iterator[Stored]:
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    used = {name for node in passes.nodes(model.graph) for name in node.input}
    scales = dict(_scales(model))
    for name, tensor in constants.items():
        if name in used and tensor.data_type != onnx.TensorProto.STRING:
            scale = constants.get(scales.get(name, ""))
            yield Stored(name, numpy_helper.to_array(tensor), None if scale is None else numpy_helper.to_array(scale))


def _scales(model: onnx.ModelProto) -> Iterator[tuple[str, str]]:
    """By name of an int8 constant, the name of what multiplies it once it is float32, before or after a look-up."""
    users: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.INT8:
            value = tensor.name
            for operators in (("Cast", "Gather"), ("Cast", "Mul"), ("Mul",)):
                node = next((each for each in users.get(value, ()) if each.op_type in operators), None)
                if node is None:
                    break
                if node.op_type == "Mul":
                    yield tensor.name, next(name for name in node.input if name != value)
                    break
                value = node.output[0]


def _words(model: onnx.ModelProto) -> dict[str, int] | None:
    """What the string front-end's table says, or the vocabulary in the metadata of a graph that takes ids."""
    for node in passes.nodes(model.graph):
        if node.op_type == "LabelEncoder":
            table = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
            keys = [key.decode("utf-8", "replace") for key in table.get("keys_strings", ())]
            return dict(zip(keys, np.asarray(table.get("values_int64s", ())).tolist(), strict=False))
    for entry in model.metadata_props:
        if entry.key == "vocabulary":
            return {word: number for number, word in enumerate(json.loads(entry.value), FIRST_WORD_ID)}
    return None
