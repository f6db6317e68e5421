"""The graph of a fine-tuned classifier in each format. By `inputs` it takes

    bytes   bytes: uint8 [batch, N], UTF-8 with zeros behind it
    ids     ids: int32 [batch, length], padding at the end alone
    text    text: str [batch], in a SavedModel, by tensorflow-text

and answers probabilities: float32 [batch, classes], label: [batch]. A file that takes bytes has the signatures of those
of other runs: TFLite `bytes`, `ids` and `tokenize`, ONNX the one input. A SavedModel that does has `ids`, `bytes` and
`tokenize_bytes`, and as `serving_default` and `tokenize` the same of strings, whose first N bytes it reads. One that
takes text reads whole texts. Of strings the label is the name.

The label is an index, int64, in a TFLite file int32; with a reject threshold it may be the number of classes. Smaller
weights are stored as those of other runs are: by the converter to TFLite, and in ONNX by
`switch_tf.export.onnx_file.weights`, so that activations are scaled token by token and no answer depends on its batch.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import tensorflow as tf

from switch_tf.artifacts.fine_tuned_folder import ONNX_FILE, TFLITE_FILE
from switch_tf.artifacts.fine_tuned_graphs import BYTES, IDS, TEXT, TOKENIZE, TOKENIZE_BYTES
from switch_tf.errors import ExportError
from switch_tf.export.functions import save_functions
from switch_tf.export.onnx_file import passes
from switch_tf.export.onnx_file.conversion import TF2ONNX_OPSET, quiet_tf2onnx, refuse_invalid
from switch_tf.export.onnx_file.weights import store_weights
from switch_tf.export.options import ExportOptions
from switch_tf.export.seq2seq.weights_apart import convert, write_weights
from switch_tf.export.tflite_file import flatbuffer
from switch_tf.export.tflite_file.conversion import convert_functions
from switch_tf.layers.t5_ffn import T5SwitchFFN
from switch_tf.models.encoder_classifier import FineTunedClassifier
from switch_tf.runs.rejection import label_list
from switch_tf.text.code_points import StringCodePoints
from switch_tf.text.sentencepiece_graph import GraphTokenizer

_ONNX_WEIGHTS = "model.weights"
_LIMIT = 2**31 - 2**20  # bytes of weights that one file or protocol buffer holds

Build = Callable[[FineTunedClassifier, Path, ExportOptions], None]


def write_saved_model(model: FineTunedClassifier, folder: Path, options: ExportOptions) -> None:
    """Write a SavedModel into a folder.

    Raises:
        ExportError: texts shall go in, and tensorflow-text cannot be used; or bytes, and the tokenizer cannot.
    """
    ids = _classify(model, IDS, tf.int64, options.batch)
    signatures, resources = {IDS: ids, "serving_default": ids}, []
    if options.inputs == TEXT:
        resources = [GraphTokenizer(model.pieces, model.length, model.model.settings.pad_token_id)]
        signatures |= _of_strings(model, resources[0])
    elif options.inputs == BYTES:
        raw = _classify(model, BYTES, tf.int64, options.batch)
        signatures |= {BYTES: raw, TOKENIZE_BYTES: _tokenize(model, options.batch)}
        signatures |= _of_strings(model, StringCodePoints(model.numeric_text))
    save_functions(model.model.variables, signatures, folder, resources)


def write_tflite(model: FineTunedClassifier, folder: Path, options: ExportOptions) -> None:
    """Write `model.tflite` into a folder: builtin operators alone.

    Raises:
        ExportError: the weights are too large for the format, the tokenizer cannot stand in it, or the converter fails.
    """
    _refuse_large(model, "A TFLite file", "Take ONNX")
    precision = options.precision or "float32"
    signatures = {IDS: _classify(model, IDS, tf.int32, options.batch)}
    if options.inputs == BYTES:
        raw = _classify(model, BYTES, tf.int32, options.batch)
        signatures = {BYTES: raw, **signatures, TOKENIZE: _tokenize(model, options.batch)}
    content = flatbuffer.unpack(convert_functions(model.model.variables, signatures, precision))
    flatbuffer.finish(content, precision, None if model.rejection is None else model.rejection.threshold)
    (folder / TFLITE_FILE).write_bytes(flatbuffer.pack(content, {}))


def write_onnx(model: FineTunedClassifier, folder: Path, options: ExportOptions) -> None:
    """Write `model.onnx` into a folder; float32 weights stand beside it, so that they may be of any size.

    Raises:
        ExportError: the graph cannot be converted, the tokenizer cannot stand in it, or the weights are too large to be
            made smaller.
    """
    batch, precision = options.batch, options.precision or "float32"
    if precision != "float32":
        _refuse_large(model, "A graph that is made smaller", "Take float32")
    places = write_weights(folder / _ONNX_WEIGHTS, model.model.variables)
    signature = [tf.TensorSpec([batch, model.length], tf.int32, IDS)]
    rows = passes.BATCH if batch is None else batch
    axes: dict[str, Sequence[str | int]] = {
        IDS: [rows, model.length],
        "probabilities": [rows, len(model.labels)],
        "label": [rows],
    }
    front_end = None
    if options.inputs == BYTES:
        front_end = _bytes_to_ids(model, batch)
        axes[BYTES] = [rows, model.numeric_text.spec.num_bytes]
    converted = convert(model.classify_ids, signature, axes, _ONNX_WEIGHTS, places, front_end)
    converted.producer_name = "switch-tf"
    if precision != "float32":
        onnx.external_data_helper.load_external_data_for_model(converted, str(folder))
        (folder / _ONNX_WEIGHTS).unlink()
        converted = store_weights(converted, precision, kept=_routers(model))
    (folder / ONNX_FILE).write_bytes(converted.SerializeToString())
    refuse_invalid(folder / ONNX_FILE)


BUILDS: dict[str, Build] = {"saved_model": write_saved_model, "tflite": write_tflite, "onnx": write_onnx}


def _bytes_to_ids(model: FineTunedClassifier, batch: int | None) -> onnx.ModelProto:
    """The front-end alone, from `bytes` to `ids`; its other names begin so that no name of the classifier is theirs."""
    signature = [_of_bytes(model, batch)]
    with quiet_tf2onnx() as converter:
        front_end, _ = converter.from_function(_tokenize(model, batch), input_signature=signature, opset=TF2ONNX_OPSET)
    front_end = onnx.compose.add_prefix(passes.refuse_foreign_operators(front_end), f"{TOKENIZE}/")
    return passes.rename_values(front_end, {f"{TOKENIZE}/{name}": name for name in (BYTES, IDS)})


def _of_strings(model: FineTunedClassifier, tokenizer: Callable[[tf.Tensor], tf.Tensor]) -> dict[str, Any]:
    """The signatures that take strings, which the tokenizer makes ids of."""
    labels = label_list(model.labels, model.rejection)

    def answer(text: tf.Tensor) -> dict[str, tf.Tensor]:
        answered = model.classify_ids(tokenizer(text))
        return answered | {"label": tf.gather(tf.constant(labels), answered["label"])}  # str [batch]

    signature = [tf.TensorSpec([None], tf.string, TEXT)]
    text = tf.function(answer, input_signature=signature, autograph=False)
    tokenize = tf.function(lambda text: {IDS: tokenizer(text)}, input_signature=signature, autograph=False)
    return {"serving_default": text, TEXT: text, TOKENIZE: tokenize}


def _classify(model: FineTunedClassifier, door: str, label: Any, batch: int | None) -> Any:
    """From ids or bytes to answers."""

    def classify(rows: tf.Tensor) -> dict[str, tf.Tensor]:
        answer = model.classify_ids(model.numeric_text(rows) if door == BYTES else rows)
        return answer | {"label": tf.cast(answer["label"], label)}

    ids = tf.TensorSpec([batch, model.length], tf.int32, IDS)
    signature = [_of_bytes(model, batch) if door == BYTES else ids]
    return tf.function(classify, input_signature=signature, autograph=False)


def _tokenize(model: FineTunedClassifier, batch: int | None) -> Any:
    """From bytes to ids."""

    def tokenize(bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        return {IDS: model.numeric_text(bytes)}

    return tf.function(tokenize, input_signature=[_of_bytes(model, batch)], autograph=False)


def _of_bytes(model: FineTunedClassifier, batch: int | None) -> tf.TensorSpec:
    return tf.TensorSpec([batch, model.numeric_text.spec.num_bytes], tf.uint8, BYTES)


def _routers(model: FineTunedClassifier) -> list[np.ndarray]:
    """Their weights, of which a rounding would send tokens to other experts."""
    layers = [block.ffn for block in model.model.encoder.blocks]
    return [layer.classifier.numpy() for layer in layers if isinstance(layer, T5SwitchFFN)]


def _refuse_large(model: FineTunedClassifier, what: str, remedy: str) -> None:
    size = sum(4 * int(tf.size(variable)) for variable in model.model.variables)
    if size > _LIMIT:
        raise ExportError(f"The weights have {size:,} bytes, and 2 GB are too many. {what} holds less: {remedy}.")
