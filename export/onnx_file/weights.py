"""A smaller ONNX file: large weights stored in int8 or float16, and made float32 again inside the graph.

Storage changes, arithmetic does not, for two reasons. ONNX Runtime's own dynamic quantization finds the scale of
activations over the whole batch, so that a text's answer changes with its batch-mates: by up to 2.6e-2 in probability,
where this file's answers vary by 1e-7. And routing stays what it was but for the rounding of weights.

    int8      weight = Mul(Cast(stored), scale), one scale for each output column of each expert
    float16   weight = Cast(stored)

Runtimes fold this into plain float32 weights when they load the file. Rows of the embedding table are made float32
after they were looked up, so that the table stays small in memory as well. Router weights keep float32: a rounding
there would send tokens to other experts.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from switch_tf.export.options import Precision

_SMALLEST = 1024  # elements: below it the added nodes outweigh what is saved
_WHOLE = {"MatMul": 1, "Gemm": 1, "Split": 0}  # operators that use all of a weight, and the place of that input
_LARGEST_INT8 = 127  # the range is symmetric, so that 0 stays 0


def store_weights(model: onnx.ModelProto, precision: Precision, kept: Sequence[np.ndarray] = ()) -> onnx.ModelProto:
    """A copy of a float32 model with its matrices and tables stored in `precision`, all but those equal to `kept`."""
    stored = onnx.ModelProto()
    stored.CopyFrom(model)
    if precision == "float32":
        return stored
    weights = {tensor.name: tensor for tensor in stored.graph.initializer if _is_large(tensor, kept)}
    scales: dict[str, str] = {}  # by name of the weight
    nodes: list[onnx.NodeProto] = []
    for node in stored.graph.node:
        before: list[onnx.NodeProto] = []
        after: list[onnx.NodeProto] = []
        if node.op_type == "Gather" and node.input[0] in weights:
            name, found = node.input[0], node.output[0]
            scales[name] = _shrink(stored, weights[name], precision, scales)
            node.output[0] = node.name = f"{found}/stored"
            after += _restore(node.output[0], scales[name], found)
        place = _WHOLE.get(node.op_type)
        if place is not None and node.input[place] in weights:
            name = node.input[place]
            node.input[place] = f"{name}/float32"
            if name not in scales:  # else an earlier node has it restored
                scales[name] = _shrink(stored, weights[name], precision, scales)
                before += _restore(name, scales[name], node.input[place])
        nodes += [*before, node, *after]
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]  # they live in the list to clear
    del stored.graph.node[:], stored.graph.value_info[:]
    stored.graph.node.extend(nodes)
    return stored


def _is_large(tensor: onnx.TensorProto, kept: Sequence[np.ndarray]) -> bool:
    if tensor.data_type != TensorProto.FLOAT or len(tensor.dims) < 2 or np.prod(tensor.dims) < _SMALLEST:
        return False
    values = numpy_helper.to_array(tensor)
    return not any(np.array_equal(values, each) for each in kept)


def _shrink(model: onnx.ModelProto, weight: onnx.TensorProto, precision: Precision, scales: dict[str, str]) -> str:
    """Replace a weight by its stored form, once; the name of its scale, "" where it has none."""
    if weight.name in scales:
        return scales[weight.name]
    values = numpy_helper.to_array(weight)  # [..., in, out]
    if precision == "float16":
        weight.CopyFrom(numpy_helper.from_array(values.astype(np.float16), weight.name))
        return ""
    scale = np.max(np.abs(values), axis=-2, keepdims=True) / _LARGEST_INT8  # [..., 1, out]
    scale = np.where(scale == 0, 1, scale).astype(np.float32)
    weight.CopyFrom(numpy_helper.from_array(np.round(values / scale).astype(np.int8), weight.name))
    model.graph.initializer.append(numpy_helper.from_array(scale, f"{weight.name}/scale"))
    return f"{weight.name}/scale"


def _restore(stored: str, scale: str, restored: str) -> Iterator[onnx.NodeProto]:
    """The nodes that make float32 of a stored value."""
    if not scale:
        yield helper.make_node("Cast", [stored], [restored], name=restored, to=TensorProto.FLOAT)
        return
    yield helper.make_node("Cast", [stored], [f"{restored}/cast"], name=f"{restored}/cast", to=TensorProto.FLOAT)
    yield helper.make_node("Mul", [f"{restored}/cast", scale], [restored], name=restored)
