"""ONNX graphs whose weights stand in a file of their own, so that neither ever has to fit into 2 GB.

A graph that is frozen holds its weights, and no protocol buffer holds more than 2 GB. So the graph is converted with
its weights as inputs, and these inputs then become initializers that say where in the file their numbers stand. Several
graphs may point into one file.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import tensorflow as tf

from switch_tf.errors import ExportError
from switch_tf.export.onnx_file.conversion import TF2ONNX_OPSET, quiet_tf2onnx
from switch_tf.export.onnx_file.passes import merge, refuse_foreign_operators, rename_values

_ALIGNMENT = 4096  # bytes: a runtime can map a weight that begins a page
_PREFIX = "weights/"


def write_weights(path: Path, variables: Sequence[tf.Variable]) -> dict[str, tuple[int, int]]:
    """Write float32 variables one behind the other; where each begins, and how many bytes it has, by name."""
    places = {}
    with path.open("wb") as stream:
        for variable in variables:
            stream.write(bytes(-stream.tell() % _ALIGNMENT))
            content = np.ascontiguousarray(variable.numpy(), "<f4")
            places[_name(variable)] = (stream.tell(), content.nbytes)
            stream.write(content.data)
    return places


def convert(
    function: Callable[..., dict[str, tf.Tensor]],
    signature: Sequence[tf.TensorSpec],
    axes: dict[str, Sequence[str | int]],
    location: str,
    places: dict[str, tuple[int, int]],
    front_end: onnx.ModelProto | None = None,
) -> onnx.ModelProto:
    """The ONNX model of a function, whose inputs and outputs keep their names.

    Args:
        function: from tensors of the signature to outputs by name.
        signature: named.
        axes: of every input and output, what each axis is called or how long it is.
        location: the file of `write_weights`, as seen from where the model will stand.
        places: what that returned.
        front_end: a model whose one output is the function's one input; what that takes then goes in instead.

    Raises:
        ExportError: an operator has no standard ONNX counterpart.
    """
    traced = tf.function(function, input_signature=list(signature), autograph=False)
    concrete = traced.get_concrete_function()
    graph, used = _with_weights_as_inputs(concrete)
    inputs = [spec.name for spec in signature]
    outputs = {name: tensor.name for name, tensor in concrete.structured_outputs.items()}
    converted = _to_onnx(graph, [f"{name}:0" for name in [*inputs, *used]], list(outputs.values()))
    _rename(converted, {f"{name}:0": name for name in [*inputs, *used]} | {old: new for new, old in outputs.items()})
    if front_end is not None:
        (name,) = inputs
        converted = merge(
            front_end, rename_values(converted, {name: f"classifier/{name}"}), (name, f"classifier/{name}")
        )
    _point_to_weights(converted, used, location, places)
    _name_axes(converted, axes)
    return converted


def _name(variable: tf.Variable) -> str:
    return f"{_PREFIX}{variable.name.removesuffix(':0')}"


def _with_weights_as_inputs(concrete: Any) -> tuple[Any, dict[str, tf.Variable]]:
    """The graph with a placeholder for each variable that it reads, and these variables by the placeholder's name."""
    by_handle = {id(variable.handle): variable for variable in concrete.graph.variables}
    resources = {
        internal.op.name: by_handle[id(external)]
        for external, internal in concrete.graph.captures
        if id(external) in by_handle
    }
    used = {_name(variable): variable for variable in resources.values()}
    graph = concrete.graph.as_graph_def()
    kept = []
    for node in graph.node:
        variable = resources.get(node.input[0].split(":")[0]) if node.input else None
        if node.name in resources:
            continue
        if variable is not None and node.op == "ReadVariableOp":
            _become(node, "Identity", [_name(variable)], T=variable.dtype)
        elif variable is not None and node.op == "ResourceGather":
            axis = f"{node.name}/axis"
            kept.append(_constant(axis, 0))
            types = {"Tparams": variable.dtype, "Tindices": tf.as_dtype(node.attr["Tindices"].type), "Taxis": tf.int32}
            _become(node, "GatherV2", [_name(variable), node.input[1], axis], **types)
        elif variable is not None and node.op != "NoOp":
            raise ExportError(f"The graph uses a weight by {node.op}, which cannot be exported. Please report it.")
        kept.append(node)
    with tf.Graph().as_default() as placeholders:
        for name, variable in used.items():
            tf.compat.v1.placeholder(variable.dtype, variable.shape, name)
    changed = tf.compat.v1.GraphDef(versions=graph.versions)
    changed.node.extend([*placeholders.as_graph_def().node, *kept])
    return changed, used


def _become(node: Any, operator: str, inputs: list[str], **types: tf.DType) -> None:
    """Turn a node into one of another operator."""
    del node.input[:]
    node.input.extend(inputs)
    node.op = operator
    node.attr.clear()
    for name, dtype in types.items():
        node.attr[name].type = dtype.as_datatype_enum


def _constant(name: str, value: int) -> Any:
    with tf.Graph().as_default() as graph:
        tf.constant(value, tf.int32, name=name)
    return graph.as_graph_def().node[0]


def _to_onnx(graph: Any, inputs: list[str], outputs: list[str]) -> onnx.ModelProto:
    with quiet_tf2onnx() as converter:
        converted, _ = converter.from_graph_def(graph, input_names=inputs, output_names=outputs, opset=TF2ONNX_OPSET)
    return refuse_foreign_operators(converted)


def _rename(model: onnx.ModelProto, names: dict[str, str]) -> None:
    """Rename values in place."""
    graph = model.graph
    for node in graph.node:
        for values in (node.input, node.output):
            values[:] = [names.get(each, each) for each in values]
    for value in (*graph.input, *graph.output, *graph.value_info):
        value.name = names.get(value.name, value.name)


def _point_to_weights(
    model: onnx.ModelProto, used: dict[str, tf.Variable], location: str, places: dict[str, tuple[int, int]]
) -> None:
    """Make initializers of the inputs that stand for weights."""
    inputs = [value for value in model.graph.input if value.name not in used]
    read = {name for node in model.graph.node for name in node.input}
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    for name, variable in used.items():
        if name not in read:
            continue
        tensor = model.graph.initializer.add(name=name, data_type=onnx.TensorProto.FLOAT, dims=list(variable.shape))
        tensor.data_location = onnx.TensorProto.EXTERNAL
        offset, length = places[name]
        for key, value in (("location", location), ("offset", str(offset)), ("length", str(length))):
            tensor.external_data.add(key=key, value=value)


def _name_axes(model: onnx.ModelProto, axes: dict[str, Sequence[str | int]]) -> None:
    """Say what each axis of an input or output is called, or how long it is."""
    for value in (*model.graph.input, *model.graph.output):
        shape = value.type.tensor_type.shape
        del shape.dim[:]
        for axis in axes[value.name]:
            shape.dim.add(**({"dim_param": axis} if isinstance(axis, str) else {"dim_value": axis}))
    del model.graph.value_info[:]
