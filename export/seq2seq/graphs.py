"""An encoder-decoder as a SavedModel or a TFLite file whose one signature writes texts.

    generate   ids: int32 [batch, length], padding at the end alone -> output_ids: int32 [batch, 1 + max_new_tokens]

The whole greedy loop is in the graph. The batch is the only dynamic dimension of the SavedModel; a TFLite file takes
one text at a time.
"""

from pathlib import Path
from typing import Any

import tensorflow as tf

from switch_tf.errors import ExportError
from switch_tf.export.functions import save_functions
from switch_tf.export.tflite_file import flatbuffer
from switch_tf.export.tflite_file.conversion import convert_functions
from switch_tf.models.decoding import most_probable, write
from switch_tf.models.seq2seq import Seq2Seq

SIGNATURE = "generate"
TFLITE_FILE = "model.tflite"
_TFLITE_LIMIT = 2**31 - 2**20  # bytes of weights: a flatbuffer's addresses are 32 bits wide


def write_saved_model(model: Seq2Seq, folder: Path, length: int, longest: int) -> None:
    """Write a SavedModel into a folder.

    Raises:
        ExportError: it cannot be written.
    """
    traced = _generate(model, length, longest, batch=None)
    save_functions(model.variables, {SIGNATURE: traced, "serving_default": traced}, folder)


def write_tflite(model: Seq2Seq, folder: Path, length: int, longest: int) -> None:
    """Write `model.tflite` into a folder: builtin operators alone.

    Raises:
        ExportError: the weights are too large for the format, or the converter fails.
    """
    size = sum(4 * int(tf.size(variable)) for variable in model.variables)
    if size > _TFLITE_LIMIT:
        raise ExportError(f"The weights have {size:,} bytes, and a TFLite file holds less than 2 GB. Take ONNX.")
    content = convert_functions(model.variables, {SIGNATURE: _generate(model, length, longest, batch=1)})
    flatbuffer.refuse_foreign_operators(flatbuffer.unpack(content))
    (folder / TFLITE_FILE).write_bytes(content)


def _generate(model: Seq2Seq, length: int, longest: int, batch: int | None) -> Any:
    def generate(ids: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"output_ids": write(model, ids, longest, lambda logits, _: most_probable(logits))}

    signature = [tf.TensorSpec([batch, length], tf.int32, "ids")]
    return tf.function(generate, input_signature=signature, autograph=False)
