"""A trained run as ONE ONNX file for ONNX Runtime, in Python, Node, browsers, C++ and C#: standard operators only.

Inputs, by `inputs`:

    text    text: string [batch]       -> probabilities: float32 [batch, classes], label: string [batch]
    ids     ids: int32 [batch, length] -> probabilities: float32 [batch, classes], label: int64 [batch]
    bytes   bytes: uint8 [batch, N]    -> the same, from UTF-8 with zeros behind it

`text` is the graph of `text_graph` in front of the graph of `ids`, which tf2onnx converts; the value between them is
named `ids`, as it is behind `bytes`. With a reject threshold `label` may be the reject label, as an index the number of
classes. Labels, threshold and text specification are in the file's metadata, and with `ids` the words that they stand
for. Opset 20 and ai.onnx.ml 2 for `text`, opset 18 for the others; IR 9.
"""

import json
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from typing import Any

import onnx
import tensorflow as tf

from switch_tf.export.onnx_file import passes as passes
from switch_tf.export.onnx_file.conversion import TF2ONNX_OPSET, quiet_tf2onnx, refuse_invalid
from switch_tf.export.onnx_file.cuda_kernels import refuse_cpu_operators
from switch_tf.export.onnx_file.packed_graph import build_packed_graph
from switch_tf.export.onnx_file.text_graph import IR_VERSION, OPSETS, build_text_front_end
from switch_tf.export.onnx_file.weights import store_weights
from switch_tf.export.options import Door, Precision
from switch_tf.models.packed import can_pack
from switch_tf.models.text_classifier import TextClassifier
from switch_tf.runs.folder import Run
from switch_tf.runs.rejection import label_list

NUMERIC_OPSETS = {"": TF2ONNX_OPSET}  # of models without strings: GPUs lack kernels at 20, see cuda_kernels


def build_onnx(
    run: Run,
    model: TextClassifier,
    inputs: Door = "text",
    batch: int | None = None,
    precision: Precision = "float32",
    max_loss: float | None = None,
) -> onnx.ModelProto:
    """The ONNX model in memory, checked in full; `model` is the trained model of `run`.

    Raises:
        ExportError: an operator has no standard ONNX counterpart, a dimension besides the batch is dynamic, or a model
            for GPUs (ids in a fixed batch) would leave part of its work to the CPU.
    """
    if inputs == "text" and batch is None and can_pack(model.classifier):
        threshold = None if model.rejection is None else model.rejection.threshold
        converted = build_packed_graph(model.classifier, model.spec.sequence_length, OPSETS, IR_VERSION, threshold)
    else:
        converted = _convert(model, "bytes" if inputs == "bytes" else "ids", batch)
        converted = passes.refuse_foreign_operators(converted)
        converted = passes.to_opset(converted, OPSETS if inputs == "text" else NUMERIC_OPSETS, IR_VERSION)
    converted = passes.name_batch(converted, batch)
    converted = store_weights(converted, precision, kept=model.classifier.router_weights())
    if inputs == "ids" and batch is not None:
        converted = refuse_cpu_operators(converted)
    if inputs == "text":
        converted = passes.rename_values(converted, {"ids": "classifier/ids"})
        front_end = build_text_front_end(run.config.text, model.vocabulary)
        converted = passes.merge(front_end, converted, ("ids", "classifier/ids"))
        converted = passes.spell_label(converted, label_list(run.labels, run.rejection))
        converted = passes.name_batch(converted, batch)
    converted = passes.with_metadata(converted, _metadata(run, model.vocabulary, inputs, precision, max_loss))
    converted.producer_name, converted.producer_version = "switch-tf", version("switch-tf")
    refuse_invalid(converted)
    return converted


def _convert(model: TextClassifier, inputs: str, batch: int | None) -> onnx.ModelProto:
    """The classifier from ids or bytes, as tf2onnx writes it; from bytes, the ids in between are a value named so."""

    def _classify_bytes(bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        read = model.tokenize_bytes.python_function(bytes)
        return model.classify_ids.python_function(read["ids"]) | read

    if inputs == "ids":
        function, shape, kind = model.classify_ids.python_function, [batch, model.spec.ids_length], tf.int32
    else:
        function, shape, kind = _classify_bytes, [batch, model.spec.num_bytes], tf.uint8
    signature = [tf.TensorSpec(shape, kind, name=inputs)]
    traced = tf.function(function, input_signature=signature, autograph=False)
    with quiet_tf2onnx() as converter:
        converted, _ = converter.from_function(traced, input_signature=signature, opset=TF2ONNX_OPSET)
    return passes.without_output(converted, "ids")


def describe(content: bytes) -> dict[str, Any]:
    """What goes in and out of a file, and the operators in between, for the manifest."""
    model = onnx.load_from_string(content)

    def tensors(values: Iterable[onnx.ValueInfoProto]) -> dict[str, Any]:
        return {
            value.name: {
                "type": onnx.TensorProto.DataType.Name(value.type.tensor_type.elem_type).lower(),
                "shape": [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim],
            }
            for value in values
        }

    return {
        "inputs": tensors(model.graph.input),
        "outputs": tensors(model.graph.output),
        "operators": sorted({node.op_type for node in passes.nodes(model.graph)}),
    }


def _metadata(
    run: Run, words: Sequence[str], inputs: Door, precision: Precision, max_loss: float | None
) -> dict[str, str]:
    # Of a graph without a text front-end they say what its ids stand for.
    vocabulary = {"vocabulary": json.dumps(list(words), ensure_ascii=False)} if inputs == "ids" else {}
    return {
        "labels": json.dumps(label_list(run.labels, run.rejection), ensure_ascii=False),
        **({} if run.rejection is None else {"reject": json.dumps(run.rejection.as_dict(), ensure_ascii=False)}),
        "text": json.dumps(run.config.text.as_dict() | {"words": len(words)}),
        "precision": precision,
        "producer": f"switch-tf {version('switch-tf')}, tensorflow {version('tensorflow')}",
        **vocabulary,
        **({} if max_loss is None else {"max_loss": json.dumps(max_loss)}),
    }
