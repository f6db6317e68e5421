"""The graph of a fine-tuned classifier in each format.

    ids: int32 [batch, length], padding at the end alone -> probabilities: float32 [batch, classes], label: [batch]

A SavedModel may take texts besides, through tensorflow-text: `text`, str [batch], to the same with the label's name.

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

from switch_tf.artifacts.fine_tuned_export import SIGNATURE, TOKENIZE
from switch_tf.artifacts.fine_tuned_folder import ONNX_FILE, TFLITE_FILE
from switch_tf.errors import ExportError
from switch_tf.export.functions import save_functions
from switch_tf.export.onnx_file.conversion import refuse_invalid
from switch_tf.export.onnx_file.weights import store_weights
from switch_tf.export.options import ExportOptions
from switch_tf.export.seq2seq.weights_apart import convert, write_weights
from switch_tf.export.tflite_file import flatbuffer
from switch_tf.export.tflite_file.conversion import convert_functions
from switch_tf.layers.t5_ffn import T5SwitchFFN
from switch_tf.models.encoder_classifier import FineTunedClassifier
from switch_tf.runs.rejection import label_list
from switch_tf.text.sentencepiece_graph import GraphTokenizer

_ONNX_WEIGHTS = "model.weights"
_LIMIT = 2**31 - 2**20  # bytes of weights that one file or protocol buffer holds

Build = Callable[[FineTunedClassifier, Path, ExportOptions], None]


def write_saved_model(model: FineTunedClassifier, folder: Path, options: ExportOptions) -> None:
    """Write a SavedModel with the signature `ids` into a folder, and with `text` and `tokenize` if texts go in.

    Raises:
        ExportError: texts shall go in, and tensorflow-text cannot be used.
    """
    ids = _classify(model, tf.int64, options.batch)
    if options.inputs != "text":
        save_functions(model.model.variables, {SIGNATURE: ids, "serving_default": ids}, folder)
        return
    tokenizer = GraphTokenizer(model.pieces, model.length, model.model.settings.pad_token_id)
    labels = label_list(model.labels, model.rejection)

    def answer(text: tf.Tensor) -> dict[str, tf.Tensor]:
        answered = model.classify_ids(tokenizer(text))
        return answered | {"label": tf.gather(tf.constant(labels), answered["label"])}  # str [batch]

    signature = [tf.TensorSpec([None], tf.string, "text")]
    text = tf.function(answer, input_signature=signature, autograph=False)
    tokenize = tf.function(lambda text: {"ids": tokenizer(text)}, input_signature=signature, autograph=False)
    signatures = {"serving_default": text, "text": text, TOKENIZE: tokenize, SIGNATURE: ids}
    save_functions(model.model.variables, signatures, folder, [tokenizer])


def write_tflite(model: FineTunedClassifier, folder: Path, options: ExportOptions) -> None:
    """Write `model.tflite` into a folder: builtin operators alone.

    Raises:
        ExportError: the weights are too large for the format, or the converter fails.
    """
    _refuse_large(model, "A TFLite file", "Take ONNX")
    precision = options.precision or "float32"
    signatures = {SIGNATURE: _classify(model, tf.int32, options.batch)}
    content = flatbuffer.unpack(convert_functions(model.model.variables, signatures, precision))
    flatbuffer.finish(content, precision, None if model.rejection is None else model.rejection.threshold)
    (folder / TFLITE_FILE).write_bytes(flatbuffer.pack(content, {}))


def write_onnx(model: FineTunedClassifier, folder: Path, options: ExportOptions) -> None:
    """Write `model.onnx` into a folder; float32 weights stand beside it, so that they may be of any size.

    Raises:
        ExportError: the graph cannot be converted, or the weights are too large to be made smaller.
    """
    batch, precision = options.batch, options.precision or "float32"
    if precision != "float32":
        _refuse_large(model, "A graph that is made smaller", "Take float32")
    places = write_weights(folder / _ONNX_WEIGHTS, model.model.variables)
    signature = [tf.TensorSpec([batch, model.length], tf.int32, SIGNATURE)]
    rows = "batch" if batch is None else batch
    axes: dict[str, Sequence[str | int]] = {
        SIGNATURE: [rows, model.length],
        "probabilities": [rows, len(model.labels)],
        "label": [rows],
    }
    converted = convert(model.classify_ids, signature, axes, _ONNX_WEIGHTS, places)
    converted.producer_name = "switch-tf"
    if precision != "float32":
        onnx.external_data_helper.load_external_data_for_model(converted, str(folder))
        (folder / _ONNX_WEIGHTS).unlink()
        converted = store_weights(converted, precision, kept=_routers(model))
    (folder / ONNX_FILE).write_bytes(converted.SerializeToString())
    refuse_invalid(folder / ONNX_FILE)


BUILDS: dict[str, Build] = {"saved_model": write_saved_model, "tflite": write_tflite, "onnx": write_onnx}


def _classify(model: FineTunedClassifier, label: Any, batch: int | None) -> Any:
    def classify(ids: tf.Tensor) -> dict[str, tf.Tensor]:
        answer = model.classify_ids(ids)
        return answer | {"label": tf.cast(answer["label"], label)}

    signature = [tf.TensorSpec([batch, model.length], tf.int32, SIGNATURE)]
    return tf.function(classify, input_signature=signature, autograph=False)


def _routers(model: FineTunedClassifier) -> list[np.ndarray]:
    """Their weights, of which a rounding would send tokens to other experts."""
    layers = [block.ffn for block in model.model.encoder.blocks]
    return [layer.classifier.numpy() for layer in layers if isinstance(layer, T5SwitchFFN)]


def _refuse_large(model: FineTunedClassifier, what: str, remedy: str) -> None:
    size = sum(4 * int(tf.size(variable)) for variable in model.model.variables)
    if size > _LIMIT:
        raise ExportError(f"The weights have {size:,} bytes, and 2 GB are too many. {what} holds less: {remedy}.")
