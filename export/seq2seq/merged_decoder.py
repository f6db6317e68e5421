"""Both decoder graphs in one, `decoder_model_merged.onnx`, as optimum loads it: `If` chooses between them.

    use_cache_branch: bool [1]; the inputs of both graphs -> logits, present.N.decoder.key, ..., present.N.encoder.value

True is a later step, which answers the keys and values of the text as they came in; False the first, which does not
look at `past_key_values`. The weights stand once, outside of both branches, and in the file that all graphs point into.
"""

from collections.abc import Iterable, Mapping

import onnx
from onnx import TensorProto, helper

BRANCH = "use_cache_branch"


def merge(first: onnx.ModelProto, later: onnx.ModelProto) -> onnx.ModelProto:
    """One model of the graphs of the first step and of a later one, which stay as they are.

    Their weights must have the same names in both, and whatever has a name in both must be the same input.
    """
    weights = {each.name: each for model in (first, later) for each in model.graph.initializer if _is_weight(each)}
    inputs = {each.name: _as_given(each) for model in (first, later) for each in model.graph.input}
    outputs = [each.name for each in first.graph.output]
    shared = {*weights, *inputs}
    then_branch = _branch(later.graph, "later", outputs, shared)
    else_branch = _branch(first.graph, "first", outputs, shared)
    choice = helper.make_node("If", [BRANCH], outputs, name="step", then_branch=then_branch, else_branch=else_branch)
    flag = helper.make_tensor_value_info(BRANCH, TensorProto.BOOL, [1])
    graph = helper.make_graph(
        [choice], "decoder", [*inputs.values(), flag], list(first.graph.output), list(weights.values())
    )
    merged = helper.make_model(graph, opset_imports=first.opset_import, producer_name=first.producer_name)
    merged.ir_version = first.ir_version
    return merged


def _is_weight(tensor: onnx.TensorProto) -> bool:
    return tensor.data_location == TensorProto.EXTERNAL


def _as_given(value: onnx.ValueInfoProto) -> onnx.ValueInfoProto:
    """An input; of what the first step does not look at, optimum makes up a width from other settings than d_kv."""
    given = onnx.ValueInfoProto()
    given.CopyFrom(value)
    if given.name.startswith("past_key_values"):
        given.type.tensor_type.shape.dim[3].dim_param = "head_width"
    return given


def _branch(graph: onnx.GraphProto, prefix: str, outputs: Iterable[str], shared: set[str]) -> onnx.GraphProto:
    """A graph as a branch: it takes nothing, and its own names are its own; an output that it lacks is passed on."""
    branch = onnx.GraphProto(name=prefix)
    own = {name: f"{prefix}/{name}" for name in _own_names(graph) - shared}
    for node in graph.node:
        branch.node.append(_renamed(node, own, prefix))
    for tensor in graph.initializer:
        if not _is_weight(tensor):
            branch.initializer.add().CopyFrom(tensor)
            branch.initializer[-1].name = own[tensor.name]
    types = {each.name: each for each in graph.output}
    for name in outputs:
        if name not in types:
            past = name.replace("present", "past_key_values")
            branch.node.append(helper.make_node("Identity", [past], [f"{prefix}/{name}"]))
        described = branch.output.add(name=f"{prefix}/{name}")
        described.type.tensor_type.elem_type = TensorProto.FLOAT
    return branch


def _own_names(graph: onnx.GraphProto) -> set[str]:
    """Of all values that a graph makes, and of what it holds."""
    return {name for node in graph.node for name in node.output if name} | {each.name for each in graph.initializer}


def _renamed(node: onnx.NodeProto, names: Mapping[str, str], prefix: str) -> onnx.NodeProto:
    """A copy of a node with other names for values; none of ours has branches of its own."""
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    copy.name = f"{prefix}/{node.name}"
    copy.input[:] = [names.get(each, each) for each in node.input]
    copy.output[:] = [names.get(each, each) for each in node.output]
    return copy
