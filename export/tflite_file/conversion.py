"""Functions of TensorFlow as a TFLite file of builtin operators, through a SavedModel in a temporary folder."""

from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from switch_tf.errors import ExportError
from switch_tf.export.functions import save_functions
from switch_tf.export.options import Precision
from switch_tf.locks import scratch


def convert_functions(
    variables: Sequence[tf.Variable], signatures: Mapping[str, Any], precision: Precision = "float32"
) -> bytes:
    """The file as TensorFlow's converter writes it, with a signature for each traced function.

    Args:
        variables: what the functions read.
        signatures: functions by the name of their signature.
        precision: of the weights that are large enough to be rounded.

    Raises:
        ExportError: an operator is not built into TFLite, or the disk is full.
    """
    with scratch() as place:
        save_functions(variables, signatures, place)
        converter = tf.lite.TFLiteConverter.from_saved_model(str(place), signature_keys=list(signatures))
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        if precision != "float32":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if precision == "float16":
            converter.target_spec.supported_types = [tf.float16]
        try:
            return bytes(converter.convert())
        except Exception as error:  # the converter's exceptions share no narrower base
            reason = str(error).strip().splitlines()[:1]
            raise ExportError(f"The converter to TFLite fails: {' '.join(reason)}. Please report it.") from error
