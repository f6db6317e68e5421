"""Does a GPU run all of a graph? ONNX Runtime's CUDA provider leaves to the CPU what it has no kernel for.

Each such node costs two copies between the memories, silently. A machine without a GPU cannot show where nodes run, but
the provider's kernels are a matter of record: one is used if it was registered for the operator's version and for all
types that the node has. A kernel "from 13 on" is one for version 13 alone until somebody looks at the next: at opset 20
`Equal` has version 19, and no kernel. That is why graphs of numbers stay at opset 18.

Source: ONNX Runtime's docs/OperatorKernels.md, section CUDAExecutionProvider, as of commit 001d12d2; the rule for
versions is that of its kernel registry. Nothing here was run on a GPU.
"""

from collections.abc import Iterator
from typing import NamedTuple

import onnx
from onnx import TensorProto

from switch_tf.errors import ExportError
from switch_tf.export.onnx_file.passes import nodes

_FLOATS = frozenset({"float", "float16", "double"})
_INDICES = frozenset({"int32", "int64"})
_BOOL = frozenset({"bool"})
_ORDERED = _FLOATS | _INDICES | {"uint32", "uint64"}
_NUMBERS = _ORDERED | {"int8", "int16", "uint8", "uint16"}
_ANY = _NUMBERS | _BOOL


class Kernel(NamedTuple):
    """Versions of an operator that the provider has, and the types for each type parameter of the operator's schema."""

    first: int
    last: int | None  # None: open, which means `first` alone
    types: dict[str, frozenset[str]]


_KERNELS = {
    **dict.fromkeys(("Add", "Sub", "Mul", "Div"), Kernel(14, None, {"T": _NUMBERS})),
    **dict.fromkeys(("And", "Or"), Kernel(7, None, {"T": _BOOL})),
    **dict.fromkeys(("Equal",), Kernel(13, None, {"T": _ORDERED | _BOOL})),
    **dict.fromkeys(("Greater", "Less"), Kernel(13, None, {"T": _ORDERED})),
    **dict.fromkeys(("GreaterOrEqual", "LessOrEqual"), Kernel(16, None, {"T": _ORDERED})),
    **dict.fromkeys(("Max", "Min", "Mod"), Kernel(13, None, {"T": _ORDERED})),
    **dict.fromkeys(("Erf", "MatMul", "Gemm", "Sigmoid", "Softmax", "Sqrt", "Tanh"), Kernel(13, None, {"T": _FLOATS})),
    **dict.fromkeys(("Squeeze", "Transpose", "Unsqueeze"), Kernel(13, 20, {"T": _ANY})),
    **dict.fromkeys(("Concat", "Expand"), Kernel(13, None, {"T": _ANY})),
    **dict.fromkeys(("Gather", "GatherElements", "Slice"), Kernel(13, None, {"T": _ANY, "Tind": _INDICES})),
    "ArgMax": Kernel(13, None, {"T": _FLOATS}),
    "Cast": Kernel(13, 20, {"T1": _ANY, "T2": _ANY}),
    "ConstantOfShape": Kernel(9, None, {"T1": frozenset({"int64"}), "T2": _ANY}),
    "CumSum": Kernel(14, None, {"T": _ORDERED, "T2": _INDICES}),
    "GatherND": Kernel(13, None, {"T": _FLOATS | _BOOL | {"int64"}}),
    "Neg": Kernel(13, None, {"T": _FLOATS | {"int8", "int16", "int32", "int64"}}),
    "Not": Kernel(1, None, {"T": _BOOL}),
    "OneHot": Kernel(11, None, {"T1": _INDICES, "T2": _INDICES, "T3": frozenset({"float", "float16", "int64"})}),
    "Pad": Kernel(18, None, {"T": _FLOATS | _BOOL}),
    "Reciprocal": Kernel(13, None, {"T": _FLOATS}),
    "ReduceMax": Kernel(18, None, {"T": _FLOATS | _INDICES}),
    "ReduceMean": Kernel(18, None, {"T": _FLOATS | {"int32"}}),
    "ReduceSum": Kernel(13, None, {"T": _FLOATS | _INDICES}),
    "Relu": Kernel(14, None, {"T": _FLOATS}),
    "Reshape": Kernel(14, 20, {"T": _ANY}),
    "ScatterND": Kernel(18, None, {"T": _ANY}),
    "TopK": Kernel(11, None, {"T": _FLOATS | _INDICES}),
    "Where": Kernel(16, None, {"B": _BOOL, "T": _FLOATS | _INDICES | {"uint8"}}),
}


def refuse_cpu_operators(model: onnx.ModelProto) -> onnx.ModelProto:
    """A graph with a fixed batch that the CUDA provider runs whole, by its table of kernels.

    Raises:
        ExportError: it would leave operators to the CPU; the message names each with its types.
    """
    left = sorted(set(cpu_operators(model)))
    if left:
        raise ExportError(
            f"ONNX Runtime's CUDA provider would leave this to the CPU: {', '.join(left)}. "
            "Export with any batch for a model that runs on the CPU, and please report it.",
            argument="batch",
        )
    return model


def cpu_operators(model: onnx.ModelProto) -> Iterator[str]:
    """The nodes that the CUDA provider has no kernel for, as "Equal 19" or "GatherND 13 T=int32"."""
    types = _value_types(onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph)
    opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    for node in nodes(model.graph):
        if node.domain not in ("", "ai.onnx"):
            yield f"{node.domain}.{node.op_type}"
            continue
        schema = onnx.defs.get_schema(node.op_type, opset, "")
        name, kernel = f"{node.op_type} {schema.since_version}", _KERNELS.get(node.op_type)
        if kernel is None or not kernel.first <= schema.since_version <= (kernel.last or kernel.first):
            yield name
            continue
        for values, parameters in ((node.input, schema.inputs), (node.output, schema.outputs)):
            for place, value in enumerate(values):
                parameter = parameters[min(place, len(parameters) - 1)].type_str  # the last one may be variadic
                if value and parameter in kernel.types and types.get(value) not in kernel.types[parameter]:
                    yield f"{name} {parameter}={types.get(value)}"


def _value_types(graph: onnx.GraphProto) -> dict[str, str]:
    """The element type of every value of the main graph, spelled as in the table."""
    values = [*graph.input, *graph.output, *graph.value_info]
    types = {value.name: value.type.tensor_type.elem_type for value in values}
    types |= {tensor.name: tensor.data_type for tensor in graph.initializer}
    return {name: TensorProto.DataType.Name(kind).lower() for name, kind in types.items()}
