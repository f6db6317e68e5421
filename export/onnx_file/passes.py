"""Small graph passes between what tf2onnx writes and what ONNX Runtime is given, each doing one thing.

A pass takes a model and returns one, or raises `ExportError`; the order is in `switch_tf.export.onnx_file.build`.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import onnx
from onnx import TensorProto, compose, helper, numpy_helper, version_converter

from switch_tf.errors import ExportError

BATCH = "batch"
STANDARD_DOMAINS = ("", "ai.onnx", "ai.onnx.ml")


def to_opset(model: onnx.ModelProto, opsets: dict[str, int], ir_version: int) -> onnx.ModelProto:
    """The same model in later sets of standard operators, as `merge` needs both its models in the same ones.

    Raises:
        ExportError: an operator has no counterpart there.
    """
    try:
        same = any(entry.domain == "" and entry.version == opsets[""] for entry in model.opset_import)
        converted = model if same else version_converter.convert_version(model, opsets[""])
    except (RuntimeError, IndexError, version_converter.ConvertError) as error:  # IndexError: onnx up to 1.22
        raise ExportError(f"The graph cannot be brought to opset {opsets['']}: {error}. Please report it.") from error
    converted.ir_version = ir_version
    return with_opsets(converted, opsets)


def with_opsets(model: onnx.ModelProto, opsets: dict[str, int]) -> onnx.ModelProto:
    """State each operator set once: converting and merging leave several entries for one domain."""
    del model.opset_import[:]
    model.opset_import.extend(helper.make_opsetid(domain, version) for domain, version in opsets.items())
    return model


def name_batch(model: onnx.ModelProto, batch: int | None) -> onnx.ModelProto:
    """Give the first dimension of every input and output the name "batch", or the fixed size `batch`.

    Raises:
        ExportError: another dimension is dynamic.
    """
    for value in [*model.graph.input, *model.graph.output]:
        first, *others = value.type.tensor_type.shape.dim
        if batch is None:
            first.dim_param = BATCH
        else:
            first.dim_value = batch
        dynamic = [dim for dim in others if not dim.HasField("dim_value")]
        if dynamic:
            raise ExportError(
                f"{value.name} has a dynamic dimension besides the batch. Expected static shapes. Please report it."
            )
    del model.graph.value_info[:]  # of the dimensions' old names; runtimes infer their own
    return model


def rename_values(model: onnx.ModelProto, names: dict[str, str]) -> onnx.ModelProto:
    """Rename values of the main graph wherever they stand in it."""
    for node in model.graph.node:
        for slots in (node.input, node.output):
            slots[:] = [names.get(name, name) for name in slots]
    for value in [*model.graph.input, *model.graph.output, *model.graph.value_info]:
        value.name = names.get(value.name, value.name)
    return model


def merge(front: onnx.ModelProto, back: onnx.ModelProto, connection: tuple[str, str]) -> onnx.ModelProto:
    """One model that feeds `front`'s output into `back`'s input; their other names must differ."""
    merged = compose.merge_models(front, back, io_map=[connection])
    return with_opsets(merged, {entry.domain: entry.version for entry in front.opset_import})


def spell_label(model: onnx.ModelProto, labels: Sequence[str]) -> onnx.ModelProto:
    """Turn the output `label` from an index, int64 [batch], into the class name, string [batch]."""
    rename_values(model, {"label": "label_index"})
    names = numpy_helper.from_array(np.array(labels, object), "label_names")  # string [classes]
    model.graph.initializer.append(names)
    model.graph.node.append(helper.make_node("Gather", ["label_names", "label_index"], ["label"], name="label_name"))
    (output,) = (value for value in model.graph.output if value.name == "label_index")
    output.name = "label"
    output.type.tensor_type.elem_type = TensorProto.STRING
    return model


def without_output(model: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """The model without the output `name`, if it has it; the value stays inside."""
    kept = [value for value in model.graph.output if value.name != name]
    del model.graph.output[:]
    model.graph.output.extend(kept)
    return model


def with_metadata(model: onnx.ModelProto, metadata: dict[str, str]) -> onnx.ModelProto:
    """Set `metadata_props`, which every runtime hands out."""
    helper.set_model_props(model, metadata)
    return model


def refuse_foreign_operators(model: onnx.ModelProto) -> onnx.ModelProto:
    """Nothing but standard operators, in subgraphs too.

    Raises:
        ExportError: there are others; tf2onnx leaves what it cannot convert as it was, and only logs it.
    """
    foreign = sorted({f"{node.domain}::{node.op_type}" for node in nodes(model.graph) if not _is_standard(node, model)})
    if foreign:
        raise ExportError(
            f"The graph holds operators that are not standard ONNX: {', '.join(foreign)}. "
            "Expected a model of layers that tf2onnx converts."
        )
    return model


def nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Every node of a graph and of the graphs inside it."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from nodes(attribute.g)


def _is_standard(node: onnx.NodeProto, model: onnx.ModelProto) -> bool:
    if node.domain not in STANDARD_DOMAINS:
        return False
    domain = "" if node.domain == "ai.onnx" else node.domain
    version = next((entry.version for entry in model.opset_import if entry.domain == domain), 0)
    return onnx.defs.has(node.op_type, version, domain) if version else False
